//! Failures of the storage, of the random source and of the host app: a page before the redirect URI is known, and a
//! redirect afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantor::client::Client;
use grantor::error::{AuthenticatorError, ErrorCode};
use grantor::testing::{Fault, SeededEntropy};
use grantor::{Entropy, EntropyError, Error, Interaction, Response, StorageError};
use time::Duration;

use crate::ask::{
    Ask, CALLBACK, assert_error, assert_error_in_fragment, assert_page, by, consent, grants_of, pending, refused,
    subject,
};
use crate::common::{VERIFIER, query_of};
use crate::source::{TestServer, confidential, public};

const STATE: Option<&str> = Some("af0ifjsldkj");
const BROKEN: &str = "the server encountered an unexpected error";
const AWAY: &str = "the server is temporarily unavailable, try again later";

// covers: AZ-07 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn failing_storage_before_client_is_known_gives_a_page() {
    let (t, app) = public().await;
    for (fault, status, code, description) in [
        (Fault::Failed, 500, "server_error", BROKEN),
        (Fault::Unavailable, 503, "temporarily_unavailable", AWAY),
        (Fault::LostAnswer, 503, "temporarily_unavailable", AWAY),
    ] {
        t.faults.fail(1, fault);
        assert_page(&refused(&t, &Ask::code(&app)).await, status, code, description);
        let events = t.events.events();
        let last = events.last().unwrap();
        assert_eq!(last.name, "authorization_refused");
        assert!(last.text.contains("Storage("), "the observer learns the cause: {}", last.text);
    }
    drop(pending(&t, &Ask::code(&app)).await);
}

#[tokio::test]
async fn failing_storage_at_form_submission_gives_a_page() {
    let (t, app) = public().await;
    let form_token = consent(&t, &Ask::code(&app)).await.form_token("session");
    for (fault, status, code, description) in
        [(Fault::Failed, 500, "server_error", BROKEN), (Fault::Unavailable, 503, "temporarily_unavailable", AWAY)]
    {
        t.faults.fail(1, fault);
        let answer = t.server.resume(&form_token, "session").await.expect_err("the storage fails");
        assert_eq!((answer.error().status(), answer.error().code().as_str()), (status, code));
        assert_page(&answer.into(), status, code, description);
    }
    drop(t.server.resume(&form_token, "session").await.expect("the user can submit the form again"));
}

// covers: AZ-13 (RFC 6749 §4.1.2.1), AZ-14 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn failing_storage_at_approval_redirects_an_error() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let app = t.public_client(CALLBACK).await;
    let client = Client::public("implicit").implicit([CALLBACK]).scope("user:read").build();
    let implicit = t.register(client, None).await;
    for (fault, code) in [(Fault::Failed, "server_error"), (Fault::Unavailable, "temporarily_unavailable")] {
        t.faults.fail(2, fault);
        let answer = consent(&t, &Ask::code(&app)).await.approve(by("alice")).await;
        assert!(answer.code().is_none() && answer.error().is_some());
        assert_error(&answer.into(), CALLBACK, code, STATE);

        t.faults.fail(2, fault);
        let answer = consent(&t, &Ask::token(&implicit)).await.approve(by("alice")).await;
        assert!(answer.access_token().is_none());
        assert_error_in_fragment(&answer.into(), CALLBACK, code, STATE);
    }
    assert_eq!(t.events.names(), ["authorization_refused"; 4], "nothing was approved");
    assert!(grants_of(&t, &app).await.is_empty() && grants_of(&t, &implicit).await.is_empty());
}

// covers: AZ-14 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn lost_answer_at_approval_sends_no_code() {
    let (t, app) = public().await;
    t.faults.fail(2, Fault::LostAnswer);
    let answer: Response = consent(&t, &Ask::code(&app)).await.approve(by("alice")).await.into();
    assert_error(&answer, CALLBACK, "temporarily_unavailable", STATE);
    assert_eq!(t.events.names(), ["authorization_refused"]);
    // The grant was stored anyway. It ends with its code, which no client received.
    assert_eq!(grants_of(&t, &app).await.len(), 1);
    t.clock.advance(Duration::minutes(1));
    assert!(grants_of(&t, &app).await.is_empty());
}

/// A random source that fails while the flag is set.
#[derive(Clone)]
struct Fragile(Arc<AtomicBool>, SeededEntropy);

impl Entropy for Fragile {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if self.0.load(Ordering::SeqCst) { Err(EntropyError::new("no randomness")) } else { self.1.fill(bytes) }
    }
}

// covers: AZ-13 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn missing_randomness_issues_no_code_and_tells_the_client() {
    let entropy = Fragile(Arc::default(), SeededEntropy::new(1));
    let broken = Arc::clone(&entropy.0);
    let t = TestServer::with(|builder| builder.entropy(entropy));
    let app = t.public_client(CALLBACK).await;
    let waiting = consent(&t, &Ask::code(&app)).await;
    broken.store(true, Ordering::SeqCst);
    assert_error(&waiting.approve(by("alice")).await.into(), CALLBACK, "server_error", STATE);
    assert!(grants_of(&t, &app).await.is_empty());
    broken.store(false, Ordering::SeqCst);
    let answer = consent(&t, &Ask::code(&app)).await.approve(by("alice")).await.into();
    assert_eq!(query_of(&answer)["code"].len(), VERIFIER.len());
}

// covers: AZ-13 (RFC 6749 §4.1.2.1), AZ-14 (RFC 6749 §4.1.2.1), AZ-12 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn host_interaction_failure_is_sent_to_the_client() {
    let (t, app) = public().await;
    let own = ErrorCode::from_static("quota & billing#1&state=x%20+");
    let failures: [(Error, &str); 5] = [
        (StorageError::new("secret cause").into(), "server_error"),
        (StorageError::unavailable("secret cause").into(), "temporarily_unavailable"),
        (AuthenticatorError::new("secret cause").into(), "server_error"),
        (grantor::Refusal::DeniedByUser.into(), "access_denied"),
        (Error::refused(own, "come back later"), own.as_str()),
    ];
    for (failure, code) in failures {
        let answer: Response = pending(&t, &Ask::code(&app)).await.fail(failure).into();
        assert_error(&answer, CALLBACK, code, STATE);
        assert!(!answer.header("location").unwrap().contains("secret"));
    }
    assert_eq!(t.events.names(), ["authorization_refused"; 5]);
}

// covers: B27
#[tokio::test]
async fn failing_storage_is_never_taken_for_consent() {
    let (t, app) = confidential().await;
    t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    let alice = subject("alice").into();
    for (fault, code) in [
        (Fault::Failed, "server_error"),
        (Fault::Unavailable, "temporarily_unavailable"),
        (Fault::LostAnswer, "temporarily_unavailable"),
    ] {
        let waiting = pending(&t, &Ask::code(&app)).await;
        t.faults.fail(1, fault);
        let Interaction::Respond(answer) = waiting.interaction(Some(&alice)).await else { panic!("the storage fails") };
        assert_error(&answer, CALLBACK, code, STATE);
    }
    let waiting = pending(&t, &Ask::code(&app)).await;
    let next = waiting.interaction(Some(&alice)).await;
    assert!(matches!(next, Interaction::Proceed(_)), "the same request succeeds without a fault: {next:?}");
}
