//! A revocation that was given up after its first write: the parent is marked, its child is not. The contract suite gives
//! calls up as well, but a step of these storages is seldom caught in between.

use std::sync::Arc;

use grantor::storage::{GrantSelector, Opened, PostgresStorage, SqliteStorage, Storage};
use grantor::{Grant, GrantId};
use time::Duration;

use crate::postgres::Postgres;
use crate::records::{Folder, grant, refresh_token, start};

/// A parent, its child and its grandchild, numbered from `number` on, of which the parent alone is revoked.
async fn half_revoked<S: Storage>(storage: &S, number: u64, mark: impl AsyncFn(GrantId)) -> [Arc<Grant>; 3] {
    let mut family = [0, 1, 2].map(|step| grant(number + step));
    for step in 0..3 {
        if step > 0 {
            Arc::make_mut(&mut family[step]).parent_grant = Some(family[step - 1].id);
        }
        let tokens = [refresh_token(&family[step], number + step as u64)];
        assert_eq!(storage.open_grant(&family[step], &tokens).await.unwrap(), Opened::Done);
    }
    mark(family[0].id).await;
    family
}

async fn is_live<S: Storage>(storage: &S, number: u64) -> bool {
    let found = storage.find(&crate::records::hash(number)).await.unwrap();
    found.is_some_and(|found| found.grant.revoked_at.is_none())
}

async fn check<S: Storage>(storage: &S, mark: impl AsyncFn(GrantId)) {
    let family = half_revoked(storage, 10, &mark).await;
    assert!(!is_live(storage, 10).await && is_live(storage, 11).await && is_live(storage, 12).await);
    let again = storage.revoke_grants(&GrantSelector::Id(family[0].id), start() + Duration::HOUR).await.unwrap();
    assert_eq!(again, 2, "the parent had been revoked before");
    assert!(!is_live(storage, 11).await && !is_live(storage, 12).await);

    // However small the steps of a purge are, the parent does not go before its child is revoked.
    for (base, limit) in [(20, 1), (30, 2), (40, 1_000)] {
        half_revoked(storage, base, &mark).await;
        for _ in 0..20 {
            storage.purge_expired(start() + Duration::HOUR, limit).await.unwrap();
            let is_gone = storage.find(&crate::records::hash(base)).await.unwrap().is_none();
            let parent = storage.open_grant(&grant(base), &[]).await;
            assert!(parent.is_err() || is_gone && !is_live(storage, base + 1).await, "{base}: the parent went first");
            if parent.is_ok() {
                break;
            }
        }
        while storage.purge_expired(start() + Duration::HOUR, limit).await.unwrap() > 0 {}
        assert!(!is_live(storage, base + 1).await && !is_live(storage, base + 2).await, "{base}");
    }
}

#[tokio::test]
async fn half_revoked_family_in_sqlite() {
    let folder = Folder::new();
    let storage = SqliteStorage::open(folder.file()).await.unwrap();
    let mark = async |id: GrantId| {
        let mark = "UPDATE grantor_grants SET revoked_at = opened_at WHERE id = $1";
        sqlx::query(mark).bind(id.as_bytes().as_slice()).execute(storage.pool()).await.unwrap();
    };
    check(&storage, mark).await;
}

#[tokio::test]
async fn half_revoked_family_in_postgresql() {
    let Some(server) = Postgres::get() else { return };
    let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
    let mark = async |id: GrantId| {
        let mark = "UPDATE grantor_grants SET revoked_at = opened_at WHERE id = $1";
        sqlx::query(mark).bind(id.as_bytes().as_slice()).execute(storage.pool()).await.unwrap();
    };
    check(&storage, mark).await;
}
