//! First-party apps: no consent page if the redirect proves which app it is, and one click otherwise.

use grantor::authorize::ConsentReason;
use grantor::client::{ClientError, ClientParts, RegisteredBy};
use grantor::testing::TestClient;
use grantor::{Client, ClientRegistry, Interaction, UserSession};

use crate::ask::{Ask, CALLBACK, assert_error, assert_page, client_of, grants_of, subject};
use crate::common::query_of;
use crate::source::TestServer;

const SESSION: &str = "a-random-session-identifier";

async fn next(t: &TestServer, ask: &Ask) -> Interaction {
    t.server.interaction(&ask.get(), Some(&UserSession::new(subject("alice")))).await
}

async fn change(t: &TestServer, app: &TestClient, change: impl FnOnce(&mut ClientParts)) {
    let before = client_of(t, app).await;
    let mut parts = before.parts().clone();
    change(&mut parts);
    t.storage.update(Client::from_parts(parts).unwrap(), before.version()).await.unwrap();
}

fn last_event(t: &TestServer) -> String {
    t.events.events().pop().unwrap().text
}

// covers: CU-05 (RFC 8252 §8.6), CU-07 (RFC 6749 §10.1)
#[tokio::test]
async fn first_party_with_proven_https_redirect_skips_consent() {
    let t = TestServer::new();
    let public = Client::public("app").first_party().authorization_code([CALLBACK]).scope("user:read").build();
    let public = t.register(public, None).await;
    let private =
        t.confidential_client_with(|it| it.first_party().authorization_code([CALLBACK]).scope("user:read")).await;
    for app in [public, private] {
        for ask in [Ask::code(&app), Ask::code(&app).with("prompt", "none")] {
            let Interaction::Proceed(proceed) = next(&t, &ask).await else { panic!("alice was asked") };
            assert!(query_of(&proceed.approve().await.into()).contains_key("code"));
            assert!(last_event(&t).contains("consent: FirstParty"), "{}", last_event(&t));
        }
        let Interaction::Consent(asked) = next(&t, &Ask::code(&app).with("prompt", "consent")).await else {
            panic!("alice was not asked")
        };
        assert_eq!(asked.reason(), ConsentReason::Requested);
        assert!(asked.approve(crate::ask::by("alice")).await.code().is_some());
        assert!(last_event(&t).contains("consent: Given"), "{}", last_event(&t));
        let login = t.server.interaction(&Ask::code(&app).get(), None).await;
        assert!(matches!(login, Interaction::Login(_)), "{login:?}");
    }
}

// covers: CU-05 (RFC 8252 §8.6), CU-07 (RFC 6749 §10.1), OC-08 (OpenID Connect Core §3.1.2.6)
#[tokio::test]
async fn first_party_with_unproven_redirect_needs_a_click() {
    let t = TestServer::with_policy(|policy| policy.https_redirect_proves_identity = true);
    let uris = [
        "https://127.0.0.1/cb",
        "https://10.0.0.1/cb",
        "https://[::1]/cb",
        "https://localhost/cb",
        "https://app.localhost/cb",
        "http://127.0.0.1/cb",
        "http://localhost/cb",
        "com.example.app:/cb",
    ];
    let app = Client::native("app").first_party().authorization_code(uris).scope("user:read").build();
    let app = t.register(app, None).await;
    for uri in uris {
        let ask = Ask::code(&app).with("redirect_uri", uri);
        // The click is needed the second time, too.
        for _ in 0..2 {
            let Interaction::Consent(asked) = next(&t, &ask).await else { panic!("{uri}: alice was not asked") };
            assert_eq!(asked.reason(), ConsentReason::Confirm, "{uri}");
            let resumed = t.server.resume(&asked.form_token(SESSION), SESSION).await.expect("the form of this session");
            assert_eq!(resumed.reason(), ConsentReason::Confirm);
            assert!(resumed.approve(crate::ask::by("alice")).await.code().is_some());
            assert!(last_event(&t).contains("consent: Confirmed"), "{}", last_event(&t));
        }
        let Interaction::Respond(answer) = next(&t, &ask.with("prompt", "none")).await else {
            panic!("{uri}: no response")
        };
        assert_error(&answer, uri, "interaction_required", Some("af0ifjsldkj"));
    }
}

// covers: B27
#[tokio::test]
async fn grant_without_consent_page_does_not_count_as_consent() {
    let t = TestServer::new();
    let app = t.confidential_client_with(|it| it.first_party().authorization_code([CALLBACK]).scope("user:read")).await;
    let Interaction::Proceed(proceed) = next(&t, &Ask::code(&app)).await else { panic!("alice was asked") };
    assert!(proceed.approve().await.code().is_some());
    assert!(grants_of(&t, &app).await[0].details.consent_skipped);
    change(&t, &app, |parts| parts.first_party = false).await;
    let Interaction::Consent(asked) = next(&t, &Ask::code(&app)).await else { panic!("alice never agreed") };
    assert!(asked.approve(crate::ask::by("alice")).await.code().is_some());
    assert!(matches!(next(&t, &Ask::code(&app)).await, Interaction::Proceed(_)), "alice has agreed now");
}

/// A click that only confirms the app is no consent, because its page may not show the scopes.
#[tokio::test]
async fn confirming_click_does_not_count_as_consent() {
    let t = TestServer::new();
    let uris = ["https://127.0.0.1/cb", CALLBACK];
    let app = t.confidential_client_with(|it| it.first_party().authorization_code(uris).scope("user:read")).await;
    let Interaction::Consent(asked) = next(&t, &Ask::code(&app)).await else { panic!("alice was not asked") };
    assert_eq!(asked.reason(), ConsentReason::Confirm);
    assert!(asked.approve(crate::ask::by("alice")).await.code().is_some());
    assert!(grants_of(&t, &app).await[0].details.consent_skipped);
    change(&t, &app, |parts| parts.first_party = false).await;
    for uri in uris {
        let Interaction::Consent(asked) = next(&t, &Ask::code(&app).with("redirect_uri", uri)).await else {
            panic!("{uri}: the click of alice counted as consent")
        };
        assert_eq!(asked.reason(), ConsentReason::NotGiven);
    }
}

// covers: CU-02 (RFC 6749 §10.12)
#[tokio::test]
async fn first_party_form_is_stale_after_trust_is_removed() {
    let t = TestServer::new();
    let uri = "http://127.0.0.1/cb";
    let app = Client::native("app").first_party().authorization_code([uri]).scope("user:read").build();
    let app = t.register(app, None).await;
    let Interaction::Consent(asked) = next(&t, &Ask::code(&app)).await else { panic!("alice was not asked") };
    let form_token = asked.form_token(SESSION);
    drop(t.server.resume(&form_token, SESSION).await.expect("nothing has changed"));
    change(&t, &app, |parts| parts.first_party = false).await;
    let answer = t.server.resume(&form_token, SESSION).await.unwrap_err();
    assert_page(&answer.into(), 400, "invalid_request", "this form has expired");
}

#[test]
fn only_administrators_register_first_party_clients() {
    let own = Client::public("app").authorization_code([CALLBACK]).scope("user:read").first_party();
    assert!(!Client::public("app").authorization_code([CALLBACK]).build().unwrap().is_first_party());
    assert_eq!(own.registered_by(RegisteredBy::SelfService).build().unwrap_err(), ClientError::FirstPartySelfService);
    let own = Client::public("app").authorization_code([CALLBACK]).first_party().build().unwrap();
    assert!(own.is_first_party());
    let mut json = serde_json::to_value(&own).unwrap();
    json["registered_by"] = "self_service".into();
    assert!(serde_json::from_value::<Client>(json).is_err());
}
