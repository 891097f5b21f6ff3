//! Measures the cost of signed access tokens: client credentials with opaque tokens, with signed tokens, and the
//! signature alone.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml --features jwt --bin signed
//! ```
//!
//! They are measured in turns. The program prints the median and the minimum of the rounds. The minimum shows a machine
//! without other load.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use grantor::jose::{Algorithm, KeyRing, Signer, SigningKey};
use grantor::{
    AccessToken, AuthorizationServer, BearerRequest, Client, ClientCredential, ClientRegistry, ClientSecret,
    MemoryStorage, ProtectedResource, SigningKeys, TokenRequest,
};

const ROUNDS: usize = 60;
const OPERATIONS: usize = 100;

/// The input of a signature, with the length of an access token.
const INPUT: [u8; 400] = [b'a'; 400];

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory storage never waits"),
    }
}

fn server(secret: &ClientSecret, key: Option<&Arc<SigningKey>>) -> AuthorizationServer {
    let storage = MemoryStorage::new();
    let client = Client::confidential("machine", ClientCredential::secret(secret)).client_credentials();
    let client = client.scope("user:read").build().expect("a client");
    ready(storage.register(client)).expect("it is registered");
    let builder = AuthorizationServer::builder("https://id.example").storage(storage).scope("user:read", "Read");
    let builder = builder.protected_resource(ProtectedResource::new("https://api.example"));
    let builder = match key {
        None => builder,
        Some(key) => {
            let ring = KeyRing::new().sign_with(Arc::clone(key)).build().expect("a ring");
            builder.signing_keys(SigningKeys::new(ring).sign_access_tokens())
        }
    };
    ready(builder.build()).expect("a server")
}

fn issue(server: &AuthorizationServer, secret: &ClientSecret) -> AccessToken {
    let request = TokenRequest::client_credentials().scope("user:read").client_secret_basic("machine", secret);
    ready(server.token_request(&request)).expect("a token").access_token
}

/// Returns the time of one operation in microseconds.
fn time(operation: &mut dyn FnMut()) -> f64 {
    let begin = Instant::now();
    for _ in 0..OPERATIONS {
        operation();
    }
    begin.elapsed().as_secs_f64() * 1e6 / OPERATIONS as f64
}

fn main() {
    let secret = ClientSecret::new("a secret of 256 random bits, of course");
    let opaque = server(&secret, None);
    println!("| algorithm | opaque | bare signature | signed | beyond opaque, in signatures | bearer check |");
    println!("|---|---:|---:|---:|---:|---:|");
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let key = Arc::new(SigningKey::generate(algorithm).expect("a key"));
        let signing = server(&secret, Some(&key));
        let token = issue(&signing, &secret);
        let mut operations: [Box<dyn FnMut()>; 4] = [
            Box::new(|| drop(issue(&opaque, &secret))),
            Box::new(|| drop(ready(key.sign(&INPUT)).expect("a signature"))),
            Box::new(|| drop(issue(&signing, &secret))),
            Box::new(|| drop(ready(signing.bearer_request(&BearerRequest::of(&token))).expect("it works"))),
        ];
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            for (operation, times) in operations.iter_mut().zip(&mut times) {
                times.push(time(operation));
            }
        }
        for times in &mut times {
            times.sort_by(f64::total_cmp);
        }
        for (name, place) in [("median", ROUNDS / 2), ("least", 0)] {
            let [opaque, bare, signed, bearer] = [0, 1, 2, 3].map(|at| times[at][place]);
            let factor = (signed - opaque) / bare;
            println!(
                "| {algorithm} ({name}) | {opaque:.2} us | {bare:.2} us | {signed:.2} us | {factor:.2} | {bearer:.2} us |"
            );
        }
    }
}
