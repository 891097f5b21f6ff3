//! Revocations while an external service signs many tokens, on every shipped storage.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grantor::jose::{Algorithm, KeyRing, PublicKey, Signature, Signer, SignerError, SigningKey};
use grantor::storage::{ClientRegistry, EphemeralStore, GrantPage, GrantSelector, PostgresStorage, SqliteStorage};
use grantor::{
    Builder, ErrorCode, MemoryStorage, ProtectedResource, SigningKeys, Storage, Subject, TokenRequest, TokenResponse,
};

use crate::postgres::Postgres;
use crate::records::Folder;
use crate::slow_issuance::{DERIVING, deriving_server};

const CALLERS: usize = 64;

/// A key that takes 100 ms, like one in a key management service.
struct Slow(SigningKey);

#[async_trait]
impl Signer for Slow {
    fn key(&self) -> &PublicKey {
        self.0.public_key()
    }

    async fn sign(&self, input: &[u8]) -> Result<Signature, SignerError> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.0.sign(input).await
    }
}

/// Callers derive and refresh, at many moments, while the grants are revoked.
async fn check(storage: impl Storage + ClientRegistry + EphemeralStore + Clone + 'static) {
    let keys = KeyRing::new().sign_with(Slow(SigningKey::generate(Algorithm::Es256).unwrap())).build().unwrap();
    let signed = |builder: Builder| {
        let builder = builder.protected_resource(ProtectedResource::new("https://api.example"));
        builder.signing_keys(SigningKeys::new(keys).sign_access_tokens())
    };
    let (t, app) = deriving_server(storage.clone(), signed).await;
    let (t, app) = (Arc::new(t), Arc::new(app));
    let flow = t.authorize(&app).scope("user:read offline_access").approve_as("alice").await;
    let first = Arc::new(flow.redeem().await.unwrap());
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (t, app, first) = (Arc::clone(&t), Arc::clone(&app), Arc::clone(&first));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(4 * caller as u64)).await;
                if caller.is_multiple_of(2) {
                    let request = TokenRequest::new(DERIVING).scope("user:read");
                    t.token_as(&app, request.parameter("subject_token", first.access_token.expose())).await
                } else {
                    t.refresh(&app, first.refresh_token.as_ref().unwrap()).await
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(180)).await;
    let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
    assert!(t.server.revoke_grants(&alice).await.unwrap() > 0);
    // From now on, no token of alice works, even if it was being signed during the revocation.
    let live =
        storage.list_grants(&alice, grantor::Clock::now(&t.clock), &GrantPage::first(CALLERS + 1)).await.unwrap();
    assert!(live.is_empty(), "{live:?}");
    let mut issued: Vec<TokenResponse> = Vec::new();
    for caller in callers {
        match caller.await.unwrap() {
            Ok(tokens) => issued.push(tokens),
            Err(error) => assert_eq!(error.code(), ErrorCode::INVALID_GRANT),
        }
    }
    assert!((1..CALLERS).contains(&issued.len()), "{} of {CALLERS} were answered before the revocation", issued.len());
    issued.push(Arc::into_inner(first).unwrap());
    for tokens in &issued {
        assert!(t.bearer(&tokens.access_token).await.is_err(), "the token is accepted although its grant was revoked");
        if let Some(token) = &tokens.refresh_token {
            assert!(t.refresh(&app, token).await.is_err());
        }
    }
    let live =
        storage.list_grants(&alice, grantor::Clock::now(&t.clock), &GrantPage::first(CALLERS + 1)).await.unwrap();
    assert!(live.is_empty(), "{live:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_tokens_being_signed_in_memory() {
    check(MemoryStorage::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_tokens_being_signed_in_sqlite() {
    let folder = Folder::new();
    check(SqliteStorage::open(folder.file()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_tokens_being_signed_in_postgresql() {
    let Some(server) = Postgres::get() else { return };
    check(PostgresStorage::connect(&server.database().await).await.unwrap()).await;
}
