//! The token customizer at the token endpoint: its input, its allowed changes, and that it can't widen or replace
//! anything.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::customizer::{Issuance, RESERVED_MEMBERS, TokenChanges, TokenCustomizer};
use grantor::error::CustomizerError;
use grantor::testing::{TestClient, TestServer};
use grantor::{Clock, Error, ErrorCode, RefreshToken, Scope};
use serde_json::{Value, json};
use time::Duration;

use crate::common::{json as body_of, text, token_as};
use crate::issuances::{PEER, SCOPE, TICKET, build, requests, server};
use crate::support::{
    Spy, access_token, bad_grant, granted, header_values, refresh, refresh_of, refused, row, rows, tokens_of,
};

/// The smallest difference between two times.
const TICK: Duration = Duration::microseconds(1);

type Answer = dyn Fn(&Issuance<'_>) -> Result<TokenChanges, Error> + Send + Sync;

/// A customizer with configurable decisions that records its calls. At first it changes nothing.
#[derive(Clone)]
struct Scripted(Arc<Mutex<Script>>);

struct Script {
    answer: Arc<Answer>,
    asked: Vec<String>,
}

impl Scripted {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Script { answer: Arc::new(|_| Ok(TokenChanges::new())), asked: Vec::new() })))
    }

    fn answer(&self, answer: impl Fn(&Issuance<'_>) -> Result<TokenChanges, Error> + Send + Sync + 'static) {
        self.0.lock().unwrap().answer = Arc::new(answer);
    }

    /// The calls since the last call of this method.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

#[async_trait]
impl TokenCustomizer for Scripted {
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        let answer = {
            let mut script = self.0.lock().unwrap();
            let Issuance { kind, client, grant, scope, access_token_lifetime, peer, .. } = issuance;
            let subject = issuance.subject().map_or("nobody", |subject| subject.as_str());
            let (client, grant_type) = (client.id(), &grant.grant_type);
            let lifetime = access_token_lifetime.whole_seconds();
            script.asked.push(format!("{kind:?} {client} {subject} {grant_type} {lifetime} {peer:?} {scope}"));
            Arc::clone(&script.answer)
        };
        answer(issuance)
    }
}

async fn customized() -> (TestServer, TestClient, Arc<Spy>, Scripted) {
    let scripted = Scripted::new();
    let (t, app, spy) = server(|builder| builder.token_customizer(scripted.clone())).await;
    (t, app, spy, scripted)
}

fn refusal() -> Error {
    Error::refused(ErrorCode::from_static("example_quota"), "the quota of the tenant is used up")
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

#[tokio::test]
async fn customizer_is_asked_once_for_each_kind_of_issuance() {
    let (t, app, _, scripted) = customized().await;
    let requests = requests(&t, &app).await;
    scripted.asked();
    for ((what, request), kind) in requests.iter().zip([
        "AuthorizationCode APP alice authorization_code",
        "Refresh APP alice authorization_code",
        "Repeat APP alice authorization_code",
        "ClientCredentials APP nobody client_credentials",
        "Password APP alice password",
        &format!("Extension APP alice {TICKET}"),
    ]) {
        granted(&t, request).await;
        let expected = format!("{} 3600 Some({PEER}) {SCOPE}", kind.replace("APP", &app.id));
        assert_eq!(scripted.asked(), [expected], "{what}");
    }
}

#[tokio::test]
async fn customizer_refuses_each_kind_and_nothing_is_spent() {
    let (t, app, spy, scripted) = customized().await;
    let requests = requests(&t, &app).await;
    spy.writes();
    scripted.answer(|_| Err(refusal()));
    for (what, request) in &requests {
        let response = refused(&t, request, 400, "example_quota").await;
        assert_eq!(body_of(&response)["error_description"], "the quota of the tenant is used up", "{what}");
    }
    assert!(spy.writes().is_empty());
    scripted.answer(|_| Ok(TokenChanges::new()));
    for (_, request) in &requests {
        granted(&t, request).await;
    }
}

#[tokio::test]
async fn failing_customizer_is_host_failure_and_spends_nothing() {
    let (t, app, spy, scripted) = customized().await;
    let requests = requests(&t, &app).await;
    spy.writes();
    for (status, code) in [(500, "server_error"), (503, "temporarily_unavailable")] {
        scripted.answer(move |_| {
            let fail = if status == 503 { CustomizerError::unavailable } else { CustomizerError::new };
            Err(fail("https://tenants.internal is down").into())
        });
        for (what, request) in &requests {
            let response = refused(&t, request, status, code).await;
            assert!(!text(&response).contains("tenants.internal"), "{what}");
            let retry_after: &[&str] = if status == 503 { &["5"] } else { &[] };
            assert_eq!(header_values(&response, "retry-after"), retry_after, "{what}");
            let last = t.events.events().pop().unwrap();
            assert!(last.name == "token_refused" && last.text.contains("tenants.internal"), "{}", last.text);
        }
    }
    assert!(spy.writes().is_empty());
    scripted.answer(|_| Ok(TokenChanges::new()));
    for (_, request) in &requests {
        granted(&t, request).await;
    }
}

#[tokio::test]
async fn customizer_change_beyond_limits_is_a_host_failure() {
    let (t, app, spy, scripted) = customized().await;
    let requests = requests(&t, &app).await;
    spy.writes();
    let second = Duration::SECOND;
    let tick = Duration::microseconds(1);
    for (changes, fault) in [
        (TokenChanges::new().scope(scope("user:read admin")), "widened the scope"),
        (TokenChanges::new().access_token_lifetime(Duration::HOUR + tick), "lengthened the access token lifetime"),
        (TokenChanges::new().access_token_lifetime(second - tick), "lifetime below one second"),
        (TokenChanges::new().access_token_lifetime(-second), "lifetime below one second"),
        (TokenChanges::new().response_member("m", "x".repeat(4_089)), "more than 4 KiB"),
        (TokenChanges::new().response_member("m", nested(33)), "nested more than 32 levels deep"),
    ] {
        scripted.answer(move |_| Ok(changes.clone()));
        for (what, request) in &requests {
            refused(&t, request, 500, "server_error").await;
            let last = t.events.events().pop().unwrap().text;
            assert!(last.contains(fault), "{what}: {last}");
        }
    }
    assert!(spy.writes().is_empty());
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!([value]))
}

/// A refresh that requests a narrower scope limits the customizer to that scope.
#[tokio::test]
async fn customizer_cannot_exceed_the_refresh_scope() {
    let (t, app, _, scripted) = customized().await;
    let tokens = tokens_of(&t, &app).await;
    scripted.answer(|_| Ok(TokenChanges::new().scope(scope("user:read user:write"))));
    let narrow =
        [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose()), ("scope", "user:read")];
    refused(&t, &token_as(&app, &narrow), 500, "server_error").await;
    granted(&t, &refresh(&app, refresh_of(&tokens).expose())).await;
}

#[tokio::test]
async fn customizer_narrows_shortens_and_adds_for_each_kind() {
    let (t, app, _, scripted) = customized().await;
    // A repeat returns the first answer: its members are decided at the first request.
    scripted.answer(|issuance| {
        let lifetime = issuance.access_token_lifetime / 4;
        let changes = TokenChanges::new().scope(scope("user:read")).access_token_lifetime(lifetime);
        Ok(changes.response_member("tenant", json!({ "id": "acme" })))
    });
    for (what, request) in requests(&t, &app).await {
        let answer = granted(&t, &request).await;
        assert_eq!((&answer["scope"], &answer["expires_in"]), (&json!("user:read"), &json!(900)), "{what}");
        assert_eq!(answer["tenant"], json!({ "id": "acme" }), "{what}");
        let (token, grant) = row(&t, access_token(&answer).hash()).await;
        assert_eq!((token.scope.as_str(), token.expires_at - t.clock.now()), ("user:read", Duration::minutes(15)));
        assert_eq!(grant.scope.as_str(), SCOPE, "{what}: the grant keeps what was granted");
        if let Some(refresh_token) = answer["refresh_token"].as_str() {
            let (token, _) = row(&t, RefreshToken::new(refresh_token).hash()).await;
            assert_eq!(token.scope.as_str(), SCOPE, "{what}");
            assert!(token.expires_at > t.clock.now() + Duration::days(13), "{what}");
        } else {
            assert_eq!(grant.expires_at, token.expires_at, "{what}: a grant ends with its last token");
        }
    }
}

#[tokio::test]
async fn reserved_and_taken_members_are_dropped_with_event() {
    let (t, app, _, scripted) = customized().await;
    scripted.answer(|_| {
        let names = RESERVED_MEMBERS.iter().chain(&["seat", "tenant"]);
        Ok(names.fold(TokenChanges::new(), |changes, name| changes.response_member(*name, "forged")))
    });
    for (what, request) in requests(&t, &app).await {
        let told = t.events.events().len();
        let answer = granted(&t, &request).await;
        let mut names: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        names.retain(|name| !["access_token", "refresh_token", "expires_in", "scope", "token_type"].contains(name));
        assert_eq!(names, ["seat", "tenant"], "{what}");
        let seat = if what == "extension" { "12A" } else { "forged" };
        assert_eq!((&answer["seat"], &answer["tenant"]), (&json!(seat), &json!("forged")), "{what}");
        assert_ne!(answer["access_token"], "forged");
        let dropped: Vec<String> = t.events.events()[told..]
            .iter()
            .filter(|event| event.name == "customizer_member_dropped")
            .map(|event| event.text.split("member: \"").nth(1).unwrap().split('"').next().unwrap().to_owned())
            .collect();
        let taken: &[&str] = if what == "extension" { &["seat"] } else { &[] };
        let mut expected = [RESERVED_MEMBERS, taken].concat();
        expected.sort_unstable();
        assert_eq!(dropped, expected, "{what}");
    }
}

/// The decision at the first refresh counts, not the decision at the repeat.
#[tokio::test]
async fn repeat_of_customized_refresh_gets_the_same_answer() {
    let (t, app, spy, scripted) = customized().await;
    let tokens = tokens_of(&t, &app).await;
    let old = refresh_of(&tokens).expose();
    scripted.answer(|_| {
        let changes = TokenChanges::new().scope(scope("user:read")).access_token_lifetime(Duration::minutes(10));
        Ok(changes.response_member("tenant", "acme").response_member("plan", json!(["a", 1, 2.5])))
    });
    let first = granted(&t, &refresh(&app, old)).await;
    assert_eq!((&first["scope"], &first["tenant"]), (&json!("user:read"), &json!("acme")));
    let hashes = [refresh_of(&tokens).hash(), access_token(&first).hash()];
    let before = rows(&t, &hashes).await;
    spy.writes();

    for elapsed in [0, 10] {
        t.clock.advance(Duration::seconds(elapsed));
        for other in [
            TokenChanges::new(),
            TokenChanges::new().response_member("tenant", "other"),
            TokenChanges::new().scope(scope("user:write")),
        ] {
            scripted.answer(move |_| Ok(other.clone()));
            let mut expected = first.clone();
            expected["expires_in"] = json!(600 - elapsed);
            assert_eq!(granted(&t, &refresh(&app, old)).await, expected);
        }
    }
    // A repeat must request the same scope as the first request did, not the scope to which the token was narrowed.
    scripted.answer(|_| Ok(TokenChanges::new()));
    let narrowed = [("grant_type", "refresh_token"), ("refresh_token", old), ("scope", "user:read")];
    bad_grant(&t, &token_as(&app, &narrowed), "RetryRefused").await;
    let asked = [("grant_type", "refresh_token"), ("refresh_token", old), ("scope", SCOPE)];
    assert_eq!(granted(&t, &token_as(&app, &asked)).await["access_token"], first["access_token"]);
    assert_eq!(spy.writes(), [&["insert"][..], &["replace"; 6]].concat(), "a repeat writes only the count of repeats");
    assert_eq!(rows(&t, &hashes).await, before);

    // A narrowed token does not narrow the grant: the next refresh gets the whole scope.
    let next = granted(&t, &refresh(&app, first["refresh_token"].as_str().unwrap())).await;
    assert_eq!(next["scope"], SCOPE);
    assert_eq!(next.get("tenant"), None);
}

/// If the shortened access token has ended, a repeat within the grace window gets `invalid_grant`, but it does not
/// count as theft.
#[tokio::test]
async fn repeat_with_shortened_access_token_revokes_nothing() {
    let (t, app, spy, scripted) = customized().await;
    let tokens = tokens_of(&t, &app).await;
    let old = refresh(&app, refresh_of(&tokens).expose());
    scripted.answer(|_| Ok(TokenChanges::new().access_token_lifetime(Duration::seconds(10))));
    let first = granted(&t, &old).await;
    t.clock.advance(Duration::seconds(9));
    let mut expected = first.clone();
    expected["expires_in"] = json!(1);
    assert_eq!(granted(&t, &old).await, expected);

    let answer = bad_grant(&t, &refresh(&app, "unknown"), "UnknownToken").await;
    spy.writes();
    // The access token has less than a second left, then none. Then the window of 30 seconds is about to end.
    for elapsed in [TICK, Duration::SECOND, Duration::seconds(20) - TICK * 3] {
        t.clock.advance(elapsed);
        let refused = bad_grant(&t, &old, "RetryRefused").await;
        assert_eq!(text(&refused), text(&answer), "{elapsed}");
    }
    assert!(spy.writes().is_empty());
    granted(&t, &refresh(&app, first["refresh_token"].as_str().unwrap())).await;
}

#[tokio::test]
async fn members_are_stored_only_for_repeatable_answers() {
    let (t, app, _, scripted) = customized().await;
    scripted.answer(|_| Ok(TokenChanges::new().response_member("tenant", "a-secret-tenant")));
    let stored = json!({ "tenant": "a-secret-tenant" });
    for (what, request) in requests(&t, &app).await {
        let (token, _) = row(&t, access_token(&granted(&t, &request).await).hash()).await;
        let details = serde_json::to_value(&token.details).unwrap();
        let expected = if ["refresh", "repeat"].contains(&what) { Some(&stored) } else { None };
        assert_eq!(details.get("response_members"), expected, "{what}");
        assert_eq!(details.get("requested_scope"), None, "{what}: no scope was requested");
        assert!(!format!("{token:?}").contains("a-secret"), "debug output has only the names of members");
    }
    let changes = TokenChanges::new().response_member("tenant", "a-secret-tenant");
    assert!(format!("{changes:?}").contains("tenant") && !format!("{changes:?}").contains("a-secret"));
}

/// Rows are read by a JSON parser with a depth limit. The row with
/// the deepest allowed member stays below that limit.
#[tokio::test]
async fn deepest_member_that_is_allowed_is_read_again() {
    let (t, app, _, scripted) = customized().await;
    scripted.answer(|_| Ok(TokenChanges::new().response_member("m", nested(32))));
    let tokens = tokens_of(&t, &app).await;
    let first = granted(&t, &refresh(&app, refresh_of(&tokens).expose())).await;
    assert_eq!(first["m"], nested(32));
    let (token, _) = row(&t, access_token(&first).hash()).await;
    let stored = serde_json::to_string(&token).unwrap();
    let read: grantor::StoredToken = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.details.response_members["m"], nested(32));
}

/// A shortened lifetime is still limited by the end of the grant.
#[tokio::test]
async fn shortened_lifetime_still_ends_with_the_grant() {
    let (t, app, _, scripted) = customized().await;
    scripted.answer(|_| Ok(TokenChanges::new().access_token_lifetime(Duration::minutes(10))));
    let mut tokens = tokens_of(&t, &app).await;
    for _ in 0..8 {
        t.clock.advance(Duration::days(11));
        tokens = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
        assert_eq!(tokens.expires_in, Duration::minutes(10));
    }
    t.clock.advance(Duration::days(2) - Duration::minutes(3));
    tokens = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    assert_eq!(tokens.expires_in, Duration::minutes(3));
}

/// Storages get whole microseconds.
#[tokio::test]
async fn shortened_lifetime_is_stored_in_whole_microseconds() {
    let (t, app, _, scripted) = customized().await;
    scripted.answer(|issuance| Ok(TokenChanges::new().access_token_lifetime(issuance.access_token_lifetime / 7)));
    for (what, request) in requests(&t, &app).await {
        let answer = granted(&t, &request).await;
        assert_eq!(answer["expires_in"], 514, "{what}");
        let (token, grant) = row(&t, access_token(&answer).hash()).await;
        assert_eq!(token.expires_at - t.clock.now(), Duration::microseconds(514_285_714), "{what}");
        assert_eq!(grant.expires_at.nanosecond() % 1_000, 0, "{what}");
    }
}

/// Changes nothing.
struct Defaults;

#[async_trait]
impl TokenCustomizer for Defaults {}

#[tokio::test]
async fn customizer_default_changes_nothing_and_arc_forwards() {
    let scripted = Arc::new(Scripted::new());
    scripted.answer(|_| Ok(TokenChanges::new().response_member("tenant", "acme")));
    let (mut t, app, spy) = server(|builder| builder.token_customizer(Defaults)).await;
    for (what, request) in requests(&t, &app).await {
        assert_eq!(granted(&t, &request).await.get("tenant"), None, "{what}");
    }
    let forwarded = Arc::clone(&scripted) as Arc<dyn TokenCustomizer>;
    t.server = build(&t, &spy, |builder| builder.token_customizer(forwarded)).await;
    for (what, request) in requests(&t, &app).await {
        assert_eq!(granted(&t, &request).await["tenant"], "acme", "{what}");
    }
    assert!(!scripted.asked().is_empty());
}
