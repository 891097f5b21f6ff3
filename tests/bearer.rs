//! The bearer check of the host's API (RFC 6750).

use std::collections::BTreeMap;
use std::sync::Arc;

use grantor::error::AuthenticatorError;
use grantor::record::{GrantDetails, TokenDetails, TokenKind};
use grantor::storage::GrantSelector;
use grantor::testing::{Fault, ISSUER, RecordedEvent, TestClient, TestServer};
use grantor::{
    AccessToken, Approval, Authenticator, Bearer, BearerError, BearerRequest, Clock, ErrorCode, Grant, GrantId,
    GrantType, Request, Response, Scope, Storage, StoredToken, Subject, SubjectStatus, TokenRequest, TokenResponse,
};
use serde_json::json;
use time::Duration;

/// A request to the host's API with a token in its header.
fn get(token: &str) -> Request {
    Request::get("/api").with_header("authorization", format!("Bearer {token}"))
}

/// A form with a token in it.
fn form(method: &str, token: &str) -> Request {
    Request::new(method, "/api")
        .with_header("content-type", "application/x-www-form-urlencoded")
        .with_body(format!("name=alice&access_token={token}"))
}

async fn tokens(t: &TestServer, scope: &str) -> (TestClient, TokenResponse) {
    let app = t.public_client("https://app.example/cb").await;
    let tokens = t.authorize(&app).scope(scope).approve_as("alice").await.redeem().await.unwrap();
    (app, tokens)
}

/// A challenge, read as RFC 9110 §11.6.1 and RFC 6750 §3 write it.
#[derive(Debug, PartialEq)]
struct Challenge {
    scheme: String,
    params: BTreeMap<String, String>,
}

impl Challenge {
    /// Fails unless the header has exactly one challenge, all parameters are quoted, no name is repeated, and every
    /// value follows the grammar.
    fn parse(header: &str) -> Self {
        let (scheme, mut rest) = header.split_once(' ').expect("a scheme and parameters");
        let mut params = BTreeMap::new();
        loop {
            let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("a quoted parameter in {rest:?}"));
            assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{header}");
            let (value, after) = value.split_once('"').unwrap_or_else(|| panic!("an open quote in {header:?}"));
            let no_space = if name == "scope" { value.split(' ').all(|token| !token.is_empty()) } else { true };
            // RFC 6750 §3 allows neither a quote nor a backslash in values, so they need no escape.
            assert!(
                no_space && value.bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
                "{header}"
            );
            assert!(params.insert(name.to_owned(), value.to_owned()).is_none(), "{name} occurs twice in {header}");
            if after.is_empty() {
                return Self { scheme: scheme.to_owned(), params };
            }
            rest = after.strip_prefix(", ").unwrap_or_else(|| panic!("a comma before {after:?}"));
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }
}

/// Returns the only challenge of a response.
fn challenge(response: &Response) -> Challenge {
    let headers: Vec<&str> =
        response.headers().filter(|(name, _)| *name == "www-authenticate").map(|(_, value)| value).collect();
    assert_eq!(headers.len(), 1, "{headers:?}");
    let challenge = Challenge::parse(headers[0]);
    assert_eq!(challenge.scheme, "Bearer");
    assert_eq!(challenge.get("realm"), Some(ISSUER));
    challenge
}

/// Asserts a refusal as a client sees it, in full.
fn assert_refused(error: &BearerError, status: u16, code: Option<&str>, scope: Option<&str>, what: &str) {
    let response = error.to_response();
    assert_eq!((response.status(), error.status()), (status, status), "{what}");
    assert_eq!(error.code().map(ErrorCode::as_str), code, "{what}");
    assert!(error.failure().is_none(), "{what}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{what}");
    assert!(response.body().is_empty(), "{what}");
    let challenge = challenge(&response);
    assert_eq!(challenge.get("error"), code, "{what}");
    assert_eq!(challenge.get("scope"), scope, "{what}");
    assert_eq!(challenge.get("error_description").is_some(), code.is_some(), "{what}");
}

fn assert_invalid_token(result: Result<Bearer, BearerError>, what: &str) {
    let error = result.map(|_| ()).expect_err(what);
    assert_refused(&error, 401, Some("invalid_token"), None, what);
}

// covers: BR-05 (RFC 6750 §3), BR-06, BR-07 (RFC 6750 §3.1), BR-12, TL-21 (RFC 9110 §15.5.2)
#[tokio::test]
async fn missing_credentials_get_a_challenge_without_error_code() {
    let t = TestServer::new();
    for (what, request) in [
        ("nothing", Request::get("/api")),
        ("another scheme", Request::get("/api").with_header("authorization", "Basic YTpi")),
        ("the scheme of bound tokens", Request::get("/api").with_header("authorization", "DPoP abc")),
        ("an unknown scheme that begins like ours", Request::get("/api").with_header("authorization", "Bearers abc")),
        ("no space after the scheme", Request::get("/api").with_header("authorization", "Bearer=abc")),
        ("another scheme alone", Request::get("/api").with_header("authorization", "Digest")),
        ("nothing in the header", Request::get("/api").with_header("authorization", "")),
        ("another header", Request::get("/api").with_header("x-access-token", "abc").with_header("cookie", "Bearer=a")),
    ] {
        let error = t.server.bearer(&request).await.unwrap_err();
        assert_refused(&error, 401, None, None, what);
        let challenge = challenge(&error.to_response());
        assert_eq!(challenge.params.keys().collect::<Vec<_>>(), ["realm"], "{what}");
    }
    assert_eq!(t.events.names(), ["bearer_refused"; 8]);
    let told = |event: &RecordedEvent| event.text.contains("code: None, reason: Some(NoToken)");
    assert!(t.events.events().iter().all(told), "{:?}", t.events.events());
    assert_eq!(t.faults.calls(), 1, "the storage was claimed, but without a token there is nothing to look up");
}

// covers: BR-01 (RFC 6750 §2.1), PP-23 (RFC 9110 §11.1)
#[tokio::test]
async fn bearer_scheme_is_case_insensitive() {
    let t = TestServer::new();
    let (app, tokens) = tokens(&t, "user:read").await;
    let token = tokens.access_token.expose();
    for value in ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer  "] {
        let request = Request::get("/api").with_header("AUTHORIZATION", format!("{value}{token}"));
        let access = t.server.bearer(&request).await.unwrap().require("user:read").unwrap();
        assert_eq!(access.user().unwrap().as_str(), "alice", "{value}");
        assert_eq!(access.subject().unwrap().as_str(), "alice", "{value}");
        assert_eq!(access.client_id().as_str(), app.id, "{value}");
        assert_eq!(access.scope().as_str(), "user:read", "{value}");
        assert_eq!(access.expires_at(), t.clock.now() + tokens.expires_in, "{value}");
        let grant = t.storage.find(&tokens.access_token.hash()).await.unwrap().unwrap().grant;
        assert_eq!(access.grant_id(), Some(grant.id), "{value}");
        assert_eq!(access.host_data(), None, "{value}");
    }
    assert_eq!(t.events.count("bearer_refused"), 0);
}

// covers: BR-03 (OAuth 2.1 §5.1), B38
#[tokio::test]
async fn bearer_token_in_query_is_never_read() {
    for in_body in [false, true] {
        let t = TestServer::with_policy(|policy| policy.bearer_in_body = in_body);
        let (_, tokens) = tokens(&t, "user:read").await;
        let token = tokens.access_token.expose();
        for method in ["GET", "POST", "PUT"] {
            let request = Request::new(method, format!("/api?access_token={token}"))
                .with_header("content-type", "application/x-www-form-urlencoded");
            let error = t.server.bearer(&request).await.unwrap_err();
            assert_refused(&error, 401, None, None, method);
        }
        // The query does not count as a second way of presenting a token either.
        let request =
            Request::get(format!("/api?access_token={token}")).with_header("authorization", format!("Bearer {token}"));
        assert!(t.server.bearer(&request).await.is_ok());
    }
}

// covers: BR-02 (RFC 6750 §2.2)
#[tokio::test]
async fn access_token_in_body_is_ignored_unless_enabled_and_a_form() {
    let t = TestServer::with_policy(|policy| policy.bearer_in_body = true);
    let (_, tokens) = tokens(&t, "user:read").await;
    let token = tokens.access_token.expose();
    for method in ["POST", "PUT", "PATCH"] {
        let access = t.server.bearer(&form(method, token)).await.unwrap().require("user:read").unwrap();
        assert_eq!(access.user().unwrap().as_str(), "alice", "{method}");
    }
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "post"] {
        let error = t.server.bearer(&form(method, token)).await.unwrap_err();
        assert_refused(&error, 401, None, None, method);
    }
    let body = format!("access_token={token}");
    for media_type in ["application/json", "multipart/form-data; boundary=x", "text/plain", ""] {
        let request =
            Request::new("POST", "/api").with_header("content-type", media_type).with_body(body.clone().into_bytes());
        assert_refused(&t.server.bearer(&request).await.unwrap_err(), 401, None, None, media_type);
    }
    let untyped = Request::new("POST", "/api").with_body(body.clone().into_bytes());
    assert_refused(&t.server.bearer(&untyped).await.unwrap_err(), 401, None, None, "no media type");
    let not_ascii = Request::post_form("/api", format!("name=\u{e9}&{body}"));
    assert_refused(&t.server.bearer(&not_ascii).await.unwrap_err(), 401, None, None, "not ASCII");
    let padding = "x".repeat(t.server.policy().max_body);
    let large = Request::post_form("/api", format!("{body}&name={padding}"));
    assert_refused(&t.server.bearer(&large).await.unwrap_err(), 401, None, None, "larger than a body may be");
    let cut_off = form("POST", token).with_body_too_large();
    assert_refused(&t.server.bearer(&cut_off).await.unwrap_err(), 401, None, None, "cut off by the host");
    let broken = form("POST", token).with_broken_body();
    assert_refused(&t.server.bearer(&broken).await.unwrap_err(), 401, None, None, "cut off by the client");

    let off = TestServer::new();
    let (_, tokens) = self::tokens(&off, "user:read").await;
    let error = off.server.bearer(&form("POST", tokens.access_token.expose())).await.unwrap_err();
    assert_refused(&error, 401, None, None, "switched off");
}

// covers: BR-04 (RFC 6750 §2, §3.1), BR-11 (RFC 6750 §3.1), BR-18, B37
#[tokio::test]
async fn token_presented_twice_is_a_bad_request() {
    let t = TestServer::with_policy(|policy| policy.bearer_in_body = true);
    let (_, tokens) = tokens(&t, "user:read").await;
    let token = tokens.access_token.expose();
    let bearer = format!("Bearer {token}");
    for (what, request) in [
        ("two headers", get(token).with_header("Authorization", bearer.clone())),
        ("two headers, one of another scheme", get(token).with_header("authorization", "Basic YTpi")),
        ("header and body", form("POST", token).with_header("authorization", bearer.clone())),
        ("header and a wrong token in the body", form("POST", "x").with_header("authorization", bearer)),
        ("twice in the body", Request::post_form("/api", format!("access_token={token}&access_token={token}"))),
        ("a broken escape in the body", Request::post_form("/api", "access_token=%ZZ")),
    ] {
        let error = t.server.bearer(&request).await.map(|_| ()).expect_err(what);
        assert_refused(&error, 400, Some("invalid_request"), None, what);
    }
    assert_eq!(t.events.count("bearer_refused"), 6);
    assert!(t.events.events().pop().unwrap().text.contains("reason: Some(Malformed)"));
}

// covers: BR-18 (RFC 6750 §2.1), BR-09 (RFC 6750 §3.1)
#[tokio::test]
async fn malformed_bearer_token_is_refused_without_a_look_up() {
    let t = TestServer::with_policy(|policy| policy.bearer_in_body = true);
    for token in ["", " ", "=", "a=b", "a b", "a,b", "a\"b", "a\\b", "a\0b", "a\tb", "caf\u{e9}", "tok:en", "<script>"]
    {
        let request = Request::get("/api").with_header("authorization", format!("Bearer {token}"));
        assert_invalid_token(t.server.bearer(&request).await, token);
    }
    let not_utf8 = Request::get("/api").with_header("authorization", b"Bearer \xff\xfe");
    assert_invalid_token(t.server.bearer(&not_utf8).await, "not UTF-8");
    let bare = Request::get("/api").with_header("authorization", "Bearer");
    assert_invalid_token(t.server.bearer(&bare).await, "a scheme without a token");
    let in_body = Request::post_form("/api", "access_token=a%20b");
    assert_invalid_token(t.server.bearer(&in_body).await, "in a body");
    assert_eq!(t.faults.calls(), 1, "the storage was claimed, but no token was looked up");
}

// covers: BR-08 (RFC 6750 §3.1), BR-09, BR-14 (RFC 6749 §7), TF-10 (RFC 6750 §5.2), TF-15, GR-20
#[tokio::test]
async fn every_kind_of_dead_token_gets_the_same_answer() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let code = approved.code().expose().to_owned();
    let unused_code = t.authorize(&app).approve_as("alice").await.code().expose().to_owned();
    let tokens = approved.redeem().await.unwrap();
    let refresh_token = tokens.refresh_token.as_ref().unwrap().expose().to_owned();
    let (_, other) = self::tokens(&t, "user:read").await;
    let (_, of_a_revoked_grant) = self::tokens(&t, "user:read").await;
    let grant = t.storage.find(&of_a_revoked_grant.access_token.hash()).await.unwrap().unwrap().grant;
    let now = t.clock.now();
    t.storage.revoke_access_token(&other.access_token.hash(), now).await.unwrap();
    assert_eq!(t.storage.revoke_grants(&GrantSelector::Id(grant.id), now).await.unwrap(), 1);

    let live = tokens.access_token.expose();
    assert!(t.server.bearer(&get(live)).await.is_ok());
    let mut answers = Vec::new();
    for (what, token) in [
        ("never issued", "abcdefghijklmnopqrstuvwxyz-0123456789_ABCDE"),
        ("with padding added", &format!("{live}=")),
        ("cut off", &live[..42]),
        ("revoked by itself", other.access_token.expose()),
        ("of a revoked grant", of_a_revoked_grant.access_token.expose()),
        ("a live refresh token", &refresh_token),
        ("a spent code", &code),
        ("a live code", &unused_code),
    ] {
        let error = t.server.bearer(&get(token)).await.map(|_| ()).expect_err(what);
        assert_refused(&error, 401, Some("invalid_token"), None, what);
        answers.push(error.to_response().headers().map(|(n, v)| (n, v.to_owned())).collect::<Vec<_>>());
        assert_eq!(t.bearer(&AccessToken::new(token)).await.unwrap_err().code(), Some(ErrorCode::INVALID_TOKEN));
    }
    t.clock.advance(Duration::hours(1));
    let error = t.server.bearer(&get(live)).await.unwrap_err();
    answers.push(error.to_response().headers().map(|(n, v)| (n, v.to_owned())).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the answers differ between dead tokens");
}

// covers: BR-14 (RFC 6749 §7), TF-10 (RFC 6750 §5.2)
#[tokio::test]
async fn token_works_until_the_microsecond_of_its_expiry() {
    let t = TestServer::new();
    let (_, tokens) = tokens(&t, "user:read").await;
    t.clock.advance(tokens.expires_in - Duration::MICROSECOND);
    assert!(t.bearer(&tokens.access_token).await.is_ok());
    t.clock.advance(Duration::MICROSECOND);
    assert_invalid_token(t.bearer(&tokens.access_token).await, "expired");
    let event = t.events.events().pop().unwrap();
    assert_eq!(event.name, "bearer_refused");
    let grant = t.storage.find(&tokens.access_token.hash()).await.unwrap().unwrap().grant;
    assert!(event.text.contains(&grant.id.to_string()), "the event names the grant: {}", event.text);
    assert!(event.text.contains("invalid_token"), "{}", event.text);
    assert!(event.text.contains("reason: Some(NotLive)"), "{}", event.text);
    assert!(event.text.contains(&format!("client_id: Some({:?})", grant.client_id)), "{}", event.text);
}

// covers: BR-14 (RFC 6749 §7)
#[tokio::test]
async fn token_does_not_outlive_its_grant() {
    let t = TestServer::new();
    let now = t.clock.now();
    let scope = Scope::parse("user:read").unwrap();
    let token = AccessToken::new("a-token-that-a-host-imported");
    let grant = Grant {
        id: GrantId::from_bytes([1; 16]),
        client_id: "imported".try_into().unwrap(),
        subject: Some(Subject::new("alice").unwrap()),
        grant_type: GrantType::new("authorization_code").unwrap(),
        scope: scope.clone(),
        opened_at: now,
        last_used_at: now,
        expires_at: now + Duration::minutes(5),
        revoked_at: None,
        parent_grant: None,
        session: None,
        host_data: None,
        details: GrantDetails::default(),
    };
    let record = StoredToken {
        hash: token.hash(),
        kind: TokenKind::AccessToken,
        grant_id: grant.id,
        scope,
        issued_at: now,
        expires_at: now + Duration::hours(1),
        parent: None,
        spent: None,
        revoked_at: None,
        details: TokenDetails::default(),
    };
    assert_eq!(t.storage.open_grant(&Arc::new(grant), &[record]).await.unwrap(), grantor::storage::Opened::Done);
    assert!(t.bearer(&token).await.is_ok());
    t.clock.advance(Duration::minutes(5));
    assert_invalid_token(t.bearer(&token).await, "the grant has ended");
}

// covers: BR-10 (RFC 6750 §3.1), BR-13 (RFC 6750 §3), BR-12, B62
#[tokio::test]
async fn insufficient_scope_names_the_needed_scope() {
    // This scope name has every allowed character.
    let odd: String = (0x21..=0x7e_u8).filter(|b| !matches!(b, b'"' | b'\\')).map(char::from).collect();
    let t = TestServer::with(|builder| builder.scope(&odd, "An odd one"));
    let (_, tokens) = tokens(&t, "user:read").await;
    for (required, challenged) in [
        ("user:write".to_owned(), "user:write".to_owned()),
        ("user:write user:read".to_owned(), "user:read user:write".to_owned()),
        (odd.clone(), odd.clone()),
    ] {
        let error = t.bearer(&tokens.access_token).await.unwrap().require(&required).unwrap_err();
        assert_refused(&error, 403, Some("insufficient_scope"), Some(&challenged), &required);
        assert_eq!(error.to_string(), format!("the access token does not have the scope {challenged}"));
    }
    assert_eq!(t.events.names().iter().rev().take(3).collect::<Vec<_>>(), [&"bearer_refused"; 3]);
    assert!(t.events.events().pop().unwrap().text.contains("insufficient_scope"));
}

// covers: B39
#[tokio::test]
async fn required_scope_compares_whole_tokens() {
    let t = TestServer::with(|builder| {
        builder.scope("user", "All").scope("user:read:all", "More").scope("read", "Read").scope("USER:READ", "Loud")
    });
    let (_, tokens) = tokens(&t, "user:read user:write").await;
    for other in ["user", "user:read:all", "read", "USER:READ", "user:read read", "user:write user"] {
        let error = t.bearer(&tokens.access_token).await.unwrap().require(other).unwrap_err();
        assert_eq!((error.status(), error.code()), (403, Some(ErrorCode::INSUFFICIENT_SCOPE)), "{other}");
    }
    for own in ["user:read", "user:write", "user:write user:read", "user:read user:read"] {
        assert!(t.bearer(&tokens.access_token).await.unwrap().require(own).is_ok(), "{own}");
    }
}

#[tokio::test]
async fn requiring_an_undeclared_scope_is_a_host_error() {
    let t = TestServer::new();
    let (_, tokens) = tokens(&t, "user:read").await;
    for spaces in ["user:read ", " user:read", "user:read  user:read"] {
        assert!(t.bearer(&tokens.access_token).await.unwrap().require(spaces).is_ok(), "{spaces:?}");
    }
    let lacks = t.bearer(&tokens.access_token).await.unwrap().require(" user:write  user:read").unwrap_err();
    assert_eq!(lacks.code(), Some(ErrorCode::INSUFFICIENT_SCOPE));
    for mistake in ["", " ", "  ", "user:raed", "user:read user:raed", "user:read\t", "user:read\nuser:write"] {
        let error = t.bearer(&tokens.access_token).await.unwrap().require(mistake).unwrap_err();
        let response = error.to_response();
        assert_eq!((error.status(), response.status()), (500, 500), "{mistake:?}");
        assert_eq!(error.code(), Some(ErrorCode::SERVER_ERROR), "{mistake:?}");
        assert!(error.failure().is_some(), "{mistake:?}");
        assert_eq!(response.header("www-authenticate"), None, "a better token would not help: {mistake:?}");
        assert!(response.body().is_empty(), "{mistake:?}");
        assert!(t.events.events().pop().unwrap().text.contains("server_error"), "{mistake:?}");
    }
}

// covers: BR-14 (RFC 6749 §7)
#[tokio::test]
async fn narrowed_token_allows_less_than_its_grant() {
    let t = TestServer::new();
    let (app, tokens) = tokens(&t, "user:read user:write").await;
    let refresh_token = tokens.refresh_token.unwrap();
    let narrowed = t.token_as(&app, TokenRequest::refresh_token(&refresh_token).scope("user:read")).await.unwrap();
    let bearer = t.bearer(&narrowed.access_token).await.unwrap();
    let error = bearer.require("user:write").unwrap_err();
    assert_refused(&error, 403, Some("insufficient_scope"), Some("user:write"), "narrowed");
    assert!(t.bearer(&narrowed.access_token).await.unwrap().require("user:read").is_ok());
    assert!(
        t.bearer(&tokens.access_token).await.unwrap().require("user:write").is_ok(),
        "the old token keeps its scope"
    );
}

// covers: GK-06 (RFC 9700 §4.15), BC-02 (RFC 9700 §4.15.1)
#[tokio::test]
async fn machine_token_is_never_taken_for_a_user_token() {
    let t = TestServer::new();
    let secret = grantor::ClientSecret::new("s3cr3t");
    let client = grantor::Client::confidential("alice", grantor::ClientCredential::secret(&secret));
    let machine = t.register(client.client_credentials().scope("user:read").build(), Some(secret)).await;
    let request = TokenRequest::client_credentials().scope("user:read");
    let of_machine = t.token_as(&machine, request).await.unwrap().access_token;
    let (_, of_user) = tokens(&t, "user:read").await;

    let access = t.bearer(&of_machine).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.subject(), None);
    assert_eq!(access.client_id().as_str(), "alice");
    let refused = t.events.count("bearer_refused");
    let error = access.user().unwrap_err();
    assert_refused(&error, 403, Some("insufficient_scope"), None, "a machine at a user's resource");
    assert_eq!(t.events.count("bearer_refused"), refused + 1);
    let event = t.events.events().pop().unwrap().text;
    assert!(event.contains(&access.grant_id().unwrap().to_string()) && event.contains("insufficient_scope"), "{event}");

    let access = t.bearer(&of_user.access_token).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.user().unwrap().as_str(), "alice");
    assert_ne!(access.client_id().as_str(), "alice");
}

#[tokio::test]
async fn host_data_comes_with_every_token_of_its_grant() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;
    let data = json!({ "tenant": 7, "groups": ["admins"] });
    let approval = Approval::by(Subject::new("alice").unwrap()).host_data(data.clone());
    let tokens = t.authorize(&app).approve(approval).await.redeem().await.unwrap();
    let access = t.bearer(&tokens.access_token).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.host_data(), Some(&data));
    let refreshed = t.refresh(&app, &tokens.refresh_token.unwrap()).await.unwrap();
    let access = t.bearer(&refreshed.access_token).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.host_data(), Some(&data));
}

#[tokio::test]
async fn failing_storage_is_a_server_error_for_a_bearer_token() {
    let t = TestServer::new();
    let (_, tokens) = tokens(&t, "user:read").await;
    for (fault, status, code) in [
        (Fault::Failed, 500, ErrorCode::SERVER_ERROR),
        (Fault::Unavailable, 503, ErrorCode::TEMPORARILY_UNAVAILABLE),
        (Fault::LostAnswer, 503, ErrorCode::TEMPORARILY_UNAVAILABLE),
    ] {
        t.faults.fail(1, fault);
        let error = t.server.bearer(&get(tokens.access_token.expose())).await.unwrap_err();
        let response = error.to_response();
        assert_eq!((error.status(), response.status()), (status, status), "{fault:?}");
        assert_eq!(error.code(), Some(code), "{fault:?}");
        assert_eq!(response.header("www-authenticate"), None, "no other token would help: {fault:?}");
        assert!(response.body().is_empty(), "{fault:?}");
        assert!(error.failure().is_some_and(|failure| failure.status() == status), "{fault:?}");
        let cause = std::error::Error::source(&error).expect("what failed").to_string();
        assert!(cause.contains("a test made"), "{cause}");
        let event = t.events.events().pop().unwrap();
        assert_eq!(event.name, "bearer_refused", "{fault:?}");
        assert!(event.text.contains(code.as_str()) && event.text.contains("a test made"), "{}", event.text);
    }
    assert!(t.server.bearer(&get(tokens.access_token.expose())).await.is_ok(), "the check succeeds after the failure");
}

#[tokio::test]
async fn typed_request_answers_like_http() {
    let t = TestServer::new();
    let (_, tokens) = tokens(&t, "user:read").await;
    let typed =
        t.server.bearer_request(&BearerRequest::of(&tokens.access_token)).await.unwrap().require("user:read").unwrap();
    let http = t.server.bearer(&get(tokens.access_token.expose())).await.unwrap().require("user:read").unwrap();
    assert_eq!((typed.grant_id(), typed.expires_at()), (http.grant_id(), http.expires_at()));
    let unknown = "unknown-token";
    let typed: Response =
        t.server.bearer_request(&BearerRequest::of(&AccessToken::new(unknown))).await.unwrap_err().into();
    let http: Response = t.server.bearer(&get(unknown)).await.unwrap_err().into();
    assert!(typed.headers().eq(http.headers()) && typed.status() == http.status());
}

#[tokio::test]
async fn typed_form_takes_the_context_of_the_http_request() {
    let t = TestServer::new();
    let unknown = AccessToken::new("unknown-token");
    let request = get("other-token").with_peer("192.0.2.7".parse().unwrap());
    for (typed, peer) in [
        (BearerRequest::of(&unknown), "peer: None"),
        (BearerRequest::of(&unknown).context(request.context()), "peer: Some(192.0.2.7)"),
        (BearerRequest::of(&unknown).peer("192.0.2.8".parse().unwrap()), "peer: Some(192.0.2.8)"),
        (
            BearerRequest::of(&unknown).context(request.context()).peer("192.0.2.8".parse().unwrap()),
            "peer: Some(192.0.2.8)",
        ),
    ] {
        t.server.bearer_request(&typed).await.unwrap_err();
        let event = t.events.events().pop().unwrap();
        assert_eq!(event.name, "bearer_refused");
        assert!(event.text.contains(peer), "{}", event.text);
        assert!(!format!("{typed:?}").contains("unknown-token"), "{typed:?}");
    }
}

#[tokio::test]
async fn bearer_check_asks_subject_status_by_policy() {
    let t = TestServer::new();
    let (_, issued) = tokens(&t, "user:read").await;
    for status in [SubjectStatus::Suspended, SubjectStatus::Gone] {
        t.users.set_status("alice", status);
        assert!(t.bearer(&issued.access_token).await.is_ok(), "{status:?} is not checked");
    }

    let t = TestServer::with_policy(|policy| policy.check_subject_at_use = true);
    let (_, issued) = tokens(&t, "user:read").await;
    let (_, revoked) = tokens(&t, "user:read").await;
    let grant_id = t.bearer(&revoked.access_token).await.unwrap().require("user:read").unwrap().grant_id().unwrap();
    t.revoke_grants(&GrantSelector::Id(grant_id)).await.unwrap();
    let expected = refusal(&t, &revoked.access_token).await;
    for status in [SubjectStatus::Suspended, SubjectStatus::Gone] {
        t.users.set_status("alice", SubjectStatus::Active);
        assert!(t.bearer(&issued.access_token).await.is_ok());
        t.users.set_status("alice", status);
        let told = t.events.events().len();
        assert_eq!(refusal(&t, &issued.access_token).await, expected, "{status:?}");
        assert_eq!(t.events.names()[told..], ["subject_not_active", "bearer_refused"]);
        let event = &t.events.events()[told].text;
        assert!(event.contains(&format!("status: {status:?}")), "{event}");
    }
    t.users.set_status("alice", SubjectStatus::Active);
    assert_eq!(refusal(&t, &issued.access_token).await, expected, "the grant was revoked");
}

/// Returns the whole response to a request with a token that must be refused.
async fn refusal(t: &TestServer, token: &AccessToken) -> String {
    let response = t.server.bearer(&get(token.expose())).await.unwrap_err().to_response();
    let headers: Vec<_> = response.headers().collect();
    format!("{} {headers:?} {:?}", response.status(), response.body())
}

/// Fails for the status of every subject.
struct Down;

#[async_trait::async_trait]
impl Authenticator for Down {
    async fn subject_status(&self, _: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        Err(AuthenticatorError::new("the directory is down"))
    }
}

// covers: B58
#[tokio::test]
async fn bearer_check_with_unknown_subject_status_gets_503() {
    let t = TestServer::new();
    let (_, issued) = tokens(&t, "user:read").await;
    let mut policy = grantor::Policy::default();
    policy.check_subject_at_use = true;
    let down = grantor::AuthorizationServer::builder(ISSUER)
        .storage(t.storage.clone())
        .authenticator(Down)
        .scope("user:read", "Read your profile")
        .clock(t.clock.clone())
        .policy(policy)
        .build()
        .await
        .unwrap();
    let error = down.bearer_request(&BearerRequest::of(&issued.access_token)).await.unwrap_err();
    assert_eq!((error.status(), error.code().unwrap().as_str()), (503, "temporarily_unavailable"));
    let response = error.to_response();
    assert_eq!(response.header("retry-after"), Some("5"));
    assert_eq!(response.header("www-authenticate"), None);
    assert!(t.bearer(&issued.access_token).await.is_ok(), "nothing was revoked");
}
