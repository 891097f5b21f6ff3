//! Records to store, and a server over any storage.
#![allow(unreachable_pub, reason = "a module of a test binary")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use grantor::record::{AttemptId, GrantDetails, TokenDetails, TokenKind};
use grantor::secret::{Seed, TokenHash};
use grantor::storage::{ClientRegistry, RedeemOutcome, Redemption};
use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{
    AuthorizationServer, ClientId, ClientStore, EphemeralStore, Grant, GrantId, GrantType, Scope, Storage, StoredToken,
    Subject,
};
use time::{Duration, OffsetDateTime};

/// The time of all records: 2026-01-01.
pub fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap()
}

/// 16 bytes that differ for each number.
fn id(number: u64) -> [u8; 16] {
    (u128::from(number) | 0xc0de << 112).to_be_bytes()
}

pub fn hash(number: u64) -> TokenHash {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    TokenHash::from_bytes(bytes)
}

pub fn grant(number: u64) -> Arc<Grant> {
    Arc::new(Grant {
        id: GrantId::from_bytes(id(number)),
        client_id: ClientId::new("app").unwrap(),
        subject: Some(Subject::new("alice").unwrap()),
        grant_type: GrantType::new("authorization_code").unwrap(),
        scope: Scope::parse("user:read").unwrap(),
        opened_at: start(),
        last_used_at: start(),
        expires_at: start() + Duration::days(30),
        revoked_at: None,
        parent_grant: None,
        session: None,
        host_data: None,
        details: GrantDetails::default(),
    })
}

pub fn refresh_token(of: &Grant, number: u64) -> StoredToken {
    StoredToken {
        hash: hash(number),
        kind: TokenKind::RefreshToken,
        grant_id: of.id,
        scope: of.scope.clone(),
        issued_at: of.opened_at,
        expires_at: of.expires_at,
        parent: None,
        spent: None,
        revoked_at: None,
        details: TokenDetails::default(),
    }
}

/// The redemption of `token` a second after it was issued.
pub fn spend(token: &StoredToken, attempt: u64) -> Redemption {
    Redemption {
        token: token.hash,
        kind: token.kind.clone(),
        grant_id: token.grant_id,
        attempt: AttemptId::from_bytes(id(attempt)),
        at: token.issued_at + Duration::SECOND,
        consume: true,
        seed: Some(Seed::from_bytes([0xe7; 32])),
        seed_until: Some(token.issued_at + Duration::seconds(61)),
        grant_expires_at: token.expires_at,
    }
}

/// Two successors of `token`, numbered from `number` on.
pub fn successors(token: &StoredToken, number: u64) -> [StoredToken; 2] {
    let at = token.issued_at + Duration::SECOND;
    let refresh = StoredToken { hash: hash(number), parent: Some(token.hash), issued_at: at, ..token.clone() };
    let access = StoredToken { hash: hash(number + 1), kind: TokenKind::AccessToken, ..refresh.clone() };
    [refresh, access]
}

/// Opens grant `number` with one refresh token of the same number.
pub async fn opened(storage: &impl Storage, number: u64) -> StoredToken {
    let grant = grant(number);
    let token = refresh_token(&grant, number);
    assert_eq!(storage.open_grant(&grant, std::slice::from_ref(&token)).await.unwrap(), grantor::storage::Opened::Done);
    token
}

pub async fn is_spent(storage: &impl Storage, token: &StoredToken) -> bool {
    storage.find(&token.hash).await.unwrap().unwrap().token.spent.is_some()
}

/// Whether a redemption of `token` for `successors` was done; panics if only half of it was.
pub async fn was_redeemed(storage: &impl Storage, token: &StoredToken, successors: &[StoredToken]) -> bool {
    let spent = is_spent(storage, token).await;
    for successor in successors {
        assert_eq!(storage.find(&successor.hash).await.unwrap().is_some(), spent, "half of a redemption was stored");
    }
    spent
}

pub fn is_done(redemption: RedeemOutcome) -> bool {
    matches!(redemption, RedeemOutcome::Done)
}

/// The server of [`TestServer`] with its clock, but over another storage.
pub async fn served(storage: impl Storage + ClientStore + EphemeralStore + Clone + 'static) -> TestServer {
    let mut t = TestServer::new();
    t.server = AuthorizationServer::builder(ISSUER)
        .storage(storage)
        .scope("user:read", "Read your profile")
        .clock(t.clock.clone())
        .entropy(t.entropy.clone())
        .observer(t.events.clone())
        .build()
        .await
        .unwrap();
    t
}

/// Registers a client of [`TestServer`], which is in memory, in this storage.
pub async fn client_in(t: &TestServer, storage: &impl ClientRegistry) -> TestClient {
    let client = t.confidential_client("https://app.example/cb").await;
    let registered = t.storage.find_client(&client.id).await.unwrap().unwrap();
    storage.register((*registered).clone()).await.unwrap();
    client
}

/// A new directory, removed when it is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("grantor-sql-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("oauth.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
