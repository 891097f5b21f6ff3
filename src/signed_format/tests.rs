//! Tests of a server that signs its access tokens with a remote key.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Map;
use sha2::{Digest, Sha256};
use time::Duration;
use tokio::sync::Semaphore;

use super::{Read, SignedFormat};
use crate::env::Clock;
use crate::error::{Error, ErrorCode, Refusal, StorageError};
use crate::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use crate::mac::KeyedMac;
use crate::record::{ClientId, Grant, GrantId, GrantType, StoredToken, Subject};
use crate::secret::{AccessToken, RefreshToken, TokenHash};
use crate::storage::{GrantPage, GrantSelector, Opened, Storage};
use crate::testing::{TestClient, TestServer};
use crate::{IntrospectionRequest, RevocationRequest, TokenRequest, TokenResponse};

const CB: &str = "https://app.example/cb";
const PERMITS: usize = 1_000;
const DERIVING: &str = "urn:example:grant:deriving";

/// Signs texts of the form `identifier.says.number.mac`. The number makes each signature different, as with most
/// algorithms.
struct Signing {
    /// Each signature takes one permit. A test takes the permits away to delay signatures.
    permits: Semaphore,
    fails: AtomicBool,
    signatures: AtomicU32,
}

fn mac(signed: &str) -> String {
    URL_SAFE_NO_PAD.encode(*KeyedMac::new(&[7; 32]).update(signed.as_bytes()).finish())
}

fn digest(label: &[u8], text: &str) -> [u8; 32] {
    Sha256::new().chain_update(label).chain_update(text).finalize().into()
}

/// Returns the part of a text that depends on the identifier.
fn shown(id: &AccessToken) -> String {
    URL_SAFE_NO_PAD.encode(digest(b"shown", id.expose()))
}

fn key_of(shown: &str) -> TokenHash {
    TokenHash::from_bytes(digest(b"\xffkey", shown))
}

#[async_trait]
impl SignedFormat for Signing {
    fn name(&self) -> &'static str {
        "example"
    }

    fn key(&self, id: &AccessToken) -> TokenHash {
        key_of(&shown(id))
    }

    async fn text(&self, id: &AccessToken, row: &StoredToken, grant: &Grant) -> Result<AccessToken, Error> {
        self.permits.acquire().await.expect("the semaphore is never closed").forget();
        if self.fails.load(Ordering::SeqCst) {
            return Err(StorageError::unavailable("the key can't be reached").into());
        }
        let subject = grant.subject.as_ref().map_or("", |subject| subject.as_str());
        let says = URL_SAFE_NO_PAD.encode(format!("{subject} {} {}", row.scope, row.expires_at.unix_timestamp()));
        let number = self.signatures.fetch_add(1, Ordering::SeqCst);
        let signed = format!("{}.{says}.{number}", shown(id));
        Ok(AccessToken::new(format!("{signed}.{}", mac(&signed))))
    }

    async fn read(&self, text: &str) -> Result<Option<Read>, Error> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StorageError::unavailable("the key can't be reached").into());
        }
        let Some((signed, sent)) = text.rsplit_once('.') else { return Ok(None) };
        let (id, _) = signed.split_once('.').unwrap_or((signed, ""));
        Ok((mac(signed) == sent).then(|| Read { key: key_of(id), claims: Map::new() }))
    }

    fn agrees(&self, _: &Read, _: &StoredToken, _: &Grant) -> bool {
        true
    }
}

/// A handler that derives a grant from the grant of `subject_token`.
struct Deriving(GrantType);

#[async_trait]
impl GrantHandler for Deriving {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["subject_token"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let token = context.params().require("subject_token")?;
        let presented = context.find(AccessToken::new(token)).await?;
        Ok(Decision::open(OpenGrant::new(context.scope()?).child_of(presented.must_be_live(context.now())?)))
    }
}

async fn server() -> (TestServer, TestClient, Arc<Signing>) {
    let (fails, signatures) = (AtomicBool::new(false), AtomicU32::new(0));
    let signing = Arc::new(Signing { permits: Semaphore::new(PERMITS), fails, signatures });
    let t = TestServer::with(|mut builder| {
        builder.signed_format = Some(Arc::clone(&signing) as _);
        builder.extension_grant(Deriving(GrantType::new(DERIVING).unwrap()))
    });
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().client_credentials().extension_grant(DERIVING);
            client.scope("user:read user:write offline_access").default_scope("user:read")
        })
        .await;
    (t, app, signing)
}

async fn tokens_of(t: &TestServer, app: &TestClient) -> TokenResponse {
    t.authorize(app).scope("user:read offline_access").approve_as("alice").await.redeem().await.unwrap()
}

fn derive(parent: &AccessToken) -> TokenRequest<'_> {
    TokenRequest::new(DERIVING).parameter("subject_token", parent.expose())
}

fn refusal_of(answer: Result<TokenResponse, Error>) -> Refusal {
    match answer {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Returns the number of live grants of a client.
async fn grants_of(t: &TestServer, app: &TestClient) -> usize {
    let of_client = GrantSelector::Client(ClientId::new(&app.id).unwrap());
    t.server.list_grants(&of_client, &GrantPage::first(99)).await.unwrap().len()
}

#[tokio::test]
async fn signed_token_works_at_every_endpoint() {
    let (t, app, signing) = server().await;
    let tokens = tokens_of(&t, &app).await;
    let machine = t.token_as(&app, TokenRequest::client_credentials()).await.unwrap();
    assert_eq!(signing.signatures.load(Ordering::SeqCst), 2);
    for token in [&tokens.access_token, &machine.access_token] {
        assert_eq!(token.expose().split('.').count(), 4);
        t.bearer(token).await.unwrap().require("user:read").unwrap();
        let secret = app.secret.as_ref().unwrap();
        let request = IntrospectionRequest::of(token.expose()).client_secret_basic(&app.id, secret);
        let told = t.server.introspection_request(&request).await.unwrap();
        let row = &told.active().expect("it is live").token;
        assert_eq!(row.details.format.as_deref(), Some("example"));
        let request = RevocationRequest::access_token(token).client_secret_basic(&app.id, secret);
        t.server.revocation_request(&request).await.unwrap();
        t.bearer(token).await.unwrap_err();
    }
    let refreshed = t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
    assert!(t.bearer(&refreshed.access_token).await.is_ok());
    t.token_as(&app, derive(&refreshed.access_token)).await.unwrap();
}

#[tokio::test]
async fn part_of_a_signed_token_is_an_unknown_token() {
    let (t, app, _) = server().await;
    let tokens = tokens_of(&t, &app).await;
    let text = tokens.access_token.expose();
    let (id, rest) = text.split_once('.').unwrap();
    let (signed, mac) = text.rsplit_once('.').unwrap();
    for wrong in [id, rest, signed, mac, &format!("{id}."), &format!("{id}.{mac}"), &format!("x{text}"), "....", "."] {
        assert_eq!(t.bearer(&AccessToken::new(wrong)).await.unwrap_err().status(), 401, "{wrong}");
        let refused = t.refresh(&app, &RefreshToken::new(wrong)).await;
        assert!(matches!(refusal_of(refused), Refusal::UnknownToken), "{wrong}");
    }
    let refused = t.refresh(&app, &RefreshToken::new(text)).await;
    assert!(matches!(refusal_of(refused), Refusal::UnknownToken), "the access token is no refresh token");
    assert!(t.bearer(&tokens.access_token).await.is_ok());
}

#[tokio::test]
async fn row_of_another_format_is_not_found() {
    let (t, app, signing) = server().await;
    let tokens = tokens_of(&t, &app).await;
    let found =
        t.storage.find(&key_of(tokens.access_token.expose().split('.').next().unwrap())).await.unwrap().unwrap();
    let opaque = AccessToken::new("opaque");
    let signed = AccessToken::new("signed");
    let text = signing.text(&signed, &found.token, &found.grant).await.unwrap();
    for (number, hash, format, is_good) in [
        (1, opaque.hash(), None, true),
        (2, opaque.hash(), Some("example"), false),
        (3, opaque.hash(), Some("later"), false),
        (4, signing.key(&signed), Some("example"), true),
        (5, signing.key(&signed), None, false),
        (6, signing.key(&signed), Some("later"), false),
    ] {
        let mut grant = (*found.grant).clone();
        grant.id = GrantId::from_bytes([number; 16]);
        let mut row = StoredToken { hash, grant_id: grant.id, ..(*found.token).clone() };
        row.details.format = format.map(Into::into);
        let id = grant.id;
        assert_eq!(t.storage.open_grant(&Arc::new(grant), &[row]).await.unwrap(), Opened::Done);
        let presented = if hash == opaque.hash() { &opaque } else { &text };
        assert_eq!(t.bearer(presented).await.is_ok(), is_good, "{format:?}");
        t.storage.revoke_grants(&GrantSelector::Id(id), t.clock.now()).await.unwrap();
        while t.storage.purge_expired(t.clock.now(), 9).await.unwrap() == 9 {}
    }
}

#[tokio::test]
async fn failed_signature_leaves_nothing_behind() {
    let (t, app, signing) = server().await;
    let code = t.authorize(&app).scope("user:read offline_access").approve_as("alice").await;
    signing.fails.store(true, Ordering::SeqCst);
    assert_eq!(code.redeem().await.unwrap_err().status(), 503);
    signing.fails.store(false, Ordering::SeqCst);
    let tokens = code.redeem().await.expect("the code was not spent");
    let refresh_token = tokens.refresh_token.as_ref().unwrap();
    signing.fails.store(true, Ordering::SeqCst);
    for request in
        [TokenRequest::refresh_token(refresh_token), TokenRequest::client_credentials(), derive(&tokens.access_token)]
    {
        let error = t.token_as(&app, request).await.unwrap_err();
        assert_eq!((error.status(), error.code()), (503, ErrorCode::TEMPORARILY_UNAVAILABLE));
    }
    let refused = t.bearer(&tokens.access_token).await.unwrap_err();
    assert_eq!(refused.status(), 503, "a token that can't be read now is not invalid");
    signing.fails.store(false, Ordering::SeqCst);
    assert_eq!(grants_of(&t, &app).await, 1, "no grant was opened");
    t.refresh(&app, refresh_token).await.expect("the refresh token was not spent");
    assert_eq!(t.events.count("refresh_repeated"), 0);
}

// Regression: the response revealed whether a refresh token was spent within its grace window if the signer failed.
#[tokio::test]
async fn refresh_and_repeat_fail_alike_without_a_signature() {
    let (t, app, signing) = server().await;
    let [unspent, spent] = [tokens_of(&t, &app).await, tokens_of(&t, &app).await].map(|t| t.refresh_token.unwrap());
    t.refresh(&app, &spent).await.unwrap();
    signing.fails.store(true, Ordering::SeqCst);
    for token in [&unspent, &spent] {
        // A repeat could not get another scope than the first refresh.
        for scope in ["offline_access user:read", "user:read"] {
            let error = t.token_as(&app, TokenRequest::refresh_token(token).scope(scope)).await.unwrap_err();
            assert_eq!((error.status(), error.code()), (503, ErrorCode::TEMPORARILY_UNAVAILABLE), "{scope}");
        }
    }
    signing.fails.store(false, Ordering::SeqCst);
    assert_eq!(t.events.count("refresh_repeated"), 0);
    for token in [&unspent, &spent] {
        t.refresh(&app, token).await.expect("the failed requests changed nothing");
    }
}

/// Revokes alice's grants while the request waits for a signature. Returns the response to the request.
async fn revoked_meanwhile(
    t: &TestServer,
    signing: &Signing,
    request: impl Future<Output = Result<TokenResponse, Error>>,
) -> Refusal {
    let taken = signing.permits.forget_permits(PERMITS);
    let mut request = pin!(request);
    tokio::select! {
        biased;
        answer = &mut request => panic!("it does not wait for a signature: {answer:?}"),
        () = std::future::ready(()) => {}
    }
    let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
    assert_eq!(t.server.revoke_grants(&alice).await.unwrap(), 1);
    signing.permits.add_permits(taken);
    refusal_of(request.await)
}

#[tokio::test]
async fn grant_revoked_during_a_signature_gets_no_token() {
    let (t, app, signing) = server().await;
    let code = t.authorize(&app).approve_as("alice").await;
    assert!(matches!(revoked_meanwhile(&t, &signing, code.redeem()).await, Refusal::GrantEnded));
    let tokens = tokens_of(&t, &app).await;
    let refresh = t.refresh(&app, tokens.refresh_token.as_ref().unwrap());
    assert!(matches!(revoked_meanwhile(&t, &signing, refresh).await, Refusal::GrantEnded));
    let tokens = tokens_of(&t, &app).await;
    let derived = t.token_as(&app, derive(&tokens.access_token));
    assert!(matches!(revoked_meanwhile(&t, &signing, derived).await, Refusal::GrantEnded));
    assert_eq!(grants_of(&t, &app).await, 0);
}

#[tokio::test]
async fn repeated_refresh_gets_the_same_token_signed_again() {
    let (t, app, _) = server().await;
    let tokens = tokens_of(&t, &app).await;
    let refresh_token = tokens.refresh_token.as_ref().unwrap();
    let first = t.refresh(&app, refresh_token).await.unwrap();
    t.clock.advance(Duration::seconds(2));
    let again = t.refresh(&app, refresh_token).await.unwrap();
    assert_eq!(again.refresh_token.unwrap().expose(), first.refresh_token.unwrap().expose());
    let [one, other] =
        [&first.access_token, &again.access_token].map(|token| token.expose().split('.').collect::<Vec<_>>());
    assert_eq!(one[..2], other[..2], "identifier, scope and expiry");
    assert_ne!(one[2..], other[2..], "the signatures differ");
    assert!(t.bearer(&first.access_token).await.is_ok());
    assert!(t.bearer(&again.access_token).await.is_ok());
    let secret = app.secret.as_ref().unwrap();
    let request = RevocationRequest::access_token(&again.access_token).client_secret_basic(&app.id, secret);
    t.server.revocation_request(&request).await.unwrap();
    t.bearer(&first.access_token).await.unwrap_err();
}
