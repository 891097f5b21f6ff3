//! A statement that PostgreSQL certainly rolled back is retried a bounded number of times. A statement that may have
//! been committed is not retried.

use std::pin::Pin;

use grantor::storage::ephemeral::{EphemeralKey, EphemeralStore, Inserted, Namespace};
use grantor::storage::{GrantSelector, Opened, PostgresStorage, RedeemOutcome};
use grantor::{Client, ClientId, ClientRegistry, ClientStore, Storage, StorageError};
use sqlx::{AssertSqlSafe, Executor};
use time::Duration;

use crate::postgres::Postgres;
use crate::records::{grant, hash, opened, refresh_token, spend, start, successors};

/// The greatest number of tries of a step.
const TRIES: i64 = 8;

type Work<'a> = Pin<Box<dyn Future<Output = Result<(), StorageError>> + 'a>>;

/// A step that writes, on the records with a number. It must succeed.
type Step = for<'a> fn(&'a PostgresStorage, u8) -> Work<'a>;

fn key(number: u8) -> EphemeralKey {
    EphemeralKey::from_bytes(Namespace::new("test").unwrap(), [number; 32])
}

fn client(number: u8) -> Client {
    Client::public(format!("app-{number}")).authorization_code(["https://app.example/cb"]).build().unwrap()
}

fn storage_error(error: grantor::storage::RegistryError) -> StorageError {
    match error {
        grantor::storage::RegistryError::Storage(error) => error,
        other => panic!("{other}"),
    }
}

/// Before the steps that need it, grant `number` is opened with a token of that number, client `number` registered and
/// entry `number + 100` inserted.
const STEPS: [(&str, Step); 10] = [
    ("open_grant", |storage, number| {
        Box::pin(async move {
            let new = grant(1_000 + u64::from(number));
            let token = refresh_token(&new, 1_000 + u64::from(number));
            assert_eq!(storage.open_grant(&new, std::slice::from_ref(&token)).await?, Opened::Done);
            Ok(())
        })
    }),
    ("redeem", |storage, number| {
        Box::pin(async move {
            let token = refresh_token(&grant(number.into()), number.into());
            let next = successors(&token, 2_000 + 2 * u64::from(number));
            assert_eq!(storage.redeem(&spend(&token, number.into()), &next).await?, RedeemOutcome::Done);
            assert!(storage.find(&next[1].hash).await?.is_some());
            Ok(())
        })
    }),
    ("revoke_access_token", |storage, number| {
        Box::pin(async move { storage.revoke_access_token(&hash(number.into()), start()).await })
    }),
    ("revoke_grants", |storage, number| {
        Box::pin(async move {
            let which = GrantSelector::Id(grant(number.into()).id);
            assert_eq!(storage.revoke_grants(&which, start()).await?, 1);
            Ok(())
        })
    }),
    ("purge_expired", |storage, _| Box::pin(async move { storage.purge_expired(start(), 100).await.map(drop) })),
    ("register", |storage, number| {
        Box::pin(async move { storage.register(client(number + 100)).await.map_err(storage_error) })
    }),
    ("update", |storage, number| {
        Box::pin(async move {
            let stored = storage.find_client(&format!("app-{number}")).await?.expect("a client");
            storage.update(client(number), stored.version()).await.map_err(storage_error)
        })
    }),
    ("remove", |storage, number| {
        Box::pin(async move {
            let id = ClientId::new(format!("app-{number}")).unwrap();
            storage.remove(&id, start()).await.map_err(storage_error)
        })
    }),
    ("insert", |storage, number| {
        Box::pin(async move {
            let inserted = storage.insert(&key(number), b"value", start() + Duration::MINUTE, start()).await?;
            assert!(matches!(inserted, Inserted::New(_)));
            Ok(())
        })
    }),
    ("take", |storage, number| {
        Box::pin(async move {
            assert_eq!(storage.take(&key(number + 100), start()).await?.as_deref(), Some(&b"value"[..]));
            Ok(())
        })
    }),
];

/// A storage whose writing statements fail as planned: each statement draws a number, and fails with a code while the
/// number is not above a limit.
struct Planned(PostgresStorage);

impl Planned {
    async fn new() -> Option<Self> {
        let planned = Self(PostgresStorage::connect(&Postgres::get()?.database().await).await.unwrap());
        planned
            .run(
                "CREATE SEQUENCE draws; CREATE TABLE plan (code text, failures bigint); INSERT INTO plan VALUES ('', 0);
                 CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
                 DECLARE planned record;
                 BEGIN
                     SELECT * INTO planned FROM plan;
                     IF nextval('draws') <= planned.failures THEN
                         RAISE EXCEPTION 'as planned' USING ERRCODE = planned.code;
                     END IF;
                     RETURN NULL;
                 END $$",
            )
            .await;
        for table in ["grants", "tokens", "clients", "ephemeral"] {
            let events = "AFTER INSERT OR UPDATE OR DELETE";
            let trigger =
                format!("CREATE TRIGGER fail {events} ON grantor_{table} FOR EACH STATEMENT EXECUTE FUNCTION fail()");
            planned.run(&trigger).await;
        }
        Some(planned)
    }

    async fn run(&self, sql: &str) {
        self.0.pool().execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    }

    /// From now on, this number of writing statements fail with this code.
    async fn fail(&self, code: &str, failures: i64) {
        self.run(&format!("UPDATE plan SET code = '{code}', failures = {failures}; ALTER SEQUENCE draws RESTART"))
            .await;
    }

    /// The number of writing statements since the last call of `fail`.
    async fn failed(&self) -> i64 {
        let drawn = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM draws";
        sqlx::query_scalar(drawn).fetch_one(self.0.pool()).await.unwrap()
    }

    async fn prepare(&self, number: u8) {
        opened(&self.0, number.into()).await;
        self.0.register(client(number)).await.unwrap();
        let inserted = self.0.insert(&key(number + 100), b"value", start() + Duration::MINUTE, start()).await;
        assert!(matches!(inserted.unwrap(), Inserted::New(_)));
    }
}

// covers: B58
#[tokio::test]
async fn serialization_failure_or_deadlock_is_retried() {
    let Some(planned) = Planned::new().await else { return };
    let mut number = 0;
    for code in ["40001", "40P01"] {
        for (name, step) in STEPS {
            number += 1;
            planned.fail("", 0).await;
            planned.prepare(number).await;
            planned.fail(code, TRIES - 1).await;
            let done = step(&planned.0, number).await;
            assert!(done.is_ok(), "{name}, {code}: {done:?}");
            assert!(planned.failed().await >= TRIES, "{name}, {code}: a statement that wrote came after the failures");
        }
    }
}

// covers: B58
#[tokio::test]
async fn retries_end_after_eight_tries_and_write_nothing() {
    let Some(planned) = Planned::new().await else { return };
    for (number, (name, step)) in (1..).zip(STEPS) {
        planned.fail("", 0).await;
        planned.prepare(number).await;
        planned.fail("40001", i64::MAX).await;
        let failure = step(&planned.0, number).await.unwrap_err();
        assert!(failure.is_unavailable(), "{name}: {failure:?}");
        assert_eq!(planned.failed().await, TRIES, "{name}");
        // Nothing has changed, so the step can be done.
        planned.fail("", 0).await;
        step(&planned.0, number).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

/// A pooler reports `statement_completion_unknown` and errors of class 08. The statement may then have been committed.
// covers: B58
#[tokio::test]
async fn possibly_committed_statement_is_never_retried() {
    let Some(planned) = Planned::new().await else { return };
    for (number, (name, step)) in (1..).zip(STEPS) {
        for code in ["40003", "08006", "08007"] {
            planned.fail("", 0).await;
            if code == "40003" {
                planned.prepare(number).await;
            }
            planned.fail(code, i64::MAX).await;
            let failure = step(&planned.0, number).await.unwrap_err();
            assert!(failure.is_unavailable(), "{name}, {code}: {failure:?}");
            assert_eq!(planned.failed().await, 1, "{name}, {code}");
        }
    }
}
