//! The bearer check, with a server that reads only headers and with one that also reads form bodies.
//!
//! Each line of the input is an `Authorization` header, unless it starts with `m` (the method), `c` (a `Content-Type`
//! header) or `b` (a part of the body). In all lines, `$t` is a live token, `$x` an expired one, `$k` a revoked one,
//! `$r` a refresh token and `$c` a code.

use grantor::storage::GrantSelector;
use grantor::testing::{SeededEntropy, TestClock, TestServer};
use grantor::{AuthorizationServer, Bearer, BearerError, MemoryStorage, Policy, ProtectedResource, Request};
use time::Duration;

use crate::answer::{challenge, check_headers};
use crate::form::{Form, is_form};
use crate::world::block_on;

pub const OUTCOMES: [&str; 5] = ["works", "works in the body", "no token", "malformed", "invalid token"];

const RESOURCE_METADATA: &str = "https://id.example/.well-known/oauth-protected-resource/api";

struct Tokens {
    header_only: AuthorizationServer,
    in_body: AuthorizationServer,
    live: String,
    others: [(u8, String); 5],
}

thread_local! {
    /// The check changes nothing, so all inputs share one world.
    static TOKENS: Tokens = block_on(Tokens::issue());
}

/// The expected result of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Works,
    NoToken,
    Malformed,
    Invalid,
}

struct Input {
    method: String,
    headers: Vec<Vec<u8>>,
    types: Vec<Vec<u8>>,
    body: Vec<u8>,
}

pub fn check(data: &[u8]) -> &'static str {
    TOKENS.with(|tokens| {
        let input = Input::read(data, tokens);
        let from_header = input.expected(tokens, false);
        input.ask(&tokens.header_only, from_header);
        let with_body = input.expected(tokens, true);
        input.ask(&tokens.in_body, with_body);
        match (from_header, with_body) {
            (Expected::Works, _) => "works",
            (_, Expected::Works) => "works in the body",
            (Expected::NoToken, _) => "no token",
            (Expected::Malformed, _) => "malformed",
            (Expected::Invalid, _) => "invalid token",
        }
    })
}

impl Tokens {
    async fn issue() -> Self {
        let other_api = ProtectedResource::new("https://id.example/other");
        let test = TestServer::with(|builder| builder.protected_resource(api()).resource(other_api));
        let app = test.public_client("https://app.example/cb").await;
        let expired = test.authorize(&app).approve_as("alice").await.redeem().await.expect("tokens");
        let revoked = test.authorize(&app).approve_as("bob").await.redeem().await.expect("tokens");
        test.server.revoke_grants(&GrantSelector::Subject(subject("bob"))).await.expect("revoked");
        test.clock.advance(Duration::hours(2));
        let flow = test.authorize(&app).approve_as("alice").await;
        let live = test.authorize(&app).approve_as("alice").await.redeem().await.expect("tokens");
        let foreign = test.authorize(&app).parameter("resource", "https://id.example/other").approve_as("alice").await;
        let foreign = foreign.redeem().await.expect("tokens");
        let others = [
            (b'x', expired.access_token.expose().to_owned()),
            (b'o', foreign.access_token.expose().to_owned()),
            (b'k', revoked.access_token.expose().to_owned()),
            (b'r', live.refresh_token.expect("a refresh token").expose().to_owned()),
            (b'c', flow.code().expose().to_owned()),
        ];
        let server = |in_body| server(test.storage.clone(), &test.clock, in_body);
        let live = live.access_token.expose().to_owned();
        Self { header_only: server(false), in_body: server(true), live, others }
    }

    fn named(&self, name: u8) -> Option<&str> {
        let others = self.others.iter().map(|(own, token)| (*own, &**token));
        others.chain([(b't', &*self.live)]).find(|(own, _)| *own == name).map(|(_, token)| token)
    }
}

fn subject(name: &str) -> grantor::Subject {
    grantor::Subject::new(name).expect("a subject")
}

fn api() -> ProtectedResource {
    ProtectedResource::new("https://id.example/api")
}

fn server(storage: MemoryStorage, clock: &TestClock, in_body: bool) -> AuthorizationServer {
    let mut policy = Policy::default();
    policy.bearer_in_body = in_body;
    let builder =
        crate::world::builder(storage, clock).policy(policy).entropy(SeededEntropy::new(8)).protected_resource(api());
    crate::world::block_on(builder.build()).expect("a valid server")
}

impl Input {
    fn read(data: &[u8], tokens: &Tokens) -> Self {
        let mut input = Self { method: "GET".to_owned(), headers: Vec::new(), types: Vec::new(), body: Vec::new() };
        for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = spliced(line, tokens);
            match line[0] {
                b'm' => input.method = String::from_utf8_lossy(&line[1..]).into_owned(),
                b'c' => input.types.push(line[1..].to_vec()),
                b'b' => input.body.extend_from_slice(&line[1..]),
                // Servers trim the value of a header (RFC 9110 §5.5).
                _ => input.headers.push(line.trim_ascii().to_vec()),
            }
        }
        input
    }

    fn expected(&self, tokens: &Tokens, in_body: bool) -> Expected {
        let judged = |token: &[u8]| if token == tokens.live.as_bytes() { Expected::Works } else { Expected::Invalid };
        let from_header = match &self.headers[..] {
            [] => None,
            [header] => {
                let (scheme, token) =
                    header.split_at(header.iter().position(|byte| *byte == b' ').unwrap_or(header.len()));
                scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
            }
            _ => return Expected::Malformed,
        };
        let has_body = ["POST", "PUT", "PATCH"].contains(&&*self.method) && is_form(&self.types);
        let reads_body = in_body && has_body && self.body.is_ascii();
        let form = Form::read(if reads_body { &self.body } else { b"" });
        match (from_header, form.one("access_token")) {
            (Some(token), _) if !is_b64token(token) => Expected::Invalid,
            (Some(_), Some(_)) => Expected::Malformed,
            _ if !form.is_readable("access_token") => Expected::Malformed,
            (Some(token), None) => judged(token),
            (None, Some(token)) => judged(token.as_bytes()),
            (None, None) => Expected::NoToken,
        }
    }

    fn ask(&self, server: &AuthorizationServer, expected: Expected) {
        let request = Request::new(&*self.method, "/api/me").with_body(self.body.clone());
        let request =
            self.types.iter().fold(request, |request, value| request.with_header("Content-Type", value.as_slice()));
        let request =
            self.headers.iter().fold(request, |request, value| request.with_header("Authorization", value.as_slice()));
        match (block_on(server.bearer(&request)), expected) {
            (Ok(_), Expected::Works) => {
                let bearer = || block_on(server.bearer(&request)).expect("the check changes nothing");
                it_is_what_was_issued(bearer(), bearer());
            }
            (Ok(_), expected) => panic!("let in, but {expected:?}"),
            (Err(error), Expected::Works) => panic!("the right token was refused: {error}"),
            (Err(error), Expected::NoToken) => refused(&error, 401, None),
            (Err(error), Expected::Malformed) => refused(&error, 400, Some("invalid_request")),
            (Err(error), Expected::Invalid) => refused(&error, 401, Some("invalid_token")),
        }
    }
}

/// Returns whether the bytes are a `b64token` (RFC 6750 §2.1).
fn is_b64token(token: &[u8]) -> bool {
    let end = token.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    end > 0 && token[..end].iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

/// Replaces `$` and the name of a token with the token.
fn spliced(line: &[u8], tokens: &Tokens) -> Vec<u8> {
    let mut whole = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [first, tail @ ..] = rest {
        let token = tail.first().and_then(|name| tokens.named(*name)).filter(|_| *first == b'$');
        if let Some(token) = token {
            whole.extend_from_slice(token.as_bytes());
            rest = &tail[1..];
        } else {
            whole.push(*first);
            rest = tail;
        }
    }
    whole
}

fn it_is_what_was_issued(reads: Bearer, writes: Bearer) {
    let access = reads.require("user:read").expect("the scope of the token");
    assert_eq!(access.user().expect("a user's token").as_str(), "alice");
    let error = writes.require("user:write").expect_err("it may not write");
    refused(&error, 403, Some("insufficient_scope"));
}

/// Checks the error response (RFC 6750 §3). It has one challenge, with an error code only if a token was presented.
fn refused(error: &BearerError, status: u16, code: Option<&str>) {
    let answer = error.to_response();
    assert_eq!((error.status(), answer.status()), (status, status), "{error}");
    assert_eq!(error.code().map(grantor::ErrorCode::as_str), code, "{error}");
    check_headers(&answer);
    let headers: Vec<&str> =
        answer.headers().filter(|(name, _)| *name == "www-authenticate").map(|(_, value)| value).collect();
    let [header] = headers[..] else { panic!("one challenge: {headers:?}") };
    let (scheme, mut parameters) = challenge(header);
    assert_eq!((scheme, parameters.remove("realm")), ("Bearer", Some(crate::world::ISSUER)));
    assert_eq!(parameters.remove("resource_metadata"), Some(RESOURCE_METADATA));
    assert_eq!((parameters.remove("error"), parameters.remove("error_description").is_some()), (code, code.is_some()));
    assert_eq!(parameters.remove("scope"), (status == 403).then_some("user:write"));
    assert!(parameters.is_empty(), "{parameters:?}");
    assert_eq!(answer.body(), b"");
}
