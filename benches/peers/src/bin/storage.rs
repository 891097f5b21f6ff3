//! Compares the operations with PostgreSQL and SQLite to the bare statements of the same round trips. Both use the same
//! pool and are measured in turns.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml --features sql --bin storage
//! ```
//!
//! The bare statements bind prepared values and ignore the results. They make no tokens, hash nothing, check nothing
//! and render nothing. The program starts its own PostgreSQL server without fsync, so that the disk does not hide the
//! cost of the code. SQLite uses a file in WAL mode with `synchronous = FULL`.

use std::time::Instant;

use grantor::storage::{PostgresStorage, SqliteStorage};
use grantor::{
    AccessToken, Approval, AuthorizationCode, AuthorizationRequest, AuthorizationServer, BearerRequest, Client,
    ClientCredential, ClientRegistry, ClientSecret, ClientStore, CodeVerifier, Entropy, Interaction, RefreshToken,
    Storage, Subject, SystemEntropy, TokenRequest, TokenResponse, UserSession,
};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};

#[path = "../../../../tests/common/postgres.rs"]
mod postgres;

const REDIRECT_URI: &str = "https://app.example/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const SCOPE: &str = "user:read user:write";
const CLIENT: &str = "client-00000000";
/// The values of the column `details`, for codes and for other tokens.
const CODE_DETAILS: &str = r#"{"code":{"redirect_uri":"https://app.example/callback","redirect_uri_was_sent":true,"code_challenge":{"method":"S256","value":"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}}}"#;
const DETAILS: &str = "{}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Authorize,
    Code,
    Refresh,
    ClientCredentials,
    Bearer,
}

impl Op {
    const ALL: [(Self, &str, &str); 5] = [
        (Self::Authorize, "authorize → code", "client, open"),
        (Self::Code, "code → tokens", "client, find, exchange"),
        (Self::Refresh, "refresh", "client, find, exchange"),
        (Self::ClientCredentials, "client credentials", "client, open"),
        (Self::Bearer, "bearer check", "find"),
    ];
}

type Done<T> = Result<T, sqlx::Error>;

/// The library with a database.
struct Ours {
    server: AuthorizationServer,
    secret: ClientSecret,
    verifier: CodeVerifier,
}

impl Ours {
    async fn new<S: Storage + ClientStore + ClientRegistry + grantor::EphemeralStore + Clone + 'static>(
        storage: &S,
    ) -> Self {
        let secret = ClientSecret::generate(&SystemEntropy).expect("entropy");
        let client = Client::confidential(CLIENT, ClientCredential::secret(&secret))
            .authorization_code([REDIRECT_URI])
            .refresh_token()
            .client_credentials()
            .scope(SCOPE)
            .build()
            .expect("a client");
        storage.register(client).await.expect("it is new");
        let server = AuthorizationServer::builder("https://id.example.com")
            .storage(storage.clone())
            .scope("user:read", "Read your profile")
            .scope("user:write", "Change your profile")
            .build()
            .await
            .expect("a server");
        Self { server, secret, verifier: CodeVerifier::new(VERIFIER) }
    }

    async fn code(&self) -> AuthorizationCode {
        let request = AuthorizationRequest::code(CLIENT)
            .redirect_uri(REDIRECT_URI)
            .scope(SCOPE)
            .state("af0ifjsldkj")
            .code_challenge_s256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let Ok(pending) = self.server.authorization_request(&request).await else { panic!("the request is valid") };
        let alice = UserSession::new(Subject::new("alice").expect("a subject"));
        let response = match pending.interaction(Some(&alice)).await {
            Interaction::Consent(consent) => consent.approve(Approval::by(alice)).await,
            Interaction::Proceed(proceed) => proceed.approve().await,
            other => panic!("alice can approve: {other:?}"),
        };
        AuthorizationCode::new(response.code().expect("a code").expose())
    }

    async fn ask(&self, request: TokenRequest<'_>) -> TokenResponse {
        self.server.token_request(&request.client_secret_basic(CLIENT, &self.secret)).await.expect("tokens")
    }

    async fn redeem(&self, code: &AuthorizationCode) -> TokenResponse {
        let request = TokenRequest::authorization_code(code).redirect_uri(REDIRECT_URI);
        self.ask(request.code_verifier(&self.verifier)).await
    }

    async fn refresh(&self, token: &RefreshToken) -> TokenResponse {
        self.ask(TokenRequest::refresh_token(token)).await
    }

    /// Returns the nanoseconds per operation, without its preparation.
    async fn time(&self, op: Op, n: usize) -> f64 {
        let (mut codes, mut refreshes, mut accesses): (Vec<_>, Vec<RefreshToken>, Vec<AccessToken>) =
            Default::default();
        for _ in 0..n {
            match op {
                Op::Code => codes.push(self.code().await),
                Op::Refresh => {
                    refreshes.push(self.redeem(&self.code().await).await.refresh_token.expect("a refresh token"))
                }
                Op::Bearer => accesses.push(self.redeem(&self.code().await).await.access_token),
                Op::Authorize | Op::ClientCredentials => {}
            }
        }
        let start = Instant::now();
        for number in 0..n {
            match op {
                Op::Authorize => drop(self.code().await),
                Op::Code => drop(self.redeem(&codes[number]).await.to_json()),
                Op::Refresh => drop(self.refresh(&refreshes[number]).await.to_json()),
                Op::ClientCredentials => {
                    drop(self.ask(TokenRequest::client_credentials().scope(SCOPE)).await.to_json());
                }
                Op::Bearer => {
                    let bearer = self.server.bearer_request(&BearerRequest::of(&accesses[number])).await.expect("live");
                    drop(bearer.require("user:read").expect("the scope"));
                }
            }
        }
        start.elapsed().as_nanos() as f64 / n as f64
    }
}

/// The values of a token row.
#[derive(Clone, Copy)]
struct Row {
    hash: [u8; 32],
    kind: &'static str,
    parent: Option<[u8; 32]>,
}

impl Row {
    fn new(kind: &'static str) -> Self {
        Self { hash: random(), kind, parent: None }
    }

    fn details(&self) -> &'static str {
        if self.kind == "authorization_code" { CODE_DETAILS } else { DETAILS }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy.fill(&mut bytes).expect("entropy");
    bytes
}

/// The statements of the storage for one database.
trait Bare {
    async fn client(&self) -> Done<()>;
    async fn open(&self, grant: [u8; 16], subject: Option<&str>, token: Row) -> Done<()>;
    async fn find(&self, hash: [u8; 32]) -> Done<()>;
    async fn exchange(&self, grant: [u8; 16], spent: Row, seed: Option<[u8; 32]>, born: [Row; 2]) -> Done<()>;

    async fn code(&self) -> Done<([u8; 16], Row)> {
        let (grant, code) = (random(), Row::new("authorization_code"));
        self.open(grant, Some("alice"), code).await?;
        Ok((grant, code))
    }

    /// Returns the successors of a token.
    fn born(&self, spent: Row) -> [Row; 2] {
        ["access_token", "refresh_token"].map(|kind| Row { parent: Some(spent.hash), ..Row::new(kind) })
    }

    async fn time(&self, op: Op, n: usize) -> Done<f64> {
        let mut rows = Vec::new();
        for _ in 0..n {
            if matches!(op, Op::Authorize | Op::ClientCredentials) {
                let kind = if op == Op::Authorize { "authorization_code" } else { "access_token" };
                rows.push((random(), Row::new(kind), [Row::new(kind); 2]));
                continue;
            }
            let (grant, code) = self.code().await?;
            let born = self.born(code);
            if op == Op::Code {
                rows.push((grant, code, born));
                continue;
            }
            self.exchange(grant, code, None, born).await?;
            let row = if op == Op::Refresh { born[1] } else { born[0] };
            rows.push((grant, row, self.born(row)));
        }
        let seed = (op == Op::Refresh).then(random::<32>);
        let start = Instant::now();
        for (grant, row, born) in rows {
            if op != Op::Bearer {
                self.client().await?;
            }
            match op {
                Op::Authorize => self.open(grant, Some("alice"), row).await?,
                Op::ClientCredentials => self.open(grant, None, row).await?,
                Op::Bearer => self.find(row.hash).await?,
                Op::Code | Op::Refresh => {
                    self.find(row.hash).await?;
                    self.exchange(grant, row, seed, born).await?;
                }
            }
        }
        Ok(start.elapsed().as_nanos() as f64 / n as f64)
    }
}

const FIND: &str = "SELECT t.hash, t.kind, t.grant_id, t.scope, t.issued_at, t.expires_at, t.parent, \
    t.spent_at, t.spent_by, t.seed, t.revoked_at, t.details, g.id, g.client_id, g.subject, g.grant_type, g.scope, g.opened_at, \
    g.last_used_at, g.expires_at, g.revoked_at, g.host_data, g.details \
    FROM grantor_tokens t JOIN grantor_grants g ON g.id = t.grant_id WHERE t.hash = $1";
const FIND_CLIENT: &str = "SELECT registration FROM grantor_clients WHERE id = $1";

struct Postgresql {
    pool: PgPool,
    open: String,
    exchange: String,
}

impl Postgresql {
    fn new(pool: PgPool) -> Self {
        let insert = |first: usize, grant: &str, source: &str| {
            let types = "bytea text text timestamptz timestamptz bytea timestamptz bytea bytea timestamptz text";
            let arrays: Vec<String> =
                types.split(' ').enumerate().map(|(number, of)| format!("${}::{of}[]", first + number)).collect();
            format!(
                "INSERT INTO grantor_tokens (hash, kind, grant_id, scope, issued_at, expires_at, parent, spent_at, spent_by, \
                 seed, revoked_at, details) SELECT n.hash, n.kind, {grant}, n.scope, n.issued_at, n.expires_at, n.parent, \
                 n.spent_at, n.spent_by, n.seed, n.revoked_at, n.details::json FROM {source}unnest({}) AS n(hash, kind, scope, \
                 issued_at, expires_at, parent, spent_at, spent_by, seed, revoked_at, details)",
                arrays.join(", ")
            )
        };
        let open = format!(
            "WITH opened AS (INSERT INTO grantor_grants (id, client_id, subject, grant_type, scope, opened_at, last_used_at, \
             expires_at, revoked_at, host_data, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::json, $11::json)) {}",
            insert(12, "$1", "")
        );
        let exchange = format!(
            "WITH live AS (SELECT t.hash, t.grant_id, t.parent FROM grantor_grants g JOIN grantor_tokens t ON t.grant_id = g.id \
             WHERE t.hash = $1 AND t.kind = $2 AND t.grant_id = $3 AND t.revoked_at IS NULL AND t.spent_at IS NULL \
             AND t.expires_at > $4 AND g.revoked_at IS NULL AND g.expires_at > $4 \
             FOR NO KEY UPDATE OF g FOR NO KEY UPDATE OF t), \
             spent AS (UPDATE grantor_tokens t SET spent_at = $4, spent_by = $5, seed = $6 FROM live \
             WHERE t.hash = live.hash AND $7), \
             parent AS (UPDATE grantor_tokens t SET seed = NULL FROM live WHERE t.hash = live.parent AND t.seed IS NOT NULL AND $7), \
             moved AS (UPDATE grantor_grants g SET last_used_at = GREATEST(g.last_used_at, $4), \
             expires_at = GREATEST(g.expires_at, $8) FROM live WHERE g.id = live.grant_id), \
             born AS ({}) SELECT count(*) FROM live",
            insert(9, "live.grant_id", "live, ")
        );
        Self { pool, open, exchange }
    }
}

type PgQuery<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_rows<'q>(query: PgQuery<'q>, rows: &[Row]) -> PgQuery<'q> {
    let now = sqlx::types::time::OffsetDateTime::now_utc();
    let hour = now + std::time::Duration::from_secs(3600);
    let none_of = rows.iter().map(|_| None::<Vec<u8>>).collect::<Vec<_>>();
    let never = rows.iter().map(|_| None::<sqlx::types::time::OffsetDateTime>).collect::<Vec<_>>();
    query
        .bind(rows.iter().map(|row| row.hash.to_vec()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.kind).collect::<Vec<_>>())
        .bind(rows.iter().map(|_| SCOPE).collect::<Vec<_>>())
        .bind(rows.iter().map(|_| now).collect::<Vec<_>>())
        .bind(rows.iter().map(|_| hour).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.parent.map(Vec::from)).collect::<Vec<_>>())
        .bind(never.clone())
        .bind(none_of.clone())
        .bind(none_of)
        .bind(never)
        .bind(rows.iter().map(Row::details).collect::<Vec<_>>())
}

impl Bare for Postgresql {
    async fn client(&self) -> Done<()> {
        sqlx::query(FIND_CLIENT).bind(CLIENT).fetch_one(&self.pool).await.map(drop)
    }

    async fn open(&self, grant: [u8; 16], subject: Option<&str>, token: Row) -> Done<()> {
        let now = sqlx::types::time::OffsetDateTime::now_utc();
        let open = sqlx::query(AssertSqlSafe(&*self.open))
            .bind(grant.to_vec())
            .bind(CLIENT)
            .bind(subject)
            .bind("authorization_code")
            .bind(SCOPE)
            .bind(now)
            .bind(now)
            .bind(now + std::time::Duration::from_secs(3600))
            .bind(None::<sqlx::types::time::OffsetDateTime>)
            .bind(None::<&str>)
            .bind(DETAILS);
        bind_rows(open, &[token]).execute(&self.pool).await.map(drop)
    }

    async fn find(&self, hash: [u8; 32]) -> Done<()> {
        sqlx::query(FIND).bind(hash.to_vec()).fetch_one(&self.pool).await.map(drop)
    }

    async fn exchange(&self, grant: [u8; 16], spent: Row, seed: Option<[u8; 32]>, born: [Row; 2]) -> Done<()> {
        let now = sqlx::types::time::OffsetDateTime::now_utc();
        let exchange = sqlx::query(AssertSqlSafe(&*self.exchange))
            .bind(spent.hash.to_vec())
            .bind(spent.kind)
            .bind(grant.to_vec())
            .bind(now)
            .bind(random::<16>().to_vec())
            .bind(seed.map(Vec::from))
            .bind(true)
            .bind(now + std::time::Duration::from_secs(14 * 86_400));
        let row = bind_rows(exchange, &born).fetch_one(&self.pool).await?;
        let done: i64 = sqlx::Row::try_get(&row, 0)?;
        assert_eq!(done, 1);
        Ok(())
    }
}

struct Sqlite {
    pool: SqlitePool,
}

fn micros(hours: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_micros()).expect("this millennium") + hours * 3_600_000_000
}

impl Sqlite {
    async fn insert(connection: &mut sqlx::SqliteConnection, grant: [u8; 16], row: &Row) -> Done<()> {
        sqlx::query(
            "INSERT INTO grantor_tokens (hash, kind, grant_id, scope, issued_at, expires_at, parent, spent_at, spent_by, \
             seed, revoked_at, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(row.hash.to_vec())
        .bind(row.kind)
        .bind(grant.to_vec())
        .bind(SCOPE)
        .bind(micros(0))
        .bind(micros(1))
        .bind(row.parent.map(Vec::from))
        .bind(None::<i64>)
        .bind(None::<Vec<u8>>)
        .bind(None::<Vec<u8>>)
        .bind(None::<i64>)
        .bind(row.details())
        .execute(connection)
        .await
        .map(drop)
    }
}

impl Bare for Sqlite {
    async fn client(&self) -> Done<()> {
        sqlx::query(FIND_CLIENT).bind(CLIENT).fetch_one(&self.pool).await.map(drop)
    }

    async fn open(&self, grant: [u8; 16], subject: Option<&str>, token: Row) -> Done<()> {
        let mut write = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO grantor_grants (id, client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, \
             revoked_at, host_data, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(grant.to_vec())
        .bind(CLIENT)
        .bind(subject)
        .bind("authorization_code")
        .bind(SCOPE)
        .bind(micros(0))
        .bind(micros(0))
        .bind(micros(1))
        .bind(None::<i64>)
        .bind(None::<&str>)
        .bind(DETAILS)
        .execute(&mut *write)
        .await?;
        Self::insert(&mut write, grant, &token).await?;
        write.commit().await
    }

    async fn find(&self, hash: [u8; 32]) -> Done<()> {
        sqlx::query(FIND).bind(hash.to_vec()).fetch_one(&self.pool).await.map(drop)
    }

    async fn exchange(&self, grant: [u8; 16], spent: Row, seed: Option<[u8; 32]>, born: [Row; 2]) -> Done<()> {
        let mut write = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(FIND).bind(spent.hash.to_vec()).fetch_one(&mut *write).await?;
        sqlx::query("UPDATE grantor_tokens SET spent_at = $2, spent_by = $3, seed = $4 WHERE hash = $1")
            .bind(spent.hash.to_vec())
            .bind(micros(0))
            .bind(random::<16>().to_vec())
            .bind(seed.map(Vec::from))
            .execute(&mut *write)
            .await?;
        if let Some(parent) = spent.parent {
            sqlx::query("UPDATE grantor_tokens SET seed = NULL WHERE hash = $1 AND seed IS NOT NULL")
                .bind(parent.to_vec())
                .execute(&mut *write)
                .await?;
        }
        sqlx::query(
            "UPDATE grantor_grants SET last_used_at = max(last_used_at, $2), expires_at = max(expires_at, $3) WHERE id = $1",
        )
        .bind(grant.to_vec())
        .bind(micros(0))
        .bind(micros(14 * 24))
        .execute(&mut *write)
        .await?;
        for row in &born {
            Self::insert(&mut write, grant, row).await?;
        }
        write.commit().await
    }
}

fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

async fn compare(name: &str, ours: &Ours, bare: &impl Bare, quick: bool) -> Done<()> {
    let (rounds, operations) = if quick { (3, 5) } else { (60, 50) };
    println!("\n## {name}: {rounds} rounds of {operations} operations, one after the other\n");
    println!("| operation | round trips | grantor µs | bare µs | bare / grantor |");
    println!("|---|---|---:|---:|---:|");
    for (op, title, trips) in Op::ALL {
        let (mut times, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            // The two sides take turns in going first.
            let (time, bare) = if round % 2 == 0 {
                (ours.time(op, operations).await, bare.time(op, operations).await?)
            } else {
                let bare = bare.time(op, operations).await?;
                (ours.time(op, operations).await, bare)
            };
            // The first round only prepares the statements.
            if round > 0 {
                times.push(time / 1e3);
                bares.push(bare / 1e3);
                ratios.push(bare / time);
            }
        }
        println!(
            "| {title} | {trips} | {:.0} | {:.0} | {:.0} % |",
            middle(&times),
            middle(&bares),
            middle(&ratios) * 100.0
        );
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    if let Some(server) = postgres::Postgres::get() {
        let storage = PostgresStorage::connect(&server.database().await).await.expect("a storage");
        let bare = Postgresql::new(storage.pool().clone());
        compare("PostgreSQL over a socket, without fsync", &Ours::new(&storage).await, &bare, quick).await?;
        storage.pool().close().await;
    }
    let folder = std::env::temp_dir().join(format!("grantor-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let storage = SqliteStorage::open(folder.join("oauth.db")).await.expect("a storage");
    let bare = Sqlite { pool: storage.pool().clone() };
    compare("SQLite in a file, WAL, synchronous = FULL", &Ours::new(&storage).await, &bare, quick).await?;
    storage.pool().close().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
