//! Situations that the contract suite seldom hits on these storages. A revocation was cancelled after its first write:
//! the parent is marked, its child is not. Or a revocation begins while a child is being stored.

use std::sync::Arc;

use grantor::storage::{GrantSelector, Opened, PostgresStorage, SqliteStorage, Storage};
use grantor::{Grant, GrantId};
use sqlx::AssertSqlSafe;
use time::Duration;

use crate::postgres::Postgres;
use crate::records::{Folder, grant, opened, refresh_token, start};

/// A parent, its child and its grandchild, numbered from `number` on, of which only the parent is revoked. The child
/// may have no token, like a machine's grant whose access token was purged.
async fn half_revoked<S: Storage>(
    storage: &S,
    number: u64,
    child_has_token: bool,
    mark: impl AsyncFn(GrantId),
) -> [Arc<Grant>; 3] {
    let mut family = [0, 1, 2].map(|step| grant(number + step));
    for step in 0..3 {
        if step > 0 {
            Arc::make_mut(&mut family[step]).parent_grant = Some(family[step - 1].id);
        }
        let token = refresh_token(&family[step], number + step as u64);
        let tokens = Some(token).filter(|_| step != 1 || child_has_token);
        assert_eq!(storage.open_grant(&family[step], tokens.as_slice()).await.unwrap(), Opened::Done);
    }
    mark(family[0].id).await;
    family
}

async fn is_live<S: Storage>(storage: &S, number: u64) -> bool {
    let found = storage.find(&crate::records::hash(number)).await.unwrap();
    found.is_some_and(|found| found.grant.revoked_at.is_none())
}

async fn check<S: Storage>(storage: &S, mark: impl AsyncFn(GrantId)) {
    let family = half_revoked(storage, 10, true, &mark).await;
    assert!(!is_live(storage, 10).await && is_live(storage, 11).await && is_live(storage, 12).await);
    let again = storage.revoke_grants(&GrantSelector::Id(family[0].id), start() + Duration::HOUR).await.unwrap();
    assert_eq!(again, 2, "the parent had been revoked before");
    assert!(!is_live(storage, 11).await && !is_live(storage, 12).await);

    // With purge steps of any size, no parent is removed before its child is revoked.
    for (base, limit, child_has_token) in
        [(20, 1, true), (30, 2, true), (40, 1_000, true), (50, 1, false), (60, 2, false), (70, 1_000, false)]
    {
        half_revoked(storage, base, child_has_token, &mark).await;
        for _ in 0..20 {
            storage.purge_expired(start() + Duration::HOUR, limit).await.unwrap();
            let is_gone = storage.find(&crate::records::hash(base)).await.unwrap().is_none();
            let parent = storage.open_grant(&grant(base), &[]).await;
            assert!(parent.is_err() || is_gone && !is_live(storage, base + 1).await, "{base}: purged too early");
            if parent.is_ok() {
                break;
            }
        }
        while storage.purge_expired(start() + Duration::HOUR, limit).await.unwrap() > 0 {}
        assert!(!is_live(storage, base + 1).await && !is_live(storage, base + 2).await, "{base}");
    }
}

#[tokio::test]
async fn half_revoked_family_is_finished_in_sqlite() {
    let folder = Folder::new();
    let storage = SqliteStorage::open(folder.file()).await.unwrap();
    let mark = async |id: GrantId| {
        let mark = "UPDATE grantor_grants SET revoked_at = opened_at WHERE id = $1";
        sqlx::query(mark).bind(id.as_bytes().as_slice()).execute(storage.pool()).await.unwrap();
    };
    check(&storage, mark).await;
}

#[tokio::test]
async fn half_revoked_family_is_finished_in_postgresql() {
    let Some(server) = Postgres::get() else { return };
    let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
    let mark = async |id: GrantId| {
        let mark = "UPDATE grantor_grants SET revoked_at = opened_at WHERE id = $1";
        sqlx::query(mark).bind(id.as_bytes().as_slice()).execute(storage.pool()).await.unwrap();
    };
    check(&storage, mark).await;
}

/// The opening has read the grant 10 and then waits for another transaction that has a grant with the same identifier.
/// Meanwhile a revocation begins. If it did not wait for the opening, it would miss the new grant.
///
/// With `beside_another`, a revocation of another node marks the grant 10 first, and then its node stops. So this
/// revocation has nothing to mark in its first round.
async fn revocation_waits_for_opening(which: &GrantSelector, beside_another: bool, refer: impl Fn(&mut Grant)) {
    let Some(server) = Postgres::get() else { return };
    let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
    opened(&storage, 10).await;
    let (parent, mut child) = (grant(10).id, grant(11));
    refer(Arc::make_mut(&mut child));
    let mut other = storage.pool().begin().await.unwrap();
    let copy = "INSERT INTO grantor_grants (id, client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, \
                details) SELECT $1, client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, details \
                FROM grantor_grants WHERE id = $2";
    let copy = sqlx::query(copy).bind(child.id.as_bytes().as_slice()).bind(parent.as_bytes().as_slice());
    copy.execute(&mut *other).await.unwrap();
    let waiting = async || -> i64 {
        let count =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query_scalar(count).fetch_one(storage.pool()).await.unwrap()
    };

    let (opening, of_child) = (storage.clone(), [refresh_token(&child, 11)]);
    let opening = tokio::spawn(async move { opening.open_grant(&child, &of_child).await });
    while waiting().await < 1 {
        assert!(!opening.is_finished(), "the opening waits for the other transaction");
    }
    let mut marked_by_this = 2_i64;
    if beside_another {
        let pool = storage.pool().clone();
        let mark = async move {
            let mark = "UPDATE grantor_grants SET revoked_at = opened_at WHERE id = $1";
            sqlx::query(mark).bind(parent.as_bytes().as_slice()).execute(&pool).await.unwrap();
        };
        tokio::spawn(mark);
        while waiting().await < 2 {}
        marked_by_this = 1;
    }
    let (revoking, which) = (storage.clone(), which.clone());
    let revoking = tokio::spawn(async move { revoking.revoke_grants(&which, start()).await });
    while waiting().await < 4 - marked_by_this && !revoking.is_finished() {}
    other.rollback().await.unwrap();
    assert_eq!(opening.await.unwrap().unwrap(), Opened::Done);
    assert_eq!(revoking.await.unwrap().unwrap(), u64::try_from(marked_by_this).unwrap());
    assert!(!is_live(&storage, 11).await);
}

#[tokio::test]
async fn revocation_waits_for_opened_child_in_postgresql() {
    let parent = grant(10).id;
    for beside_another in [false, true] {
        let which = GrantSelector::Id(parent);
        revocation_waits_for_opening(&which, beside_another, |new| new.parent_grant = Some(parent)).await;
    }
}

// Regression: the statement of the revocation did not see a grant that was opened because of an earlier consent.
#[tokio::test]
async fn revocation_by_subject_waits_for_silent_grant_in_postgresql() {
    let consent = grant(10);
    let subject = consent.subject.clone().expect("a user");
    for which in
        [GrantSelector::Subject(subject.clone()), GrantSelector::SubjectAndClient(subject, consent.client_id.clone())]
    {
        // Regression: a revocation stopped its search because another one had marked the consent first.
        for beside_another in [false, true] {
            let refer = |new: &mut Grant| new.details.consent_grant = Some(consent.id);
            revocation_waits_for_opening(&which, beside_another, refer).await;
        }
    }
}

/// More children than one statement revokes.
const MANY: u64 = 2_500;

/// Revokes a grant whose children were inserted by one statement. `numbers` is an SQL source of numbers `i`, and `id`
/// makes an identifier of a number.
async fn all_children_are_revoked<S: Storage>(
    storage: &S,
    (numbers, id): (&str, &str),
    run: impl AsyncFn(String) -> u64,
) {
    opened(storage, 10).await;
    let columns = "client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, details";
    let children = format!(
        "INSERT INTO grantor_grants (id, {columns}, parent_grant) SELECT {id}, {columns}, id FROM grantor_grants, {numbers}"
    );
    assert_eq!(run(children).await, MANY);
    let which = GrantSelector::Id(grant(10).id);
    assert_eq!(storage.revoke_grants(&which, start()).await.unwrap(), MANY + 1);
    assert_eq!(storage.revoke_grants(&which, start()).await.unwrap(), 0);
}

#[tokio::test]
async fn family_larger_than_a_batch_is_revoked_in_sqlite() {
    let folder = Folder::new();
    let storage = SqliteStorage::open(folder.file()).await.unwrap();
    let run =
        async |sql: String| sqlx::raw_sql(AssertSqlSafe(sql)).execute(storage.pool()).await.unwrap().rows_affected();
    let numbers =
        format!("(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) SELECT i FROM n)");
    all_children_are_revoked(&storage, (&numbers, "randomblob(16)"), run).await;
}

#[tokio::test]
async fn family_larger_than_a_batch_is_revoked_in_postgresql() {
    let Some(server) = Postgres::get() else { return };
    let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
    let run =
        async |sql: String| sqlx::raw_sql(AssertSqlSafe(sql)).execute(storage.pool()).await.unwrap().rows_affected();
    let numbers = format!("generate_series(1, {MANY}) i");
    all_children_are_revoked(&storage, (&numbers, "decode(md5(i::text), 'hex')"), run).await;
}
