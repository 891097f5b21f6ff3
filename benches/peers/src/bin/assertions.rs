//! Measures the cost of client assertions (`private_key_jwt`): client credentials with a secret, with an assertion, the
//! verification of a signature alone, and the insertion of a used identifier alone.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml --features jwt --bin assertions
//! ```
//!
//! They are measured in turns. The program prints the median and the minimum of the rounds. The minimum shows a machine
//! without other load.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::jose::{Algorithm, AwsLc, JwkSet, Signer, SigningKey, Verifier};
use grantor::storage::ephemeral::{EphemeralKey, Inserted, Namespace};
use grantor::{
    AuthorizationServer, Client, ClientCredential, ClientRegistry, ClientSecret, ClientSignatures, EphemeralStore,
    MemoryStorage, TokenRequest,
};
use serde_json::json;

const ROUNDS: usize = 60;
const OPERATIONS: usize = 100;
const ISSUER: &str = "https://id.example";

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory storage never waits"),
    }
}

/// A server with a client for each way to authenticate.
fn server(secret: &ClientSecret, key: &SigningKey) -> AuthorizationServer {
    let storage = MemoryStorage::new();
    let keys = JwkSet::new([key.public_key().clone()]).expect("a key");
    for client in
        [Client::confidential("secret", ClientCredential::secret(secret)), Client::private_key_jwt("key").jwks(keys)]
    {
        let client = client.client_credentials().scope("user:read").build().expect("a client");
        ready(storage.register(client)).expect("it is registered");
    }
    let builder = AuthorizationServer::builder(ISSUER).storage(storage).scope("user:read", "Read");
    ready(builder.client_signatures(ClientSignatures::new()).build()).expect("a server")
}

/// Signs another assertion.
fn assertion(key: &SigningKey, number: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let header = json!({ "alg": key.public_key().algorithm(), "typ": "JWT", "kid": key.public_key().id() });
    let jti = format!("{number:032x}");
    let claims = json!({ "iss": "key", "sub": "key", "aud": ISSUER, "iat": now, "exp": now + 300, "jti": jti });
    let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = ready(key.sign(signed.as_bytes())).expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
}

/// A key of the ephemeral store.
fn entry(number: u64) -> EphemeralKey {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    EphemeralKey::from_bytes(Namespace::new("client_assertion").expect("a name"), digest)
}

/// Returns the time of one operation in microseconds.
fn time(mut operation: impl FnMut(usize)) -> f64 {
    let begin = Instant::now();
    for number in 0..OPERATIONS {
        operation(number);
    }
    begin.elapsed().as_secs_f64() * 1e6 / OPERATIONS as f64
}

fn main() {
    let secret = ClientSecret::new("a secret of 256 random bits, of course");
    println!(
        "| algorithm | secret | assertion | bare verification | bare insertion | (assertion - secret - insertion) / verification |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let key = SigningKey::generate(algorithm).expect("a key");
        let (server, store) = (server(&secret, &key), MemoryStorage::new());
        let mut times = [const { Vec::new() }; 4];
        for round in 0..ROUNDS {
            let number = |at: usize| (round * OPERATIONS + at) as u64;
            let texts: Vec<String> = (0..OPERATIONS).map(|at| assertion(&key, number(at))).collect();
            let signed: Vec<(&str, Vec<u8>)> = texts
                .iter()
                .map(|text| text.rsplit_once('.').expect("three parts"))
                .map(|(signed, signature)| (signed, URL_SAFE_NO_PAD.decode(signature).expect("base64")))
                .collect();
            let now = server.now();
            let request = || TokenRequest::client_credentials().scope("user:read");
            times[0].push(time(|_| {
                drop(ready(server.token_request(&request().client_secret_basic("secret", &secret))).expect("a token"));
            }));
            times[1].push(time(|at| {
                drop(ready(server.token_request(&request().client_assertion(&texts[at]))).expect("a token"));
            }));
            times[2].push(time(|at| {
                let (signed, signature) = &signed[at];
                AwsLc.verify(algorithm, key.public_key(), signed.as_bytes(), signature).expect("it matches");
            }));
            times[3].push(time(|at| {
                let inserted = ready(store.insert(&entry(number(at)), &[], now + Duration::from_secs(390), now));
                assert!(matches!(inserted, Ok(Inserted::New(_))));
            }));
        }
        for times in &mut times {
            times.sort_by(f64::total_cmp);
        }
        for (name, place) in [("median", ROUNDS / 2), ("least", 0)] {
            let [secret, assertion, verification, insertion] = [0, 1, 2, 3].map(|at| times[at][place]);
            let factor = (assertion - secret - insertion) / verification;
            println!(
                "| {algorithm} ({name}) | {secret:.2} us | {assertion:.2} us | {verification:.2} us | {insertion:.2} us | {factor:.2} |"
            );
        }
    }
}
