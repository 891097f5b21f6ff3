//! The small examples, each started as a process and used as its user would use it.
#![allow(unreachable_pub, reason = "the modules are this binary's own")]

mod browser;
#[path = "../../../examples/custom_http.rs"]
#[expect(dead_code, reason = "its main function runs in a separate process")]
mod custom_http;
#[path = "../../../examples/custom_storage.rs"]
#[expect(dead_code, reason = "its main function runs in a separate process")]
mod custom_storage;
mod peer;
mod storage;

use std::process::Command;
use std::time::Duration;

use browser::{Browser, Page};
use end_to_end::provider::Provider;
use end_to_end::{ROOT, built};
use reqwest::StatusCode;
use serde_json::Value;

#[test]
fn examples_keep_their_documented_length() {
    for (name, limit) in [("axum", 120), ("actix", 120), ("custom_http", 145), ("custom_storage", usize::MAX)] {
        let path = format!("{ROOT}/examples/{name}.rs");
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        assert!((50..=limit).contains(&lines), "examples/{name}.rs has {lines} lines");
    }
}

#[tokio::test]
async fn axum_serves_one_user_from_login_to_api() {
    let provider = Provider::start("axum");
    let browser = Browser::new();
    let page = log_in(&provider, &browser).await;
    use_it(&provider, &browser, page).await;
}

#[tokio::test]
async fn actix_serves_one_user_from_login_to_api() {
    let provider = Provider::start("actix");
    let browser = Browser::new();
    let page = log_in(&provider, &browser).await;
    use_it(&provider, &browser, page).await;
}

#[tokio::test]
async fn plain_hyper_serves_the_flow_from_consent_to_api() {
    let provider = Provider::start("custom_http");
    assert!(provider.password.is_none());
    let browser = Browser::new();
    let page = browser.get(provider.link.clone()).await;
    use_it(&provider, &browser, page).await;
}

// Regression: the first connection above the limit of open files ended the process.
#[tokio::test]
async fn plain_hyper_survives_more_connections_than_files() {
    let provider = Provider::with_files("custom_http", 64);
    let address = (provider.link.host_str().unwrap(), provider.link.port().unwrap());
    let connect = || tokio::net::TcpStream::connect(address);
    let mut connections = Vec::new();
    while connections.len() < 100 {
        // The operating system accepts connections for the process.
        connections.push(connect().await.expect("the process listens"));
    }
    let limit = tokio::time::Instant::now() + Duration::from_secs(30);
    while provider.open_files() < 64 {
        assert!(tokio::time::Instant::now() < limit, "the process has only {} files", provider.open_files());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    connect().await.expect("the process listens");
    drop(connections);
    let answer = reqwest::get(provider.url("/.well-known/oauth-authorization-server")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Opens the link, logs in, and returns the consent page.
async fn log_in(provider: &Provider, browser: &Browser) -> Page {
    let login = browser.get(provider.link.clone()).await;
    assert!(login.status == StatusCode::OK && login.asks_for_a_password() && !login.asks_for_consent());
    assert!(!login.body.contains("wrong"), "the page complains before a password was typed: {}", login.body);
    assert!(login.policy.as_ref().is_some_and(|policy| policy.contains("frame-ancestors 'none'")));
    assert_eq!(login.cookie, None, "a visitor has no session");

    for wrong in [&[("password", "wrong")][..], &[("password", "")], &[], &[("decision", "approve")]] {
        let again = browser.submit(provider, &login, wrong).await;
        assert!(again.asks_for_a_password() && !again.asks_for_consent(), "{wrong:?}");
        assert_eq!((again.status, &again.location, &again.cookie), (StatusCode::FORBIDDEN, &None, &None), "{wrong:?}");
        assert!(again.body.contains("The password is wrong"), "{wrong:?}: {}", again.body);
    }
    let password = ("password", provider.password.as_deref().expect("a password"));
    for elsewhere in ["https://evil.example/", "//evil.example/", "/me", "", provider.link.as_str()] {
        let away = browser.submit(provider, &login, &[password, ("return_target", elsewhere)]).await;
        assert_eq!((away.status, away.location, away.cookie), (StatusCode::BAD_REQUEST, None, None), "{elsewhere}");
    }

    let back = browser.submit(provider, &login, &[password]).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER);
    let session = back.cookie.clone().expect("a cookie");
    let consent = browser.get(back.location.clone().expect("the way back")).await;
    assert!(consent.asks_for_consent() && !consent.asks_for_a_password() && !consent.body.contains("wrong"));
    // A new login starts another session.
    let again = browser.get(format!("{}&prompt=login", provider.link)).await;
    assert!(again.asks_for_a_password() && !again.asks_for_consent());
    let back = browser.submit(provider, &again, &[password]).await;
    assert_ne!(back.cookie.as_deref(), Some(&*session), "the old session continues after the login");
    let late = browser.submit(provider, &consent, &[("decision", "approve")]).await;
    assert_eq!((late.status, late.location), (StatusCode::BAD_REQUEST, None), "a form of an earlier session was taken");
    let consent = browser.get(back.location.clone().expect("the way back")).await;
    assert!(consent.asks_for_consent());
    consent
}

/// Completes the flow, from the consent page to the API.
async fn use_it(provider: &Provider, browser: &Browser, consent: Page) {
    assert!(consent.status == StatusCode::OK && consent.asks_for_consent() && !consent.asks_for_a_password());
    let address = format!("127.0.0.1:{}", provider.link.port().unwrap());
    for shown in ["demo", "See your name", &address] {
        assert!(consent.body.contains(shown), "{shown} is not shown: {}", consent.body);
    }
    assert!(consent.policy.as_ref().is_some_and(|policy| policy.contains("frame-ancestors 'none'")));
    let stranger = Browser::new().submit(provider, &consent, &[("decision", "approve")]).await;
    assert_eq!((stranger.status, stranger.location), (StatusCode::BAD_REQUEST, None), "another browser decided");

    let allowed = browser.submit(provider, &consent, &[("decision", "approve")]).await;
    assert_eq!(allowed.status, StatusCode::SEE_OTHER);
    let (code, location) = (allowed.answer("code").expect("a code"), allowed.location.clone().unwrap());
    // The redirect goes to another host, because a browser sends cookies of a host to all its ports.
    assert_eq!((provider.link.host_str(), location.host_str()), (Some("localhost"), Some("127.0.0.1")));
    assert_eq!((provider.link.port(), location.path()), (location.port(), "/callback"));
    assert_eq!(allowed.answer("iss").unwrap(), provider.link.origin().ascii_serialization());
    assert_eq!(browser.get(location).await.status, StatusCode::OK);

    // The session continues, and a denial redirects with an error.
    let again = browser.get(provider.link.clone()).await;
    assert!(again.asks_for_consent());
    let denied = browser.submit(provider, &again, &[]).await;
    assert_eq!(denied.answer("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.answer("code"), None);

    let (status, tokens) = redeem(provider, &code).await;
    assert_eq!(
        (status, &tokens["token_type"], &tokens["scope"]),
        (StatusCode::OK, &"Bearer".into(), &"profile".into())
    );
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(me(provider, token).await, (StatusCode::OK, "You are alice.".to_owned()));
    assert_eq!(me(provider, "guessed").await.0, StatusCode::UNAUTHORIZED);

    let metadata = reqwest::get(provider.url("/.well-known/oauth-authorization-server")).await.unwrap();
    let metadata: Value = metadata.json().await.unwrap();
    assert_eq!(metadata["token_endpoint"], provider.url("/token"));
    let form = [("client_id", "demo"), ("token", token)];
    let revoked = reqwest::Client::new().post(provider.url("/revoke")).form(&form).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(me(provider, token).await.0, StatusCode::UNAUTHORIZED, "a revoked token still works");

    let (status, error) = redeem(provider, &code).await;
    assert_eq!((status, &error["error"]), (StatusCode::BAD_REQUEST, &"invalid_grant".into()), "a code worked twice");
}

/// Sends the form that the example prints, with the code.
async fn redeem(provider: &Provider, code: &str) -> (StatusCode, Value) {
    let request = reqwest::Client::new()
        .post(provider.url("/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("{}&code={code}", provider.token_form));
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn me(provider: &Provider, token: &str) -> (StatusCode, String) {
    let answer = reqwest::Client::new().get(provider.url("/me")).bearer_auth(token).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[test]
fn custom_storage_survives_lost_answer_and_detects_theft() {
    let run = Command::new(built("custom_storage")).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let expected = "\
alice allows the app: 4 documents (issuer, client, grant, code)
the code is redeemed: 6 documents (and two tokens)
the refresh token is redeemed: 8 documents (and two more)
the refresh is repeated, with the same response: true; 10 documents (a count of repeats, and a counter)
the code is replayed: invalid_grant
the newest access token is then rejected: invalid_token
alice's connected applications: 0
after the purge: 4 documents (issuer, client, and the last two)
";
    assert_eq!(String::from_utf8(run.stdout).unwrap().replace("\r\n", "\n"), expected);
}
