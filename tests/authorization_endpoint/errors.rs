//! Which error a client gets, and whether the browser is redirected at once.

use grantor::client::RegisteredBy;
use grantor::policy::ErrorRedirects;
use grantor::testing::TestClient;
use grantor::{Client, Request, Response, StorageError};

use crate::ask::{
    Ask, CALLBACK, approved, assert_error, assert_error_in_fragment, assert_page, client_of, describe, pending, refused,
};
use crate::common::{query_of, responded, text};
use crate::source::{TestServer, confidential, public};

const STATE: Option<&str> = Some("af0ifjsldkj");

// covers: AZ-05 (RFC 6749 §4.1.2.1), AZ-06 (RFC 6749 §3.1.2.4), AMB-01, B1
#[tokio::test]
async fn missing_or_unknown_client_gets_an_error_page() {
    let (t, app) = public().await;
    let missing = refused(&t, &Ask::code(&app).without("client_id")).await;
    assert_page(&missing, 400, "invalid_request", "the parameter client_id is missing");
    let too_long = "x".repeat(256);
    for unknown in ["nobody", "public-1 ", " public-1", "public-1\0", "public-", "\u{ff50}ublic-1", &too_long] {
        let answer = refused(&t, &Ask::code(&app).with("client_id", unknown)).await;
        assert_page(&answer, 400, "invalid_client", "the client is not registered with this server");
        assert_eq!(answer.header("www-authenticate"), None, "a browser can't answer a challenge");
    }
    let events = t.events.events();
    assert_eq!(events.len(), 8);
    for event in &events[1..] {
        assert_eq!(event.name, "authorization_refused");
        assert!(event.text.contains("UnregisteredClient") && event.text.contains("client_id: None"), "{}", event.text);
    }
}

// covers: AZ-08 (RFC 6749 §3.1.1), AZ-09 (RFC 6749 §3.1.1, §4.1.2.1), AZ-10 (RFC 6749 §4.1.2.1), AMB-11
#[tokio::test]
async fn invalid_response_type_is_refused() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let app = t.public_client(CALLBACK).await;
    let ask = Ask::code(&app);
    assert_error(&refused(&t, &ask.clone().without("response_type")).await, CALLBACK, "invalid_request", STATE);
    let unknown = refused(&t, &ask.clone().with("response_type", "foo")).await;
    assert_error(&unknown, CALLBACK, "unsupported_response_type", STATE);
    let not_allowed = refused(&t, &ask.with("response_type", "token")).await;
    assert_error_in_fragment(&not_allowed, CALLBACK, "unauthorized_client", STATE);

    let implicit_only = Client::public("implicit").implicit([CALLBACK]).scope("user:read").build();
    let implicit_only = t.register(implicit_only, None).await;
    let not_allowed = refused(&t, &Ask::code(&implicit_only)).await;
    assert_error(&not_allowed, CALLBACK, "unauthorized_client", STATE);
    let events = t.events.events();
    let last = &events.last().unwrap().text;
    assert!(last.contains("ResponseTypeNotAllowed") && last.contains("ClientId(\"implicit\")"), "{last}");
}

// covers: AZ-10 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn machine_with_redirect_uri_cannot_request_a_code() {
    let (t, machine) = confidential().await;
    let before = client_of(&t, &machine).await;
    let mut parts = before.parts().clone();
    parts.grant_types.retain(|grant_type| grant_type.as_str() == "client_credentials");
    let changed = Client::from_parts(parts).unwrap();
    grantor::ClientRegistry::update(&t.storage, changed, before.version()).await.unwrap();
    assert_error(&refused(&t, &Ask::code(&machine)).await, CALLBACK, "unauthorized_client", STATE);
}

// covers: AZ-09 (RFC 6749 §3.1.1), PP-14 (RFC 6749 §3.1.1, §8.4), B39
#[tokio::test]
async fn response_type_list_is_refused_in_any_order() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let client = Client::public("both").authorization_code([CALLBACK]).implicit([CALLBACK]).scope("user:read").build();
    let app = t.register(client, None).await;
    for list in [
        "code token",
        "token code",
        "code code",
        "code ",
        " code",
        "code id_token",
        "id_token code",
        "xcode",
        "codex",
        "code,token",
        "token x",
        "none",
        "code\ttoken",
        "code\0",
    ] {
        let answer = refused(&t, &Ask::code(&app).with("response_type", list)).await;
        assert_error(&answer, CALLBACK, "unsupported_response_type", STATE);
    }
}

// covers: AZ-22 (RFC 9700 §2.1.2), B41
#[tokio::test]
async fn implicit_grant_is_off_by_default() {
    let t = TestServer::new();
    let client = Client::public("app").implicit([CALLBACK]).authorization_code([CALLBACK]).scope("user:read").build();
    let app = t.register(client, None).await;
    let answer = refused(&t, &Ask::token(&app)).await;
    assert_error_in_fragment(&answer, CALLBACK, "unsupported_response_type", STATE);
}

// covers: AZ-04 (RFC 6749 §4.1.1), AZ-11 (RFC 6749 §4.1.2.1, §3.3), AZ-15 (RFC 6749 §4.1.2.1), AZ-16, AZ-17, AZ-18
#[tokio::test]
async fn every_fault_gets_one_registered_code_before_login() {
    let t = TestServer::new();
    let app = t.register(Client::public("app").authorization_code([CALLBACK]).scope("user:read").build(), None).await;
    let ask = Ask::code(&app);
    for (faulty, code) in [
        (ask.clone().with("response_mode", "form_post"), "invalid_request"),
        (ask.clone().without("response_type"), "invalid_request"),
        (ask.clone().with("response_type", "foo"), "unsupported_response_type"),
        (ask.clone().without("code_challenge"), "invalid_request"),
        (ask.clone().with("code_challenge", "\"\\"), "invalid_request"),
        (ask.clone().with("code_challenge_method", "plain"), "invalid_request"),
        (ask.clone().with("scope", "nope"), "invalid_scope"),
        (ask.clone().with("scope", "\"user:read\""), "invalid_scope"),
        (ask.clone().with("scope", "caf\u{e9}"), "invalid_scope"),
        (ask.clone().with("scope", "user:write"), "invalid_scope"),
        (ask.clone().without("scope"), "invalid_scope"),
        (ask.clone().twice("scope"), "invalid_request"),
        (ask.clone().raw("&x=%ZZ"), "invalid_request"),
    ] {
        // Also checks that error_uri is absent and that the texts keep to their characters.
        assert_error(&refused(&t, &faulty).await, CALLBACK, code, STATE);
        let events = t.events.events();
        let event = events.last().unwrap();
        assert_eq!(event.name, "authorization_refused");
        assert!(event.text.contains("ClientId(\"app\")"), "{}", event.text);
    }
    assert_eq!(t.events.count("authorization_refused"), 13);
    assert_eq!(t.events.events().len(), 13);
}

fn self_registered() -> Result<Client, grantor::client::ClientError> {
    let uri = "https://app.example/cb?a='%22&b=<>".replace(['<', '>'], "");
    Client::public("app").authorization_code([uri]).scope("user:read").registered_by(RegisteredBy::SelfService).build()
}

// covers: AZ-19 (RFC 9700 §4.11.2), AZ-20 (RFC 9700 §4.11.2), AMB-25
#[tokio::test]
async fn errors_redirect_at_once_only_for_vetted_clients() {
    let (t, trusted) = public().await;
    let unknown = t.register(self_registered(), None).await;
    let at_once = refused(&t, &Ask::code(&trusted).with("scope", "nope")).await;
    assert_error(&at_once, CALLBACK, "invalid_scope", STATE);
    let asked_first = refused(&t, &Ask::code(&unknown).with("scope", "nope")).await;
    assert_interstitial(&asked_first, &unknown, "invalid_scope");
    assert_eq!(t.events.count("authorization_refused"), 2);

    // A failure of the host app does not redirect without asking the user either.
    let failure = || StorageError::new("out of order");
    let failed: Response = pending(&t, &Ask::code(&unknown)).await.fail(failure()).into();
    assert_eq!((failed.status(), failed.header("location")), (500, None), "{}", describe(&failed));
    assert!(text(&failed).contains("<strong>app.example</strong>") && text(&failed).contains("error=server_error"));
    let failed: Response = pending(&t, &Ask::code(&trusted)).await.fail(failure()).into();
    assert_error(&failed, CALLBACK, "server_error", STATE);

    // A user who has decided knows where the browser goes.
    let denied: Response = pending(&t, &Ask::code(&unknown)).await.deny().into();
    assert_eq!(denied.status(), 303);
    assert_eq!(query_of(&denied)["error"], "access_denied");
    assert_eq!(approved(&t, &Ask::code(&unknown)).await.status(), 303);
}

// covers: AZ-19 (RFC 9700 §4.11.2), AMB-25
#[tokio::test]
async fn strict_policy_confirms_every_error_redirect() {
    let t = TestServer::with_policy(|policy| policy.error_redirects = ErrorRedirects::AskFirst);
    let app = t.public_client(CALLBACK).await;
    for (faulty, code) in [
        (Ask::code(&app).with("scope", "nope"), "invalid_scope"),
        (Ask::code(&app).with("response_type", "foo"), "unsupported_response_type"),
        (Ask::code(&app).without("code_challenge").without("code_challenge_method"), "invalid_request"),
    ] {
        assert_interstitial(&refused(&t, &faulty).await, &app, code);
    }
    assert_eq!(approved(&t, &Ask::code(&app)).await.status(), 303);
}

/// Asserts that a page asks before the redirect, names the target, and links to the same address as the redirect.
#[track_caller]
fn assert_interstitial(answer: &Response, client: &TestClient, code: &str) {
    assert_eq!((answer.status(), answer.header("location")), (400, None), "{}", describe(answer));
    let page = text(answer);
    assert!(page.contains("<strong>app.example</strong>"), "the host is named: {page}");
    let links: Vec<_> = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let [link] = links.as_slice() else { panic!("one link: {page}") };
    let link = link.replace("&#39;", "'").replace("&amp;", "&");
    let rest = link.strip_prefix(client.redirect_uri.as_str()).unwrap_or_else(|| panic!("{link}"));
    assert!(rest.starts_with(['?', '&']), "{link}");
    let members: Vec<_> = url::form_urlencoded::parse(&rest.as_bytes()[1..]).into_owned().collect();
    let value = |name: &str| members.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    assert_eq!(
        (value("error"), value("state"), value("iss")),
        (Some(code), STATE, Some("https://id.example")),
        "{link}"
    );
}

// covers: B1
#[tokio::test]
async fn invalid_client_or_redirect_uri_always_gets_a_page() {
    let t = TestServer::with_policy(|policy| policy.error_redirects = ErrorRedirects::AskFirst);
    let app = t.register(self_registered(), None).await;
    let foreign = refused(&t, &Ask::code(&app).with("redirect_uri", "https://evil.example/")).await;
    assert_page(&foreign, 400, "invalid_request", "the redirect URI is not registered for this client");
    let unknown = refused(&t, &Ask::code(&app).with("client_id", "nobody")).await;
    assert_page(&unknown, 400, "invalid_client", "the client is not registered with this server");
    let nothing = responded(t.server.authorize(&Request::get("/authorize")).await);
    assert_page(&nothing, 400, "invalid_request", "the parameter client_id is missing");
}
