use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use grantor::storage::{SqliteOptions, SqliteStorage, Storage};
use sqlx::AssertSqlSafe;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::load::{self, Dialect, Load};
use super::{
    every_statement, large, now, print_purge, print_ratios, purge_beside_issuance, revoke_large_families, times, tokens,
};
use crate::records::{Folder, start};

/// A prefix that no other test has, which identifies its statements.
const DIALECT: Dialect = Dialect {
    prefix: "growth_",
    series: |from, to, name| {
        format!(
            "(WITH RECURSIVE n({name}) AS (SELECT {from} UNION ALL SELECT {name} + 1 FROM n WHERE {name} < {to}) \
             SELECT {name} FROM n)"
        )
    },
    key: |number, width| {
        format!("unhex(printf('%08x%0{}x', {number} * 2654435761 % 4294967296, {number}))", 2 * width - 8)
    },
    time: |seconds| format!("({} + {seconds}) * 1000000", start().unix_timestamp()),
};

async fn loaded(folder: &Folder, tokens: u64) -> (SqliteStorage, Load) {
    let storage = SqliteOptions::new().table_prefix("growth_").open(folder.file()).await.unwrap();
    let load = Load::of_tokens(tokens);
    for from in (1..=load.grants).step_by(20_000) {
        for statement in load.statements(from, load.grants.min(from + 19_999), &DIALECT) {
            run(&storage, &statement).await;
        }
    }
    run(&storage, &load::entries(&DIALECT)).await;
    (storage, load)
}

async fn run(storage: &SqliteStorage, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(storage.pool()).await.unwrap();
}

/// The statements that sqlx reports.
fn statements() -> &'static Mutex<BTreeSet<String>> {
    static SEEN: OnceLock<Mutex<BTreeSet<String>>> = OnceLock::new();
    SEEN.get_or_init(Mutex::default)
}

struct Listener;

impl<S: tracing::Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            event.record(&mut Reader);
        }
    }
}

struct Reader;

impl Visit for Reader {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "db.statement" && value.contains("growth_") {
            statements().lock().unwrap().insert(value.trim().to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_sqlite_needs_no_more_work_per_request() {
    let _turn = super::TURN.lock().await;
    let (small_folder, folder) = (Folder::new(), Folder::new());
    let (small, small_load) = loaded(&small_folder, 1_000).await;
    let number = if std::env::var_os("GRANTOR_GROWTH").is_some() { tokens() / 10 } else { tokens() / 4 };
    let begun = Instant::now();
    let (storage, load) = loaded(&folder, number).await;
    println!("SQLite: {number} tokens loaded in {:?}", begun.elapsed());

    plans_use_indexes(&storage, load).await;
    print_ratios("SQLite", number, &times(&storage, load).await, &times(&small, small_load).await);
    a_large_family_is_one_row_to_revoke(&storage).await;
    // Like another process, this writer does not queue with the purge. It succeeds only if the lock is free.
    let elsewhere = SqliteOptions::new().table_prefix("growth_").open(folder.file()).await.unwrap();
    let purged = purge_beside_issuance(&storage, &elsewhere).await;
    assert!(purged.0 > 10_000 && purged.1.len() > 10, "{} rows, {} issuances", purged.0, purged.1.len());
    print_purge("SQLite", &elsewhere, purged).await;
    assert_eq!(storage.purge_expired(now(), 20_000).await.unwrap(), 0, "the purge left rows that are due");
}

async fn plans_use_indexes(storage: &SqliteStorage, load: Load) {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Listener)).unwrap();
    every_statement(storage, load).await;
    let seen = statements().lock().unwrap().clone();
    let mut used = 0;
    for sql in &seen {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(storage.pool()).await.unwrap();
        for (_, _, _, step) in &plan {
            // A list made by the statement itself may be scanned. A table may not, except along an index with a known
            // end.
            let is_made = ["SCAN due", "SCAN f", "SCAN CONSTANT ROW"].contains(&step.as_str());
            assert!(!step.starts_with("SCAN") || is_made, "{step} for {sql}");
            // A user has few grants, but a client may have all grants.
            let by_client = sql.contains("g.subject = ") && step.contains("grants_by_client");
            assert!(!by_client, "{step} for {sql}");
            used += usize::from(step.contains("USING"));
        }
    }
    assert!(seen.len() >= 7 + 8 + 5 + 5 + 5 + 6, "{} statements were seen: {seen:#?}", seen.len());
    assert!(used > 20, "{used}");
    println!("SQLite: the plans of {} statements use indexes", seen.len());
}

async fn a_large_family_is_one_row_to_revoke(storage: &SqliteStorage) {
    for statement in Load::large_families(large(), &DIALECT) {
        run(storage, &statement).await;
    }
    let count = "CREATE TABLE growth_written (n); \
                 CREATE TRIGGER growth_count AFTER UPDATE ON growth_tokens BEGIN INSERT INTO growth_written VALUES (1); END";
    run(storage, count).await;
    revoke_large_families("SQLite", storage).await;
    let written: i64 =
        sqlx::query_scalar("SELECT count(*) FROM growth_written").fetch_one(storage.pool()).await.unwrap();
    assert_eq!(written, 0, "revoking a grant wrote to its tokens");
    run(storage, "DROP TRIGGER growth_count; DROP TABLE growth_written").await;
}
