//! When a host may skip consent: only for a proven client, and only for scope that was granted before.

use std::sync::Arc;

use async_trait::async_trait;
use grantor::authorize::ConsentReason;
use grantor::client::{ClientBuilder, RegisteredBy};
use grantor::record::GrantDetails;
use grantor::storage::{GrantPage, GrantSelector};
use grantor::testing::{Call, ISSUER, Intercepted, Interceptor, Next, Reply, TestClient, TestClock};
use grantor::{
    AuthorizationRequest, AuthorizationServer, Client, ClientCredential, ClientId, ClientRegistry, ClientSecret,
    ClientStore, Clock, Grant, GrantId, GrantType, Interaction, MemoryStorage, PendingAuthorization, Proceed, Refusal,
    Request, Response, Storage, StorageError,
};
use time::Duration;

use crate::ask::{Ask, CALLBACK, by, consent, pending, subject};
use crate::common::CHALLENGE;
use crate::source::{TestServer, confidential};

/// Lets alice approve, and the client redeem its code.
async fn grant(t: &TestServer, app: &TestClient, scope: &str) {
    t.authorize(app).scope(scope).approve_as("alice").await.redeem().await.unwrap();
}

/// Returns whether the request needs no consent.
async fn consented(t: &TestServer, ask: &Ask, user: &str) -> bool {
    is_not_asked(pending(t, ask).await, user).await
}

async fn is_not_asked(pending: PendingAuthorization, user: &str) -> bool {
    match pending.interaction(Some(&subject(user).into())).await {
        Interaction::Proceed(_) => true,
        Interaction::Consent(consent) => {
            assert_eq!(consent.reason(), ConsentReason::NotGiven);
            false
        }
        other => panic!("neither: {other:?}"),
    }
}

// covers: CU-04 (RFC 6749 §10.2), CU-05 (RFC 8252 §8.6), CU-07 (RFC 6749 §10.1), B27
#[tokio::test]
async fn unproven_client_needs_consent_each_time() {
    let t = TestServer::new();
    let native = |id, uri: &str| Client::native(id).authorization_code([uri]).scope("user:read").build();
    for app in [
        t.public_client(CALLBACK).await,
        t.register(native("https", CALLBACK), None).await,
        t.register(native("private", "com.example.app:/cb"), None).await,
        t.register(native("v4", "http://127.0.0.1/cb"), None).await,
        t.register(native("v6", "http://[::1]/cb"), None).await,
        t.register(native("name", "http://localhost/cb"), None).await,
    ] {
        grant(&t, &app, "user:read").await;
        assert!(!consented(&t, &Ask::code(&app), "alice").await, "{}", app.redirect_uri);
    }
}

// covers: CU-06 (RFC 8252 §8.6), CU-05, B27
#[tokio::test]
async fn https_redirect_policy_trusts_only_https_on_a_public_host() {
    let t = TestServer::with_policy(|policy| policy.https_redirect_proves_identity = true);
    let uris = [
        CALLBACK,
        "com.example.app:/cb",
        "http://127.0.0.1/cb",
        "http://localhost/cb",
        "https://127.0.0.1/cb",
        "https://localhost/cb",
        "https://app.localhost/cb",
        "https://10.0.0.1/cb",
    ];
    let client = Client::native("native").authorization_code(uris).scope("user:read").build();
    let app = t.register(client, None).await;
    grant(&t, &app, "user:read").await;
    for uri in uris {
        let ask = Ask::code(&app).with("redirect_uri", uri);
        assert_eq!(consented(&t, &ask, "alice").await, uri == CALLBACK, "{uri}");
    }
    assert!(!consented(&t, &Ask::code(&app).with("redirect_uri", "http://127.0.0.1:9000/cb"), "alice").await);
}

// covers: CU-05 (RFC 8252 §8.6), B27
#[tokio::test]
async fn loopback_and_out_of_band_redirects_prove_no_client() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_out_of_band_redirect = true);
    let uris = [CALLBACK, "http://127.0.0.1/cb", "http://[::1]/cb", "https://[::1]/cb", "urn:ietf:wg:oauth:2.0:oob"];
    let app = t.confidential_client_with(|client| client.authorization_code(uris).scope("user:read")).await;
    grant(&t, &app, "user:read").await;
    for uri in uris {
        let ask = Ask::code(&app).with("redirect_uri", uri);
        assert_eq!(consented(&t, &ask, "alice").await, uri == CALLBACK, "{uri}");
    }
}

/// Returns whether the browser is redirected to the client, with or without an error, before the user clicked.
async fn is_redirected(t: &TestServer, ask: &Ask, user: Option<&str>) -> bool {
    let session = user.map(|user| subject(user).into());
    match pending(t, ask).await.interaction(session.as_ref()).await {
        Interaction::Proceed(_) => true,
        Interaction::Respond(response) => response.header("location").is_some(),
        Interaction::Login(_) | Interaction::SelectAccount(_) | Interaction::Consent(_) => false,
    }
}

// Regression: a self-registered application could use the server as a silent redirector.
// covers: B27, CU-05 (RFC 8252 §8.6), AZ-19 (RFC 9700 §4.11.2)
#[tokio::test]
async fn self_registered_client_needs_a_live_grant_to_redirect() {
    let t = TestServer::with_policy(|policy| policy.https_redirect_proves_identity = true);
    let secret = ClientSecret::new("x".repeat(43));
    let confidential = Client::confidential("confidential", ClientCredential::secret(&secret));
    for (client, secret) in [(confidential, Some(secret)), (Client::public("public"), None)] {
        let client = client.authorization_code([CALLBACK]).scope("user:read user:write");
        let client = client.registered_by(RegisteredBy::SelfService);
        let app = t.register(client.build(), secret).await;
        for ask in [Ask::code(&app), Ask::code(&app).with("prompt", "none")] {
            for user in [None, Some("alice"), Some("bob")] {
                assert!(!is_redirected(&t, &ask, user).await, "{user:?} has granted nothing");
            }
            grant(&t, &app, "user:read").await;
            for user in [None, Some("alice"), Some("bob")] {
                assert_eq!(is_redirected(&t, &ask, user).await, user == Some("alice"), "{user:?}");
            }
            let more = ask.clone().with("scope", "user:read user:write");
            assert!(!is_redirected(&t, &more, Some("alice")).await, "more than was granted");
            t.storage.revoke_grants(&GrantSelector::Subject(subject("alice")), t.clock.now()).await.unwrap();
            assert!(!is_redirected(&t, &ask, Some("alice")).await, "the grant was revoked");
        }
    }
}

// Regression: the client changed its redirect URIs after the consent, and the server redirected the browser there
// without asking.
// covers: B27, AZ-19 (RFC 9700 §4.11.2)
#[tokio::test]
async fn consent_to_self_registered_client_covers_one_host() {
    const MOVED: &str = "https://elsewhere.example/cb";
    const SAME_HOST: &str = "https://app.example/other";
    let t = TestServer::new();
    for registrar in [RegisteredBy::Administrator, RegisteredBy::SelfService] {
        let secret = ClientSecret::new("x".repeat(43));
        let client = Client::confidential(format!("{registrar:?}"), ClientCredential::secret(&secret));
        let client = client.authorization_code([CALLBACK]).scope("user:read").registered_by(registrar);
        let app = t.register(client.build(), Some(secret)).await;
        grant(&t, &app, "user:read").await;
        let old = t.storage.find_client(&app.id).await.unwrap().unwrap();
        let mut parts = old.parts().clone();
        parts.redirect_uris = [CALLBACK, SAME_HOST, MOVED].map(|uri| uri.parse().unwrap()).into();
        t.storage.update(Client::from_parts(parts).unwrap(), old.version()).await.unwrap();

        let to = |uri| Ask::code(&app).with("redirect_uri", uri);
        assert!(is_redirected(&t, &to(CALLBACK), Some("alice")).await, "{registrar:?}");
        assert!(is_redirected(&t, &to(SAME_HOST), Some("alice")).await, "{registrar:?}");
        let is_trusted = registrar == RegisteredBy::Administrator;
        assert_eq!(is_redirected(&t, &to(MOVED), Some("alice")).await, is_trusted, "{registrar:?}");
        assert_eq!(
            is_redirected(&t, &to(MOVED).with("prompt", "none"), Some("alice")).await,
            is_trusted,
            "{registrar:?}"
        );
        // After the user has consented to the new host, the consent is remembered for this host.
        drop(consent(&t, &to(MOVED).with("prompt", "consent")).await.approve(by("alice")).await);
        assert!(is_redirected(&t, &to(MOVED), Some("alice")).await, "{registrar:?}");
    }
}

// Regression: a redirect to an IP address or the loopback interface counted as proof of the client.
// covers: B27, CU-05 (RFC 8252 §8.6)
#[tokio::test]
async fn redirect_to_ip_address_or_loopback_proves_no_client() {
    let t = TestServer::with_policy(|policy| policy.https_redirect_proves_identity = true);
    for by in [RegisteredBy::Administrator, RegisteredBy::SelfService] {
        for (place, uri) in [
            "https://127.0.0.1/cb",
            "https://[::1]/cb",
            "https://10.0.0.1/cb",
            "https://[2001:db8::1]/cb",
            "https://localhost/cb",
            "https://localhost./cb",
            "https://a.localhost/cb",
            "http://127.0.0.1/cb",
        ]
        .into_iter()
        .enumerate()
        {
            let client = Client::native(format!("{by:?}-{place}")).authorization_code([uri]).scope("user:read");
            let app = t.register(client.registered_by(by).build(), None).await;
            grant(&t, &app, "user:read").await;
            assert!(!consented(&t, &Ask::code(&app), "alice").await, "{uri} {by:?}");
        }
    }
}

// covers: B27
#[tokio::test]
async fn consent_is_skipped_only_if_one_live_grant_covers_all() {
    let (t, app) = confidential().await;
    let other = t.confidential_client(CALLBACK).await;
    let ask = |scope: &str| Ask::code(&app).with("scope", scope);
    assert!(!consented(&t, &ask("user:read"), "alice").await, "nothing was granted yet");
    grant(&t, &app, "user:read").await;
    assert!(consented(&t, &ask("user:read"), "alice").await);
    assert!(!consented(&t, &ask("user:read"), "bob").await, "another user did not consent");
    assert!(!consented(&t, &Ask::code(&other), "alice").await, "another client has no consent");
    assert!(!consented(&t, &ask("user:read user:write"), "alice").await, "more than was granted");
    grant(&t, &app, "user:write").await;
    assert!(!consented(&t, &ask("user:read user:write"), "alice").await, "two grants are not one");
    grant(&t, &app, "user:read user:write").await;
    assert!(consented(&t, &ask("user:read user:write"), "alice").await);
    assert!(!consented(&t, &ask("user:read user:write offline_access"), "alice").await);
}

// covers: B27
#[tokio::test]
async fn scope_left_out_by_the_user_needs_consent_again() {
    let (t, app) = confidential().await;
    let both = Ask::code(&app).with("scope", "user:read user:write");
    drop(consent(&t, &both).await.approve(by("alice").scope(["user:read"])).await);
    assert!(!consented(&t, &both, "alice").await);
    assert!(consented(&t, &Ask::code(&app), "alice").await);
}

// covers: B27
#[tokio::test]
async fn revoked_or_ended_grant_is_no_consent() {
    let (t, app) = confidential().await;
    let ask = Ask::code(&app);
    grant(&t, &app, "user:read").await;
    assert!(consented(&t, &ask, "alice").await);
    t.storage.revoke_grants(&GrantSelector::Subject(subject("alice")), t.clock.now()).await.unwrap();
    assert!(!consented(&t, &ask, "alice").await, "revoked");

    grant(&t, &app, "user:read").await;
    t.clock.advance(Duration::days(14) - Duration::SECOND);
    assert!(consented(&t, &ask, "alice").await, "the refresh token of the grant is still valid");
    t.clock.advance(Duration::SECOND);
    assert!(!consented(&t, &ask, "alice").await, "ended");
}

/// Returns the request of alice that needs no consent page.
async fn proceeding(t: &TestServer, ask: &Ask) -> Proceed {
    match pending(t, ask).await.interaction(Some(&subject("alice").into())).await {
        Interaction::Proceed(proceed) => proceed,
        other => panic!("a page: {other:?}"),
    }
}

async fn grants_of_alice(t: &TestServer) -> Vec<Arc<Grant>> {
    let which = GrantSelector::Subject(subject("alice"));
    t.storage.list_grants(&which, t.clock.now(), &GrantPage::first(9)).await.unwrap()
}

// Regression: the request had found an earlier grant, and opened a new one after the user had ended the access. The new
// grant then counted as the consent for the next.
// covers: B27
#[tokio::test]
async fn access_ended_before_silent_approval_asks_again() {
    let by_subject = || GrantSelector::Subject(subject("alice"));
    for silent in [false, true] {
        for way in 0..4 {
            let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
            let client =
                |client: ClientBuilder| client.authorization_code([CALLBACK]).implicit([CALLBACK]).scope("user:read");
            let app = t.confidential_client_with(client).await;
            grant(&t, &app, "user:read").await;
            let ask = if way == 3 { Ask::token(&app) } else { Ask::code(&app) };
            let ask = if silent { ask.with("prompt", "none") } else { ask };
            let proceed = proceeding(&t, &ask).await;
            let which = match way {
                0 => GrantSelector::SubjectAndClient(subject("alice"), ClientId::new(&app.id).unwrap()),
                1 => GrantSelector::SubjectAndId(subject("alice"), grants_of_alice(&t).await[0].id),
                _ => by_subject(),
            };
            assert_eq!(t.server.revoke_grants(&which).await.unwrap(), 1);
            let answer = proceed.approve().await;
            assert_eq!(answer.error().and_then(|error| error.refusal()), Some(&Refusal::ConsentEnded));
            assert!(answer.code().is_none() && answer.access_token().is_none());
            let stale = answer.stale_form().expect("a way back");
            assert_eq!(stale.reason(), Refusal::ConsentEnded);
            let target = stale.return_target().expect("the request can be read").to_owned();
            let response = Response::from(answer);
            assert_eq!((response.status(), response.header("location")), (303, Some(&*target)));
            assert_eq!(t.events.names().last(), Some(&"authorization_stale"));
            assert!(grants_of_alice(&t).await.is_empty());

            let again = t.server.interaction(&Request::get(&target), Some(&subject("alice").into())).await;
            match again {
                Interaction::Consent(asked) if !silent => assert_eq!(asked.reason(), ConsentReason::NotGiven),
                Interaction::Respond(response) if silent => {
                    let location = response.header("location").expect("the client learns it");
                    assert!(
                        location.starts_with(CALLBACK) && location.contains("error=consent_required"),
                        "{location}"
                    );
                }
                other => panic!("neither: {other:?}"),
            }
        }
    }
}

// covers: B27
#[tokio::test]
async fn silent_grant_does_not_end_with_its_consent() {
    let (t, app) = confidential().await;
    grant(&t, &app, "user:read").await;
    let consent = grants_of_alice(&t).await[0].id;
    drop(proceeding(&t, &Ask::code(&app)).await.approve().await);
    let grants = grants_of_alice(&t).await;
    let silent = grants.iter().find(|grant| grant.id != consent).expect("a second grant");
    assert_eq!(silent.details.consent_grant, Some(consent));
    // One session ends. The other one is now the consent for the next request.
    let which = GrantSelector::SubjectAndId(subject("alice"), consent);
    let proceed = proceeding(&t, &Ask::code(&app)).await;
    assert_eq!(t.server.revoke_grants(&which).await.unwrap(), 1);
    assert_eq!(grants_of_alice(&t).await.len(), 1, "only the other session is left");
    let target =
        proceed.approve().await.stale_form().expect("its consent has ended").return_target().map(str::to_owned);
    let again = t.server.interaction(&Request::get(target.unwrap()), Some(&subject("alice").into())).await;
    let Interaction::Proceed(again) = again else { panic!("the other grant is a consent: {again:?}") };
    assert!(again.approve().await.code().is_some());
    assert_eq!(grants_of_alice(&t).await[0].details.consent_grant, Some(silent.id));
}

// covers: B27
#[tokio::test]
async fn grant_after_a_consent_page_names_no_consent() {
    let (t, app) = confidential().await;
    grant(&t, &app, "user:read").await;
    let asked = consent(&t, &Ask::code(&app).with("prompt", "consent")).await;
    assert_eq!(t.server.revoke_grants(&GrantSelector::Subject(subject("alice"))).await.unwrap(), 1);
    assert!(asked.approve(by("alice")).await.code().is_some());
    assert_eq!(grants_of_alice(&t).await[0].details.consent_grant, None);
}

// covers: B27
#[tokio::test]
async fn password_or_client_credentials_grant_is_no_consent() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_password_grant = true);
    t.users.add("alice", "correct horse");
    let app = t
        .confidential_client_with(|client| {
            client.authorization_code([CALLBACK]).password().client_credentials().scope("user:read")
        })
        .await;
    let password = grantor::Password::new("correct horse");
    let request = grantor::TokenRequest::password("alice", &password).scope("user:read");
    t.token_as(&app, request).await.expect("the password grant works");
    t.token_as(&app, grantor::TokenRequest::client_credentials().scope("user:read"))
        .await
        .expect("the machine gets a token");
    assert!(!consented(&t, &Ask::code(&app), "alice").await);
    grant(&t, &app, "user:read").await;
    assert!(consented(&t, &Ask::code(&app), "alice").await);
}

/// A storage that returns the same list for every query of grants.
struct Careless(Vec<Arc<Grant>>);

#[async_trait]
impl Interceptor for Careless {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        match call {
            Call::ListGrants { .. } => Ok(Reply::Grants(self.0.clone())),
            call => next.run(call).await,
        }
    }
}

// covers: B27
#[tokio::test]
async fn dead_or_foreign_grants_from_storage_are_ignored() {
    let clients = MemoryStorage::new();
    let secret = ClientCredential::secret(&ClientSecret::new("x".repeat(43)));
    let client = Client::confidential("app", secret).authorization_code([CALLBACK]).scope("user:read").build().unwrap();
    clients.register(client).await.unwrap();
    let clock = TestClock::default();
    let now = clock.now();
    let live = Grant {
        id: GrantId::from_bytes([1; 16]),
        client_id: ClientId::new("app").unwrap(),
        subject: Some(subject("alice")),
        grant_type: GrantType::new("authorization_code").unwrap(),
        scope: "user:read".parse().unwrap(),
        opened_at: now - Duration::MINUTE,
        last_used_at: now - Duration::MINUTE,
        expires_at: now + Duration::MINUTE,
        revoked_at: None,
        parent_grant: None,
        session: None,
        host_data: None,
        details: GrantDetails::default(),
    };
    for (what, grant, expected) in [
        ("a live grant", live.clone(), true),
        ("a revoked grant", Grant { revoked_at: Some(now), ..live.clone() }, false),
        ("a grant that has just ended", Grant { expires_at: now, ..live.clone() }, false),
        ("a grant of bob", Grant { subject: Some(subject("bob")), ..live.clone() }, false),
        ("a grant without a user", Grant { subject: None, ..live.clone() }, false),
        ("a grant of another client", Grant { client_id: ClientId::new("other").unwrap(), ..live.clone() }, false),
        ("a password grant", Grant { grant_type: GrantType::new("password").unwrap(), ..live.clone() }, false),
        ("a grant of another scope", Grant { scope: "user:write".parse().unwrap(), ..live }, false),
    ] {
        let server = AuthorizationServer::builder(ISSUER)
            .storage(Intercepted::new(clients.clone(), Careless(vec![Arc::new(grant)])))
            .scope("user:read", "Read your profile")
            .clock(clock.clone())
            .build()
            .await
            .unwrap();
        let request = AuthorizationRequest::code("app").scope("user:read").code_challenge_s256(CHALLENGE);
        let Ok(waiting) = server.authorization_request(&request).await else { panic!("the request is valid") };
        assert_eq!(is_not_asked(waiting, "alice").await, expected, "{what}");
    }
}
