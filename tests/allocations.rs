//! How many allocations a request takes, in the typed form with the JSON of the answer, on memory storage. Counted, so a slow
//! machine changes nothing; the middle of many requests, because tables grow by leaps.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use grantor::{
    Approval, AuthorizationRequest, AuthorizationServer, Authorize, Client, ClientCredential, ClientRegistry,
    ClientSecret, CodeChallenge, CodeVerifier, MemoryStorage, Subject, TokenRequest, TokenResponse,
};

/// Requests of which the middle is taken, and others before them.
const REQUESTS: usize = 2_000;
const WARM: usize = 100;

/// Memory storage never waits, so a future of it is done when it is polled once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("memory storage waits"),
    }
}

struct Bench {
    server: AuthorizationServer,
    secret: ClientSecret,
    verifier: CodeVerifier,
    challenge: CodeChallenge,
}

const CALLBACK: &str = "https://app.example/callback";
const SCOPE: &str = "user:read user:write";

impl Bench {
    fn new() -> Self {
        let storage = MemoryStorage::new();
        let secret = ClientSecret::new("J8NFmU4tJVgDxKaJFmXTWvaHO01ZuPcBkhIHQrCDNhg");
        let client = Client::confidential("app", ClientCredential::secret(&secret))
            .authorization_code([CALLBACK])
            .refresh_token()
            .client_credentials()
            .scope(SCOPE)
            .build()
            .unwrap();
        now(storage.register(client)).unwrap();
        let server = AuthorizationServer::builder("https://id.example.com")
            .storage(storage)
            .scope("user:read", "Read your profile")
            .scope("user:write", "Change your profile")
            .build()
            .unwrap();
        let verifier = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let challenge = CodeChallenge::s256(&verifier);
        Self { server, secret, verifier, challenge }
    }

    fn code(&self, subject: &Subject) -> grantor::AuthorizationResponse {
        let request = AuthorizationRequest::code("app")
            .redirect_uri(CALLBACK)
            .scope(SCOPE)
            .state("af0ifjsldkj")
            .code_challenge_s256(self.challenge.as_str());
        let Authorize::Pending(pending) = now(self.server.authorization_request(&request)) else {
            panic!("the request is in order")
        };
        now(pending.approve(Approval::by(subject.clone())))
    }

    fn token(&self, request: &TokenRequest<'_>) -> (TokenResponse, Vec<u8>) {
        let answer = now(self.server.token_request(request)).unwrap();
        let json = answer.to_json();
        (answer, json)
    }
}

/// How many allocations an ordinary run of `work` makes, after it has been done often enough for what is done once.
fn allocations(mut work: impl FnMut(usize)) -> u64 {
    (0..WARM).for_each(&mut work);
    let mut counts: Vec<u64> = (WARM..WARM + REQUESTS).map(|number| measure(|| work(number)).count_total).collect();
    counts.sort_unstable();
    counts[REQUESTS / 2]
}

#[test]
fn no_request_takes_more_allocations_than_it_needs() {
    let bench = Bench::new();
    let all = WARM + REQUESTS;
    let subjects: Vec<_> = (0..all).map(|number| Subject::new(format!("user{number}")).unwrap()).collect();
    let (mut codes, mut answers, mut machine) =
        (Vec::with_capacity(all), Vec::with_capacity(all), Vec::with_capacity(all));

    let authorize = allocations(|number| codes.push(bench.code(&subjects[number])));
    let redeem = allocations(|number| {
        let request = TokenRequest::authorization_code(codes[number].code().unwrap())
            .redirect_uri(CALLBACK)
            .code_verifier(&bench.verifier)
            .client_secret_basic("app", &bench.secret);
        answers.push(bench.token(&request));
    });
    let refresh = allocations(|number| {
        let token = answers[number].0.refresh_token.as_ref().unwrap();
        bench.token(&TokenRequest::refresh_token(token).client_secret_basic("app", &bench.secret));
    });
    let client_credentials = allocations(|_| {
        let request = TokenRequest::client_credentials().scope(SCOPE).client_secret_basic("app", &bench.secret);
        machine.push(bench.token(&request));
    });
    let bearer = allocations(|number| {
        let bearer = now(bench.server.bearer_token(&machine[number].0.access_token)).unwrap();
        bearer.require("user:read").unwrap();
    });

    // The request's own vector is one of each but the last.
    for (what, counted, most) in [
        ("an authorization", authorize, 10),
        ("a code exchange", redeem, 10),
        ("a refresh", refresh, 10),
        ("client credentials", client_credentials, 8),
        ("a bearer check", bearer, 1),
    ] {
        assert!(counted <= most, "{what} takes {counted} allocations, not {most}");
    }
}
