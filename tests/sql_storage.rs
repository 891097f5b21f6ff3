//! smoke
#[path = "common/postgres.rs"]
mod postgres;

use grantor::record::{AttemptId, GrantDetails, TokenDetails, TokenKind};
use grantor::secret::{Seed, TokenHash};
use grantor::storage::*;
use grantor::*;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

async fn smoke(storage: impl Storage + ClientRegistry) {
    let start = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
    let grant = Arc::new(Grant {
        id: GrantId::from_bytes([1; 16]),
        client_id: ClientId::new("app").unwrap(),
        subject: Some(Subject::new("alice").unwrap()),
        grant_type: GrantType::new("authorization_code").unwrap(),
        scope: Scope::parse("a b").unwrap(),
        opened_at: start,
        last_used_at: start,
        expires_at: start + Duration::DAY,
        revoked_at: None,
        host_data: Some(Arc::new(serde_json::json!({"a": 1.0, "z": "\u{0}", "b": 1e300}))),
        details: GrantDetails::default(),
    });
    let token = StoredToken {
        hash: TokenHash::from_bytes([1; 32]),
        kind: TokenKind::RefreshToken,
        grant_id: grant.id,
        scope: grant.scope.clone(),
        issued_at: start,
        expires_at: start + Duration::DAY,
        parent: None,
        spent: None,
        revoked_at: None,
        details: TokenDetails::default(),
    };
    storage.open_grant(&grant, std::slice::from_ref(&token)).await.unwrap();
    assert!(storage.open_grant(&grant, std::slice::from_ref(&token)).await.is_err());
    let (t, g) = storage.find(&token.hash).await.unwrap().unwrap();
    assert_eq!(serde_json::to_string(&t).unwrap(), serde_json::to_string(&token).unwrap());
    assert_eq!(serde_json::to_string(&*g).unwrap(), serde_json::to_string(&*grant).unwrap());
    let spend = Spend {
        token: token.hash,
        kind: token.kind,
        grant_id: grant.id,
        attempt: AttemptId::from_bytes([1; 16]),
        at: start + Duration::SECOND,
        consume: true,
        seed: Some(Seed::from_bytes([3; 32])),
        grant_expires_at: start + 2 * Duration::DAY,
    };
    let next = StoredToken { hash: TokenHash::from_bytes([2; 32]), parent: Some(token.hash), ..token.clone() };
    println!("{:?}", storage.exchange(&spend, std::slice::from_ref(&next)).await.unwrap());
    println!("{:?}", storage.exchange(&spend, std::slice::from_ref(&next)).await.unwrap());
    let again = Spend { attempt: AttemptId::from_bytes([2; 16]), ..spend.clone() };
    println!("{:?}", storage.exchange(&again, &[]).await.unwrap());
    let then = Spend { token: next.hash, attempt: AttemptId::from_bytes([2; 16]), ..spend.clone() };
    let third = StoredToken { hash: TokenHash::from_bytes([3; 32]), parent: Some(next.hash), ..token.clone() };
    println!("{:?}", storage.exchange(&then, &[third]).await.unwrap());
    println!("{:?}", storage.find(&token.hash).await.unwrap().unwrap().0.spent);
    println!("{:?}", storage.find(&next.hash).await.unwrap().unwrap());
    println!(
        "{:?}",
        storage
            .grants(&GrantSelector::Subject(Subject::new("alice").unwrap()), start, &Page::first(9))
            .await
            .unwrap()
            .len()
    );
    println!(
        "{:?}",
        storage
            .grants(
                &GrantSelector::SubjectAndClient(Subject::new("alice").unwrap(), ClientId::new("app").unwrap()),
                start,
                &Page::first(9)
            )
            .await
            .unwrap()
            .len()
    );
    println!(
        "{:?}",
        storage
            .revoke_grants(&GrantSelector::Client(ClientId::new("app").unwrap()), start + Duration::SECOND)
            .await
            .unwrap()
    );
    println!("{:?}", storage.revoke_grants(&GrantSelector::Id(grant.id), start + Duration::SECOND).await.unwrap());
    println!("{:?}", storage.purge_expired(start + Duration::DAY, 2).await.unwrap());
    println!("{:?}", storage.purge_expired(start + Duration::DAY, 10).await.unwrap());
    assert!(storage.find(&token.hash).await.unwrap().is_none());
    storage.register(Client::public("x").authorization_code(["https://a.example/cb"]).build().unwrap()).await.unwrap();
    println!(
        "{:?}",
        storage.register(Client::public("x").authorization_code(["https://a.example/cb"]).build().unwrap()).await
    );
    println!("{:?}", storage.client("x").await.unwrap().unwrap().id());
    println!("{:?}", storage.clients(None, 3).await.unwrap().len());
    println!("{:?}", storage.remove(&ClientId::new("x").unwrap(), start).await);
}

#[tokio::test]
async fn pg() {
    let server = postgres::Postgres::get().unwrap();
    let url = server.database().await;
    let storage = PostgresStorage::connect(&url).await.unwrap();
    let _other = PostgresOptions::new().schema("auth").table_prefix("").connect(&url).await.unwrap();
    let _other = PostgresOptions::new().schema("auth").table_prefix("").migrate(false).connect(&url).await.unwrap();
    smoke(storage).await;
}
#[tokio::test]
async fn lite() {
    let path = std::env::temp_dir().join(format!("x-{}.db", std::process::id()));
    let storage = SqliteStorage::open(&path).await.unwrap();
    let _again = SqliteStorage::open(&path).await.unwrap();
    smoke(storage).await;
}
