use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use grantor::storage::{PostgresOptions, PostgresStorage, Storage};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::load::{self, Dialect, Load};
use super::{
    every_statement, large, now, print_purge, print_ratios, purge_beside_issuance, revoke_large_families, times, tokens,
};
use crate::postgres::Postgres;
use crate::records::start;

const DIALECT: Dialect = Dialect {
    prefix: "grantor_",
    series: |from, to, name| format!("generate_series({from}::bigint, {to}::bigint) AS {name}"),
    key: |number, width| {
        format!(
            "decode(lpad(to_hex({number}::bigint * 2654435761 % 4294967296), 8, '0') || lpad(to_hex({number}), {}, '0'), 'hex')",
            2 * width - 8
        )
    },
    time: |seconds| format!("to_timestamp({} + {seconds})", start().unix_timestamp()),
};

async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

/// A pool without the time limits of a storage, for loading.
async fn loaded(url: &str, tokens: u64) -> (PgPool, PostgresStorage, Load) {
    let pool = PgPoolOptions::new().max_connections(4).test_before_acquire(false).connect(url).await.unwrap();
    let storage = PostgresStorage::with_pool(pool.clone()).await.unwrap();
    let load = Load::of_tokens(tokens);
    let half = load.grants / 2;
    let loaders = [(1, half), (half + 1, load.grants)].map(|(first, last)| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for from in (first..=last).step_by(100_000) {
                for statement in load.statements(from, last.min(from + 99_999), &DIALECT) {
                    run(&pool, &statement).await;
                }
            }
        })
    });
    for loader in loaders {
        loader.await.unwrap();
    }
    run(&pool, &load::entries(&DIALECT)).await;
    run(&pool, "VACUUM ANALYZE").await;
    (pool, storage, load)
}

#[tokio::test(flavor = "multi_thread")]
async fn full_postgresql_needs_no_more_work_per_request() {
    let Some(server) = Postgres::get() else { return };
    let _turn = super::TURN.lock().await;
    let (_, small, small_load) = loaded(&server.database().await, 1_000).await;
    let url = server.database().await;
    let begun = Instant::now();
    let (pool, storage, load) = loaded(&url, tokens()).await;
    println!("PostgreSQL: {} tokens loaded in {:?}", tokens(), begun.elapsed());

    plans_use_indexes(&url, load).await;
    print_ratios("PostgreSQL", tokens(), &times(&storage, load).await, &times(&small, small_load).await);
    a_large_family_is_one_row_to_revoke(&pool, &storage).await;
    purge_does_not_stop_issuance(&url, &storage).await;
}

/// Runs every statement with `auto_explain` and reads the plans in the server's log.
async fn plans_use_indexes(url: &str, load: Load) {
    let explained = PgPoolOptions::new().max_connections(1).after_connect(|connection, _| {
        Box::pin(async move {
            let explain = "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_format = json; \
                           SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off";
            sqlx::raw_sql(explain).execute(connection).await.map(drop)
        })
    });
    let storage = PostgresStorage::with_pool(explained.connect(url).await.unwrap()).await.unwrap();
    let folder: String = sqlx::query_scalar("SHOW data_directory").fetch_one(storage.pool()).await.unwrap();
    let log = PathBuf::from(folder).parent().unwrap().join("log");
    let before = std::fs::read(&log).unwrap().len();
    every_statement(&storage, load).await;
    storage.pool().close().await;

    let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap()[before..]).into_owned();
    let mut seen = BTreeSet::new();
    for plan in plans(&text) {
        let query = plan["Query Text"].as_str().unwrap().to_owned();
        if ["grantor_grants", "grantor_tokens", "grantor_ephemeral"].iter().any(|table| query.contains(table)) {
            check(&plan["Plan"], &query);
            seen.insert(query);
        }
    }
    // Look-up, redemption, open, revoke a token, five selectors to revoke and to list by, four of the purge, six of
    // entries.
    assert!(seen.len() >= 4 + 5 + 5 + 4 + 6, "{} statements were seen: {seen:#?}", seen.len());
    println!("PostgreSQL: the plans of {} statements use indexes", seen.len());
}

/// The plans in a log: each is JSON in lines that begin with a tab.
fn plans(log: &str) -> Vec<Value> {
    let (mut plans, mut lines) = (Vec::new(), log.lines().peekable());
    while let Some(line) = lines.next() {
        if line.ends_with(" plan:") {
            let mut json = String::new();
            while let Some(part) = lines.next_if(|line| line.starts_with('\t')) {
                json.push_str(part);
            }
            plans.push(serde_json::from_str(&json).unwrap());
        }
    }
    plans
}

/// Asserts that no table is read as a whole, and that no step reads more than a few batches of rows. (In the small
/// version PostgreSQL rightly sorts the two thousand ended grants; the cost of a purge that reads all of them
/// shows with a million tokens.)
fn check(node: &Value, query: &str) {
    let kind = node["Node Type"].as_str().unwrap();
    let table = node["Relation Name"].as_str().unwrap_or_default();
    assert!(kind != "Seq Scan" || !table.starts_with("grantor_"), "{table} is scanned for {query}: {node:#}");
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let looked_at =
        (number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck"))
            * number("Actual Loops");
    assert!(looked_at <= 3_000.0, "{looked_at} rows are looked at for {query}: {node:#}");
    for child in node["Plans"].as_array().into_iter().flatten() {
        check(child, query);
    }
}

async fn a_large_family_is_one_row_to_revoke(pool: &PgPool, storage: &PostgresStorage) {
    for statement in Load::large_families(large(), &DIALECT) {
        run(pool, &statement).await;
    }
    run(pool, "ANALYZE").await;
    revoke_large_families("PostgreSQL", storage).await;
    // Each row has the number of the transaction that wrote it.
    let written = "SELECT count(*) FROM grantor_tokens t JOIN grantor_grants g ON g.id = t.grant_id \
                   WHERE g.subject = 'mallory' AND t.xmin::text = g.xmin::text";
    let written: i64 = sqlx::query_scalar(written).fetch_one(pool).await.unwrap();
    assert_eq!(written, 0, "revoking a grant wrote to its tokens");
}

async fn purge_does_not_stop_issuance(url: &str, storage: &PostgresStorage) {
    // A transaction that waits longer than this for a lock of the purge fails.
    let impatient =
        PgPoolOptions::new().max_connections(4).test_before_acquire(false).after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql("SET lock_timeout = '100ms'").execute(connection).await.map(drop) })
        });
    let issuing = PostgresOptions::new().with_pool(impatient.connect(url).await.unwrap()).await.unwrap();
    let purged = purge_beside_issuance(storage, &issuing).await;
    assert!(purged.0 > 10_000 && purged.1.len() > 10, "{} rows, {} issuances", purged.0, purged.1.len());
    print_purge("PostgreSQL", &issuing, purged).await;
    assert_eq!(storage.purge_expired(now(), 20_000).await.unwrap(), 0, "the purge left rows that are due");
}
