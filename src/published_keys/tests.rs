//! Tests of the cache, with a clock and an HTTP client of the test.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::api_context::ApiContext;
use crate::client::Client;
use crate::client_signatures::{ClientSignatures, Expected};
use crate::env::Clock;
use crate::error::Error;
use crate::event::FetchPurpose;
use crate::http_client::{FetchPolicy, GetRequest, HttpClient};
use crate::jose::{Algorithm, JwtProblem, Signer, SigningKey, Typ, sign};
use crate::record::ClientId;
use crate::testing::{RecordingObserver, TestClock};

const ISSUER: &str = "https://as.example";
const URL: &str = "https://app.example/jwks";
const TYPE: &str = "client-authentication+jwt";

/// The server of the client: it answers each request in the same way until the test changes the answer.
struct Http {
    answer: Mutex<Result<GetResponse, fn() -> FetchError>>,
    requests: AtomicUsize,
    /// A request waits for a permit.
    permits: Semaphore,
}

#[async_trait]
impl HttpClient for Http {
    async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let accepted = [("accept", "application/jwk-set+json, application/json"), ("user-agent", "grantor")];
        assert_eq!((request.headers(), request.max_response()), (accepted, 32 * 1_024));
        self.permits.acquire().await.unwrap().forget();
        let answer = self.answer.lock().unwrap();
        answer.as_ref().cloned().map_err(|error| error())
    }
}

struct Fixture {
    http: Arc<Http>,
    clock: TestClock,
    events: RecordingObserver,
    keys: Arc<PublishedKeys>,
    signatures: ClientSignatures,
}

fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> GetResponse {
    let policy = FetchPolicy::default();
    let mut response = GetResponse::new(status, headers.iter().copied());
    response.push(body, &GetRequest::new(URL, &policy)).unwrap();
    response
}

fn set_of(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.public_key().to_jwk()).collect();
    json!({ "keys": keys }).to_string()
}

fn key(id: &str) -> SigningKey {
    SigningKey::generate(Algorithm::Es256).unwrap().with_id(id)
}

fn fetch_of(url: &str) -> Fetch {
    let client_id = ClientId::new("app").unwrap();
    Fetch { url: url.to_owned(), purpose: FetchPurpose::ClientKeys, client_id, peer: None }
}

impl Fixture {
    /// Returns a server whose client has this key.
    fn new(key: &SigningKey) -> Self {
        Self::with_limit_per_peer(key, u32::MAX)
    }

    fn with_limit_per_peer(key: &SigningKey, max_per_peer: u32) -> Self {
        let answer = Mutex::new(Err((|| FetchError::Timeout) as fn() -> _));
        let http = Arc::new(Http { answer, requests: AtomicUsize::new(0), permits: Semaphore::new(1_000_000) });
        let (clock, events) = (TestClock::default(), RecordingObserver::default());
        let api = ApiContext {
            issuer: ISSUER.to_owned(),
            resource_metadata: None,
            clock: Arc::new(clock.clone()),
            observer: Arc::new(events.clone()),
        };
        let mut policy = FetchPolicy::default();
        (policy.max_per_host, policy.max_per_minute) = (u32::MAX, u32::MAX);
        policy.max_per_peer = max_per_peer;
        let fetcher = Arc::new(Fetcher::new(Some(Arc::clone(&http) as _), policy, Arc::new(api)));
        let keys = Arc::new(PublishedKeys::new(Arc::clone(&fetcher)));
        let signatures = ClientSignatures::new().fetching(&fetcher);
        let fixture = Self { http, clock, events, keys, signatures };
        fixture.publish(&[key], &[]);
        fixture
    }

    fn answer(&self, answer: Result<GetResponse, fn() -> FetchError>) {
        *self.http.answer.lock().unwrap() = answer;
    }

    fn publish(&self, keys: &[&SigningKey], headers: &[(&str, &str)]) {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.answer(Ok(response(200, &headers, set_of(keys).as_bytes())));
    }

    fn requests(&self) -> usize {
        self.http.requests.load(Ordering::SeqCst)
    }

    /// Returns the number of cached sets and of running fetches.
    fn sizes(&self) -> (usize, usize) {
        let state = self.keys.state();
        (state.entries.len(), state.calls.len())
    }

    async fn get(&self) -> Fetched {
        self.keys.get(&fetch_of(URL)).await
    }

    /// Verifies a text that is signed with a key.
    async fn verify(&self, key: &SigningKey) -> Result<Result<(), JwtProblem>, Error> {
        let exp = self.clock.now().unix_timestamp() + 60;
        let claims = json!({ "iss": "app", "aud": ISSUER, "exp": exp }).to_string();
        self.verify_text(&sign(key, TYPE, claims.as_bytes()).await.unwrap()).await
    }

    async fn verify_text(&self, text: &str) -> Result<Result<(), JwtProblem>, Error> {
        let client = Client::private_key_jwt("app").jwks_uri(URL).client_credentials().build().unwrap();
        let expected = Expected {
            client: &client,
            issuer: ISSUER,
            typ: Typ::Is(TYPE),
            max_size: 8_192,
            algorithm: None,
            longest: Duration::minutes(10),
            needs_expiry: true,
            peer: None,
        };
        let verified = self.signatures.verify(text, &expected, self.clock.now()).await?;
        Ok(verified.map(drop))
    }
}

#[tokio::test]
async fn keys_are_cached_as_long_as_the_response_says() {
    for (headers, seconds) in [
        (&[][..], 3_600),
        (&[("cache-control", "public")], 3_600),
        (&[("cache-control", "max-age=600")], 600),
        (&[("cache-control", "public, Max-Age = \"600\"")], 600),
        (&[("cache-control", "max-age=600"), ("age", "200")], 400),
        (&[("cache-control", "max-age=600"), ("age", "4000000000")], 300),
        (&[("cache-control", "max-age=600"), ("age", "-1")], 600),
        (&[("cache-control", "max-age=299")], 300),
        (&[("cache-control", "max-age=0")], 300),
        (&[("cache-control", "max-age=soon")], 300),
        (&[("cache-control", "max-age=-1")], 300),
        (&[("cache-control", "max-age=99999999999999999999")], 300),
        (&[("cache-control", "max-age=86401")], 86_400),
        (&[("cache-control", "max-age=4294967295")], 86_400),
        (&[("cache-control", "max-age=7200, no-store")], 300),
        (&[("cache-control", "no-cache")], 300),
        (&[("cache-control", "max-age=86400"), ("cache-control", "no-store")], 300),
        (&[("cache-control", "public"), ("cache-control", "max-age=600")], 600),
    ] {
        let key = key("a");
        let f = Fixture::new(&key);
        f.publish(&[&key], headers);
        f.get().await.unwrap();
        f.clock.advance(Duration::seconds(seconds) - Duration::MICROSECOND);
        f.get().await.unwrap();
        assert_eq!(f.requests(), 1, "{headers:?}");
        f.clock.advance(Duration::MICROSECOND);
        f.get().await.unwrap();
        assert_eq!(f.requests(), 2, "{headers:?}");
        // Setting the clock back does not extend the time.
        f.clock.advance(-Duration::SECOND);
        f.get().await.unwrap();
        assert_eq!((f.requests(), f.events.events().len()), (3, 0));
    }
}

// covers: KM-17 (RFC 8725bis §3.10), B33
#[tokio::test]
async fn rotated_key_works_within_a_minute() {
    let (old, new) = (key("old"), key("new"));
    let f = Fixture::new(&old);
    f.verify(&old).await.unwrap().unwrap();
    f.publish(&[&new], &[]);
    f.clock.advance(Duration::seconds(59));
    assert_eq!(f.verify(&new).await.unwrap(), Err(JwtProblem::UnknownKey));
    assert_eq!(f.requests(), 1);
    f.clock.advance(Duration::SECOND);
    f.verify(&new).await.unwrap().unwrap();
    assert_eq!(f.requests(), 2);
    assert_eq!(f.verify(&old).await.unwrap(), Err(JwtProblem::UnknownKey));
    assert_eq!((f.requests(), f.events.events().len()), (2, 0));
}

#[tokio::test]
async fn key_that_was_replaced_under_its_identifier_works() {
    let (old, new) = (key("same"), key("same"));
    let f = Fixture::new(&old);
    f.verify(&old).await.unwrap().unwrap();
    f.publish(&[&new], &[]);
    assert_eq!(f.verify(&new).await.unwrap(), Err(JwtProblem::Signature));
    f.clock.advance(Duration::MINUTE);
    f.verify(&new).await.unwrap().unwrap();
    assert_eq!(f.requests(), 2);
}

// covers: KM-17 (RFC 8725bis §3.10), B33
#[tokio::test]
async fn flood_of_unknown_keys_causes_one_fetch_a_minute() {
    let known = key("known");
    let f = Fixture::new(&known);
    let unknown: Vec<_> = (0..100).map(|number| key(&number.to_string())).collect();
    for minute in 1..4 {
        for key in &unknown {
            assert_eq!(f.verify(key).await.unwrap(), Err(JwtProblem::UnknownKey));
            f.verify(&known).await.unwrap().unwrap();
        }
        assert_eq!(f.requests(), minute);
        f.clock.advance(Duration::MINUTE);
    }
}

#[tokio::test]
async fn failed_fetch_keeps_known_keys_until_they_expire() {
    let (known, unknown) = (key("known"), key("unknown"));
    let f = Fixture::new(&known);
    f.verify(&known).await.unwrap().unwrap();
    f.answer(Err(|| FetchError::Timeout));
    f.clock.advance(Duration::MINUTE);
    for _ in 0..3 {
        let error = f.verify(&unknown).await.unwrap_err();
        assert_eq!((error.status(), error.retry_after()), (503, Some(5)));
        f.verify(&known).await.unwrap().unwrap();
    }
    // There was one failed fetch. Within the minute after it, nothing is known about other keys.
    let names: Vec<_> = f.events.events().iter().map(|event| event.name).collect();
    assert_eq!((f.requests(), names), (2, vec!["fetch_failed"]));
    f.publish(&[&unknown], &[]);
    f.clock.advance(Duration::MINUTE);
    f.verify(&unknown).await.unwrap().unwrap();
    f.answer(Err(|| FetchError::Timeout));
    f.clock.advance(Duration::HOUR);
    assert_eq!(f.verify(&unknown).await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn failure_without_known_keys_is_503_and_not_cached() {
    let key = key("a");
    let f = Fixture::new(&key);
    f.answer(Err(|| FetchError::Timeout));
    for round in 1..4 {
        let error = f.verify(&key).await.unwrap_err();
        assert!(matches!(&error, Error::Fetch(error) if matches!(**error, FetchError::Timeout)), "{error:?}");
        assert_eq!((error.status(), error.retry_after(), f.requests()), (503, Some(5), round));
    }
    let events = f.events.events();
    assert_eq!(events.len(), 3);
    let shown = &events[0].text;
    for part in ["fetch_failed", "\"app\"", URL, "ClientKeys", "Timeout"] {
        assert!(format!("{} {shown}", events[0].name).contains(part), "{part} is not in {shown}");
    }
    f.publish(&[&key], &[]);
    f.verify(&key).await.unwrap().unwrap();
}

#[tokio::test]
async fn text_that_no_key_could_verify_causes_no_fetch() {
    let f = Fixture::new(&key("a"));
    let rsa = r#"{"alg":"none","kid":"a"}"#;
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for (text, problem) in [
        (String::new(), JwtProblem::Malformed),
        ("a.b".to_owned(), JwtProblem::Malformed),
        ("a.b.c".repeat(10_000), JwtProblem::Malformed),
        (format!("{}.{}.{}", encode(rsa), encode("{}"), encode("x")), JwtProblem::Type),
        (sign(&key("a"), "JWT", b"{}").await.unwrap(), JwtProblem::Type),
    ] {
        assert_eq!(f.verify_text(&text).await.unwrap(), Err(problem), "{text:.40}");
    }
    assert_eq!(f.requests(), 0);
}

#[tokio::test]
async fn parallel_requests_share_one_fetch() {
    let key = key("a");
    let f = Fixture::new(&key);
    f.http.permits.forget_permits(1_000_000);
    let mut waiting: Vec<_> = (0..50)
        .map(|_| {
            let keys = Arc::clone(&f.keys);
            tokio::spawn(async move { keys.get(&fetch_of(URL)).await })
        })
        .collect();
    while f.requests() == 0 {
        tokio::task::yield_now().await;
    }
    // The request that began the fetch goes away, and the others continue it.
    waiting.remove(0).abort();
    tokio::task::yield_now().await;
    f.http.permits.add_permits(1);
    for request in waiting {
        assert_eq!(request.await.unwrap().unwrap().len(), 1);
    }
    assert_eq!((f.requests(), f.sizes()), (1, (1, 0)));
}

#[tokio::test]
async fn abandoned_fetch_leaves_nothing_behind() {
    let f = Fixture::new(&key("a"));
    f.http.permits.forget_permits(1_000_000);
    let keys = Arc::clone(&f.keys);
    let request = tokio::spawn(async move { keys.get(&fetch_of(URL)).await });
    while f.requests() == 0 {
        tokio::task::yield_now().await;
    }
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(f.sizes(), (0, 0));
    f.http.permits.add_permits(1);
    f.get().await.unwrap();
    assert_eq!(f.requests(), 2);
}

#[tokio::test]
async fn unusable_response_is_a_failure() {
    let (one, two) = (key("a"), key("b"));
    let f = Fixture::new(&one);
    let good = set_of(&[&one]);
    let many = set_of(&(0..33).map(|number| if number % 2 == 0 { &one } else { &two }).collect::<Vec<_>>());
    let private = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string();
    let json = "application/json";
    for (status, content_type, body, expected) in [
        (200, json, good.as_bytes(), None),
        (200, "application/jwk-set+json", good.as_bytes(), None),
        (200, "Application/JSON; charset=utf-8", good.as_bytes(), None),
        (200, "text/html", good.as_bytes(), Some("content type")),
        (200, "text/plain", good.as_bytes(), Some("content type")),
        (200, "application/json5", good.as_bytes(), Some("content type")),
        (200, "", good.as_bytes(), Some("content type")),
        (200, json, b"", Some("JSON object")),
        (200, json, b"<html>", Some("JSON object")),
        (200, json, b"[]", Some("JSON object")),
        (200, json, br#"{"keys":{}}"#, Some("JSON object")),
        (200, json, br#"{"keys":[],"keys":[]}"#, Some("JSON object")),
        (200, json, br#"{"keys":[]}"#, Some("no key")),
        (200, json, b"\xff", Some("UTF-8")),
        (200, json, many.as_bytes(), Some("32 keys")),
        (200, json, private.as_bytes(), Some("private or symmetric")),
        (201, json, good.as_bytes(), Some("status of the response is 201")),
        (204, json, b"", Some("status of the response is 204")),
        (301, json, good.as_bytes(), Some("status of the response is 301")),
        (304, json, b"", Some("status of the response is 304")),
        (404, json, good.as_bytes(), Some("status of the response is 404")),
        (500, json, good.as_bytes(), Some("status of the response is 500")),
    ] {
        f.answer(Ok(response(status, &[("content-type", content_type)], body)));
        match (f.get().await, expected) {
            (Ok(keys), None) => assert_eq!(keys.len(), 1),
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (other, _) => panic!("{status} {content_type:?} {body:?}: {other:?}"),
        }
        f.clock.advance(Duration::DAY);
    }
    f.events.events().iter().for_each(|event| assert!(!event.text.contains("c2VjcmV0")));
}

#[tokio::test]
async fn cache_is_bounded_and_drops_the_oldest_set() {
    let f = Fixture::new(&key("a"));
    let url = |number: usize| format!("https://{number}.example/");
    for number in 0..=MAX_ENTRIES {
        f.keys.get(&fetch_of(&url(number))).await.unwrap();
        f.clock.advance(Duration::MILLISECOND);
    }
    let has = |number| f.keys.state().entries.contains_key(&*url(number));
    assert_eq!((f.sizes(), has(0), has(1), has(MAX_ENTRIES)), ((MAX_ENTRIES, 0), false, true, true));
    f.clock.advance(Duration::HOUR);
    f.get().await.unwrap();
    assert_eq!(f.sizes(), (1, 0), "sets that are not fresh go first");
}

#[tokio::test]
async fn url_that_is_not_allowed_is_never_requested() {
    let f = Fixture::new(&key("a"));
    for url in ["http://localhost/jwks", "https://app.example:8443/jwks"] {
        let error = f.keys.get(&fetch_of(url)).await.unwrap_err();
        assert!(matches!(*error, FetchError::Url(_)), "{error}");
    }
    assert_eq!((f.requests(), f.events.events().len()), (0, 2));
}

// Regression: the refusal counted as a fetch of the set, so one sender could hide the new key of a client from all.
#[tokio::test]
async fn sender_above_its_limit_delays_no_new_key() {
    let (old, new) = (key("old"), key("new"));
    let f = Fixture::with_limit_per_peer(&old, 1);
    let known = f.get().await.unwrap();
    f.publish(&[&new], &[]);
    f.clock.advance(Duration::MINUTE);
    let sender = |url| Fetch { peer: Some("192.0.2.1".parse().unwrap()), ..fetch_of(url) };
    f.keys.get(&sender("https://other.example/jwks")).await.unwrap();
    let error = f.keys.get_newer(&sender(URL), &known).await.unwrap_err();
    assert!(matches!(*error, FetchError::TooMany(_)), "{error}");
    let newer = f.keys.get_newer(&fetch_of(URL), &known).await.unwrap();
    assert_eq!((newer[0].id(), f.requests()), (Some("new"), 3));
}

// Regression: the keys were not fetched again after a text that too many of them suited.
#[tokio::test]
async fn set_with_too_many_suitable_keys_can_shrink() {
    let keys: Vec<_> = (0..5).map(|number| key(&number.to_string())).collect();
    let f = Fixture::new(&keys[0]);
    f.publish(&keys.iter().collect::<Vec<_>>(), &[]);
    let claims = json!({ "iss": "app", "aud": ISSUER, "exp": f.clock.now().unix_timestamp() + 120 }).to_string();
    let header = json!({ "alg": "ES256", "typ": TYPE }).to_string();
    let signed = [URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)].join(".");
    let signature = keys[0].sign(signed.as_bytes()).await.unwrap();
    let text = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()));
    assert_eq!(f.verify_text(&text).await.unwrap(), Err(JwtProblem::AmbiguousKey));
    f.publish(&[&keys[0]], &[]);
    f.clock.advance(Duration::MINUTE);
    f.verify_text(&text).await.unwrap().unwrap();
    assert_eq!(f.requests(), 2);
}
