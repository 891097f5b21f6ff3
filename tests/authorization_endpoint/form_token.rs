//! The sealed form token: bound to its server, its session and everything that the page showed, for a limited time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::client::{ClientParts, RegisteredBy};
use grantor::storage::Found;
use grantor::testing::{SeededEntropy, TestClient};
use grantor::{AuthorizationCode, Client, ClientId, ClientRegistry, ClientStore, Clock, Response, Storage};
use time::Duration;

use crate::ask::{
    Ask, CALLBACK, assert_error, assert_error_in_fragment, assert_page, by, client_of, consent, grants_of, pending,
};
use crate::common::{CHALLENGE, fragment_of, query_of};
use crate::source::{TestServer, confidential, public};

const STATE: Option<&str> = Some("af0ifjsldkj");
const SESSION: &str = "a-random-session-identifier";
const STALE: &str = "this form has expired";
const WRONG_SESSION: &str = "this form does not belong to your current session";

async fn sealed(t: &TestServer, ask: &Ask) -> String {
    consent(t, ask).await.form_token(SESSION)
}

/// The error page for a form token that is refused.
async fn refused(t: &TestServer, form_token: &str, session: &str) -> Response {
    match t.server.resume(form_token, session).await {
        Ok(pending) => panic!("{form_token:?} was accepted: {pending:?}"),
        Err(error) => error.into(),
    }
}

async fn change(t: &TestServer, app: &TestClient, change: impl FnOnce(&mut ClientParts)) {
    let before = client_of(t, app).await;
    let mut parts = before.parts().clone();
    change(&mut parts);
    t.storage.update(Client::from_parts(parts).unwrap(), before.version()).await.unwrap();
}

// covers: CU-01 (RFC 6749 §10.12), B45
#[tokio::test]
async fn form_token_returns_the_request_that_was_shown() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb?a=1").await;
    let state: String = (0x20..=0x7e_u8).map(char::from).collect();
    for mode in ["query", "fragment"] {
        let ask =
            Ask::code(&app).with("scope", "user:write user:read").with("state", &state).with("response_mode", mode);
        let token = sealed(&t, &ask).await;
        let waiting = t.server.resume(&token, SESSION).await.expect("an untouched token");
        assert_eq!(waiting.request().client().id().as_str(), app.id);
        assert_eq!(waiting.request().scope().as_str(), "user:read user:write");
        let answer = waiting.approve(by("alice")).await;
        let hash = answer.code().expect("a code").hash();
        let answer: Response = answer.into();
        let members = if mode == "query" { query_of_app(&answer) } else { fragment_of(&answer) };
        assert_eq!(members["state"], state);
        let Found { token: stored, grant, .. } = t.storage.find(&hash).await.unwrap().expect("the code is stored");
        let binding = stored.details.code.as_ref().unwrap();
        assert_eq!((&*binding.redirect_uri, binding.redirect_uri_was_sent), ("https://app.example/cb?a=1", true));
        assert_eq!(binding.code_challenge.as_ref().unwrap().as_str(), CHALLENGE);
        assert_eq!(grant.scope.as_str(), "user:read user:write");
    }
}

/// The parameters added to a registered query `a=1`.
fn query_of_app(answer: &Response) -> std::collections::BTreeMap<String, String> {
    let mut query = query_of(answer);
    assert_eq!(query.remove("a").as_deref(), Some("1"));
    query
}

// covers: AMB-04
#[tokio::test]
async fn form_token_remembers_if_redirect_uri_was_sent() {
    let (t, app) = public().await;
    for (ask, was_sent) in [(Ask::code(&app), true), (Ask::code(&app).without("redirect_uri"), false)] {
        let token = sealed(&t, &ask).await;
        let answer = t.server.resume(&token, SESSION).await.unwrap().approve(by("alice")).await;
        let code: &AuthorizationCode = answer.code().expect("a code");
        let stored = t.storage.find(&code.hash()).await.unwrap().expect("the code is stored").token;
        assert_eq!(stored.details.code.as_ref().unwrap().redirect_uri_was_sent, was_sent);
    }
}

#[tokio::test]
async fn implicit_request_survives_the_form() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let app = t.register(Client::public("app").implicit([CALLBACK]).scope("user:read").build(), None).await;
    let token = sealed(&t, &Ask::token(&app).without("state")).await;
    let answer: Response = t.server.resume(&token, SESSION).await.unwrap().approve(by("alice")).await.into();
    let members = ["access_token", "expires_in", "iss", "scope", "token_type"];
    assert_eq!(fragment_of(&answer).keys().collect::<Vec<_>>(), members);
    // The request stays a token request, even if the client has only the code grant now.
    change(&t, &app, |parts| {
        parts.grant_types = [grantor::GrantType::new("authorization_code").unwrap()].into();
    })
    .await;
    assert_error_in_fragment(&refused(&t, &token, SESSION).await, CALLBACK, "unauthorized_client", None);
}

// covers: CU-01 (RFC 6749 §10.12), CU-09 (RFC 6749 §10.12), B45
#[tokio::test]
async fn form_token_of_another_session_is_refused() {
    let (t, app) = public().await;
    let token = sealed(&t, &Ask::code(&app)).await;
    let longer = format!("{SESSION}x");
    for session in ["", "x", &SESSION[1..], &SESSION[..5], &longer, &SESSION.to_uppercase(), &format!("{SESSION}\0")] {
        assert_page(&refused(&t, &token, session).await, 400, "invalid_request", WRONG_SESSION);
    }
    let last = t.events.events().pop().unwrap();
    assert!(last.name == "authorization_stale" && last.text.contains("InvalidFormToken"), "{}", last.text);
    assert!(grants_of(&t, &app).await.is_empty());
    drop(t.server.resume(&token, SESSION).await.expect("the session of the form can use it"));
}

// covers: CU-09 (RFC 6749 §10.12)
#[tokio::test]
async fn form_without_a_session_is_refused() {
    let (t, app) = public().await;
    let form_token = consent(&t, &Ask::code(&app)).await.form_token("");
    assert_page(&refused(&t, &form_token, "").await, 400, "invalid_request", WRONG_SESSION);
}

#[tokio::test]
async fn bytes_cannot_move_between_session_and_form_content() {
    let (t, app) = public().await;
    let form_token = consent(&t, &Ask::code(&app)).await.form_token("session ");
    // JSON may begin with a space: plain concatenation of session and content would give the same text under the same
    // key.
    let mut bytes = vec![b' '];
    bytes.extend(URL_SAFE_NO_PAD.decode(form_token).unwrap());
    let answer = refused(&t, &URL_SAFE_NO_PAD.encode(bytes), "session").await;
    assert_page(&answer, 400, "invalid_request", WRONG_SESSION);
}

// covers: CU-01 (RFC 6749 §10.12), B45
#[tokio::test]
async fn form_token_opens_only_with_the_same_server_key() {
    let server = |seed, key: Option<[u8; 32]>| {
        TestServer::with(|builder| {
            let builder = builder.entropy(SeededEntropy::new(seed));
            match key {
                Some(key) => builder.server_key(&key, &[]),
                None => builder,
            }
        })
    };
    let first = server(1, Some([7; 32]));
    let app = first.public_client(CALLBACK).await;
    let token = sealed(&first, &Ask::code(&app)).await;

    let second_node = server(2, Some([7; 32]));
    assert_eq!(second_node.public_client(CALLBACK).await.id, app.id, "the nodes know the same client");
    let waiting = second_node.server.resume(&token, SESSION).await.expect("a node of the same server");
    assert_eq!(waiting.deny().await.state(), STATE);

    // A server without a configured key generates a random key, so it does not accept forms of other processes.
    for other in [server(2, Some([8; 32])), server(1, None), server(2, None)] {
        other.public_client(CALLBACK).await;
        assert_page(&refused(&other, &token, SESSION).await, 400, "invalid_request", WRONG_SESSION);
    }
    let (one, two) = (server(3, None), server(4, None));
    let app = one.public_client(CALLBACK).await;
    two.public_client(CALLBACK).await;
    let token = sealed(&one, &Ask::code(&app)).await;
    assert_page(&refused(&two, &token, SESSION).await, 400, "invalid_request", WRONG_SESSION);
}

// covers: CU-01 (RFC 6749 §10.12), B45
#[tokio::test]
async fn form_of_a_previous_server_key_still_opens() {
    let (old, new) = ([7; 32], [8; 48]);
    let server = |seed, current: &[u8], previous: &[&[u8]]| {
        TestServer::with(|builder| builder.entropy(SeededEntropy::new(seed)).server_key(current, previous))
    };
    // The order in which the nodes of a server get a new key.
    let (before, prepared, replaced, after) =
        (server(1, &old, &[]), server(2, &old, &[&new]), server(3, &new, &[&old]), server(4, &new, &[]));
    let mut apps = Vec::new();
    for t in [&before, &prepared, &replaced, &after] {
        apps.push(t.public_client(CALLBACK).await);
    }
    let ask = Ask::code(&apps[0]);
    for (sealing, open, closed) in [
        (&before, &[&before, &prepared, &replaced][..], &[&after][..]),
        (&prepared, &[&before, &prepared, &replaced], &[&after]),
        (&replaced, &[&prepared, &replaced, &after], &[&before]),
        (&after, &[&prepared, &replaced, &after], &[&before]),
    ] {
        let token = sealed(sealing, &ask).await;
        for t in open {
            let waiting = t.server.resume(&token, SESSION).await.expect("a known key");
            // The user for whom the form was made is sealed as well.
            let answer = waiting.approve(by("alice")).await;
            assert_eq!((answer.state(), answer.code().is_some()), (STATE, true));
        }
        for t in closed {
            assert_page(&refused(t, &token, SESSION).await, 400, "invalid_request", WRONG_SESSION);
        }
    }
}

// covers: CU-01 (RFC 6749 §10.12), B45
#[tokio::test]
async fn form_token_with_a_flipped_bit_is_refused() {
    let (t, app) = public().await;
    let token = sealed(&t, &Ask::code(&app)).await;
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_page(&refused(&t, &changed, SESSION).await, 400, "invalid_request", WRONG_SESSION);
        }
    }
    // The text has exactly one spelling, even in the unused bits of its last character.
    for at in 0..token.len() {
        for other in ["A", "B", "Q", "_", "=", "+", " ", "%"] {
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            if changed != token {
                assert_page(&refused(&t, &changed, SESSION).await, 400, "invalid_request", WRONG_SESSION);
            }
        }
    }
    assert_eq!(t.faults.calls(), 2, "a forged token causes no storage call");
}

#[tokio::test]
async fn form_token_with_a_part_missing_or_added_is_refused() {
    let (t, app) = public().await;
    let token = sealed(&t, &Ask::code(&app)).await;
    for end in 0..token.len() {
        assert_page(&refused(&t, &token[..end], SESSION).await, 400, "invalid_request", WRONG_SESSION);
        assert_page(&refused(&t, &token[end + 1..], SESSION).await, 400, "invalid_request", WRONG_SESSION);
    }
    let twice = format!("{token}{token}");
    for longer in [format!("{token}A"), format!("{token}="), format!("{token}\n"), format!(" {token}"), twice] {
        assert_page(&refused(&t, &longer, SESSION).await, 400, "invalid_request", WRONG_SESSION);
    }
    // A part of the content can't be moved into the session.
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    let moved = format!("{SESSION}{}", String::from_utf8_lossy(&bytes[..1]));
    let rest = URL_SAFE_NO_PAD.encode(&bytes[1..]);
    assert_page(&refused(&t, &rest, &moved).await, 400, "invalid_request", WRONG_SESSION);
}

#[tokio::test]
async fn form_token_is_valid_for_half_an_hour() {
    let (t, app) = public().await;
    let token = sealed(&t, &Ask::code(&app)).await;
    t.clock.advance(Duration::minutes(30));
    drop(t.server.resume(&token, SESSION).await.expect("the form has not expired yet"));
    t.clock.advance(Duration::SECOND);
    assert_page(&refused(&t, &token, SESSION).await, 400, "invalid_request", "this form has expired");
    // A request with the wrong session does not reveal that the form expired.
    assert_page(&refused(&t, &token, "x").await, 400, "invalid_request", WRONG_SESSION);
    // Clocks of nodes differ a little: a node with a slow clock accepts the form.
    t.clock.advance(-Duration::minutes(31));
    drop(t.server.resume(&token, SESSION).await.expect("the clock of the node is slow"));

    let short = TestServer::with_policy(|policy| policy.consent_lifetime = Duration::SECOND);
    let app = short.public_client(CALLBACK).await;
    let token = sealed(&short, &Ask::code(&app)).await;
    short.clock.advance(Duration::seconds(2));
    assert_page(&refused(&short, &token, SESSION).await, 400, "invalid_request", "this form has expired");
}

// covers: B1, B45
#[tokio::test]
async fn form_for_a_removed_client_is_refused() {
    let (t, app) = public().await;
    let token = sealed(&t, &Ask::code(&app)).await;
    t.storage.remove(&ClientId::new(&app.id).unwrap(), t.clock.now()).await.unwrap();
    let answer = refused(&t, &token, SESSION).await;
    assert_page(&answer, 400, "invalid_client", "the client is not registered with this server");
}

// covers: AZ-07 (RFC 6749 §4.1.2.1), B1
#[tokio::test]
async fn form_with_a_removed_redirect_uri_is_refused() {
    let t = TestServer::new();
    let uris = [CALLBACK, "https://app.example/other"];
    let app = t.register(Client::public("app").authorization_code(uris).scope("user:read").build(), None).await;
    let token = sealed(&t, &Ask::code(&app)).await;
    change(&t, &app, |parts| parts.redirect_uris.retain(|uri| uri.as_str() != CALLBACK)).await;
    let answer = refused(&t, &token, SESSION).await;
    assert_page(&answer, 400, "invalid_request", "the redirect URI is not registered for this client");

    // The request named no redirect URI, so its form is bound to the URI that was registered at that time.
    let other = t.public_client(CALLBACK).await;
    let token = sealed(&t, &Ask::code(&other).without("redirect_uri")).await;
    change(&t, &other, |parts| {
        parts.redirect_uris = vec![grantor::client::RedirectUri::parse("https://moved.example/cb").unwrap()];
    })
    .await;
    assert_page(&refused(&t, &token, SESSION).await, 400, "invalid_request", STALE);
}

// covers: B45
#[tokio::test]
async fn form_with_a_removed_scope_or_grant_type_is_refused() {
    let (t, app) = confidential().await;
    let token = sealed(&t, &Ask::code(&app).with("scope", "user:read user:write")).await;
    change(&t, &app, |parts| parts.scope = Some("user:read".parse().unwrap())).await;
    assert_error(&refused(&t, &token, SESSION).await, CALLBACK, "invalid_scope", STATE);

    let token = sealed(&t, &Ask::code(&app)).await;
    change(&t, &app, |parts| parts.grant_types.retain(|grant_type| grant_type.as_str() != "authorization_code")).await;
    assert_error(&refused(&t, &token, SESSION).await, CALLBACK, "unauthorized_client", STATE);
    assert!(grants_of(&t, &app).await.is_empty());
}

// covers: CU-02 (RFC 6749 §10.12), B27
#[tokio::test]
async fn form_of_a_changed_default_scope_is_stale() {
    let t = TestServer::new();
    let client = Client::public("app").authorization_code([CALLBACK]).scope("user:read user:write");
    let app = t.register(client.default_scope("user:read").build(), None).await;
    let token = sealed(&t, &Ask::code(&app).without("scope")).await;
    let named = sealed(&t, &Ask::code(&app)).await;
    change(&t, &app, |parts| parts.default_scope = Some("user:read user:write".parse().unwrap())).await;
    assert_page(&refused(&t, &token, SESSION).await, 400, "invalid_request", STALE);
    let last = t.events.events().pop().unwrap();
    assert!(last.name == "authorization_stale" && last.text.contains("StaleFormToken"), "{}", last.text);
    assert!(grants_of(&t, &app).await.is_empty());
    assert_eq!(pending(&t, &Ask::code(&app).without("scope")).await.scope().as_str(), "user:read user:write");
    let waiting = t.server.resume(&named, SESSION).await.expect("a request that named its scope is unchanged");
    assert_eq!(waiting.request().scope().as_str(), "user:read");
}

// covers: CU-02 (RFC 6749 §10.12), B45
#[tokio::test]
async fn form_with_changed_client_details_is_stale() {
    let (t, app) = public().await;
    let name: fn(&mut ClientParts) = |parts| parts.client_name = Some("My Bank".to_owned());
    for shown in [
        name,
        |parts| parts.client_uri = Some("https://other.example/".to_owned()),
        |parts| parts.logo_uri = Some("https://other.example/".to_owned()),
        |parts| parts.policy_uri = Some("https://other.example/".to_owned()),
        |parts| parts.tos_uri = Some("https://other.example/".to_owned()),
        |parts| parts.contacts = vec!["ada@other.example".to_owned()],
        |parts| parts.registered_by = RegisteredBy::SelfService,
        |parts| parts.lifetimes.refresh_token_absolute = Some(Duration::days(1)),
    ] {
        let token = sealed(&t, &Ask::code(&app)).await;
        drop(t.server.resume(&token, SESSION).await.expect("nothing has changed"));
        change(&t, &app, shown).await;
        assert_page(&refused(&t, &token, SESSION).await, 400, "invalid_request", STALE);
    }
    let token = sealed(&t, &Ask::code(&app)).await;
    change(&t, &app, |parts| parts.host_data = serde_json::json!({ "team": 7 })).await;
    drop(t.server.resume(&token, SESSION).await.expect("the page does not depend on host_data"));
}

// Regression: a form was accepted although the page had shown another description of a scope.
// covers: CU-02 (RFC 6749 §10.12), B45
#[tokio::test]
async fn form_with_an_old_scope_description_is_stale() {
    let server = |description: &'static str| {
        TestServer::with(|builder| builder.server_key(&[7; 32], &[]).scope("mail", description))
    };
    let (before, same, after) = (server("Read your mail"), server("Read your mail"), server("Delete your mail"));
    let mut apps = Vec::new();
    for t in [&before, &same, &after] {
        apps.push(t.register(Client::public("app").authorization_code([CALLBACK]).scope("mail").build(), None).await);
    }
    let token = sealed(&before, &Ask::code(&apps[0]).with("scope", "mail")).await;
    drop(same.server.resume(&token, SESSION).await.expect("the same is shown"));
    assert_page(&refused(&after, &token, SESSION).await, 400, "invalid_request", STALE);
}

// covers: CU-01 (RFC 6749 §10.12), B45
#[tokio::test]
async fn form_of_another_issuer_is_refused() {
    let key = [7; 32];
    let first = TestServer::with(|builder| builder.server_key(&key, &[]));
    let app = first.public_client(CALLBACK).await;
    let token = sealed(&first, &Ask::code(&app)).await;
    let storage = grantor::MemoryStorage::new();
    let client = first.storage.find_client(&app.id).await.unwrap().unwrap();
    storage.register((*client).clone()).await.unwrap();
    let other = grantor::AuthorizationServer::builder("https://other.example")
        .storage(storage)
        .scope("user:read", "Read your profile")
        .clock(first.clock.clone())
        .server_key(&key, &[])
        .build()
        .await
        .unwrap();
    let answer = other.resume(&token, SESSION).await.expect_err("a form of another issuer");
    assert_page(&answer.into(), 400, "invalid_request", WRONG_SESSION);
    drop(first.server.resume(&token, SESSION).await.expect("the server that made the form accepts it"));
}

#[tokio::test]
async fn equal_requests_have_different_form_tokens() {
    let (t, app) = public().await;
    let ask = Ask::code(&app);
    let one = consent(&t, &ask).await;
    let token = one.form_token(SESSION);
    assert_eq!(one.form_token(SESSION), token);
    assert_ne!(sealed(&t, &ask).await, token);
    let resumed = t.server.resume(&token, SESSION).await.unwrap();
    assert_eq!(resumed.form_token(SESSION), token, "the form of the same request is unchanged");
}

// covers: B45
#[tokio::test]
async fn form_that_needs_a_turned_off_switch_is_refused() {
    let server = |allowed| {
        let mut policy = grantor::Policy::default();
        policy.dangerous().allow_plain_pkce = allowed;
        policy.dangerous().pkce_optional = allowed;
        policy.dangerous().allow_out_of_band_redirect = allowed;
        TestServer::with(|builder| builder.policy(policy).server_key(&[7; 32], &[]))
    };
    let (before, after) = (server(true), server(false));
    let uris = [CALLBACK, "urn:ietf:wg:oauth:2.0:oob"];
    let secret = grantor::ClientSecret::new("x".repeat(43));
    let client = || {
        let client = Client::confidential("app", grantor::ClientCredential::secret(&secret));
        client.authorization_code(uris).plain_pkce().pkce_optional().scope("user:read").build()
    };
    let app = before.register(client(), None).await;
    after.register(client(), None).await;

    let plain = Ask::code(&app).without("code_challenge_method");
    let missing = plain.clone().without("code_challenge");
    for ask in [plain, missing] {
        let token = sealed(&before, &ask).await;
        drop(before.server.resume(&token, SESSION).await.expect("the switch is on"));
        assert_error(&refused(&after, &token, SESSION).await, CALLBACK, "invalid_request", STATE);
    }
    let token = sealed(&before, &Ask::code(&app).with("redirect_uri", "urn:ietf:wg:oauth:2.0:oob")).await;
    drop(before.server.resume(&token, SESSION).await.expect("the switch is on"));
    let answer = refused(&after, &token, SESSION).await;
    assert_page(&answer, 400, "invalid_request", "the redirect URI is not registered for this client");
}
