//! Opens the storage: memory, an SQLite file or a PostgreSQL database.

use std::sync::Arc;

use grantor::MemoryStorage;
use grantor::storage::AnyStorage;

use crate::StartError;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::accounts::SqlAccounts;
use crate::accounts::{Accounts, MemoryAccounts};

/// With SQLite, a file in the current directory.
const DEFAULT: &str = if cfg!(feature = "sqlite") { "sqlite:grantor.db" } else { "memory" };

/// A storage that is ready.
pub(crate) struct Opened {
    pub(crate) storage: Arc<dyn AnyStorage>,
    pub(crate) accounts: Arc<dyn Accounts>,
    /// The place of the storage, without a password. `None` if it is in memory.
    pub(crate) place: Option<String>,
}

/// Opens the storage that `--storage` names, and creates missing tables. Errors don't contain the flag, because it can
/// contain a password.
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(clippy::unused_async, reason = "only databases are opened asynchronously")
)]
pub(crate) async fn open(flag: Option<&str>) -> Result<Opened, StartError> {
    let flag = flag.unwrap_or(DEFAULT);
    match flag.split_once(':') {
        None if flag == "memory" => Ok(memory()),
        #[cfg(feature = "sqlite")]
        Some(("sqlite", file)) if is_file_name(file) => sqlite(file).await,
        #[cfg(not(feature = "sqlite"))]
        Some(("sqlite", file)) if is_file_name(file) => not_built_in("SQLite", "sqlite"),
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => postgres(flag).await,
        #[cfg(not(feature = "postgres"))]
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => not_built_in("PostgreSQL", "postgres"),
        _ => Err("the value of --storage is invalid: use memory, sqlite:FILE or postgres://USER@HOST/DATABASE".into()),
    }
}

/// Rejects URLs, and names that SQLite reads as a database in memory. Each connection would have its own.
fn is_file_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with("//") && !text.starts_with("file:") && text != ":memory:"
}

fn memory() -> Opened {
    let storage = MemoryStorage::new();
    let accounts = Arc::new(MemoryAccounts::new(storage.clone()));
    opened(storage, accounts, None)
}

fn opened(storage: impl AnyStorage + 'static, accounts: Arc<dyn Accounts>, place: Option<String>) -> Opened {
    Opened { storage: Arc::new(storage), accounts, place }
}

#[cfg(feature = "sqlite")]
async fn sqlite(file: &str) -> Result<Opened, StartError> {
    for_the_owner_only(file).map_err(|error| format!("can't open the SQLite file {file}: {error}"))?;
    let opened = grantor::storage::SqliteStorage::open(file).await;
    let storage = opened.map_err(|error| format!("can't open the SQLite file {file}: {}", cause(&error)))?;
    let accounts = Arc::new(SqlAccounts::Sqlite(storage.pool().clone()).open().await?);
    let place = Some(format!("the SQLite file {file}"));
    Ok(self::opened(storage, accounts, place))
}

/// Creates a missing file with permissions for its owner only. SQLite would let all users read it. The two files that
/// SQLite creates beside it get the same permissions.
#[cfg(feature = "sqlite")]
fn for_the_owner_only(file: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Opened, StartError> {
    if has_raw_password(url) {
        return Err(
            "the password in the URL of --storage has reserved characters: write @, /, ? and # as %40, %2F, %3F and %23, \
             or use PGPASSWORD"
                .into(),
        );
    }
    let options = url.parse::<sqlx::postgres::PgConnectOptions>();
    let options = options.map_err(|error| format!("the postgres:// URL of --storage is malformed: {error}"))?;
    let host = options.get_socket().map_or_else(
        || format!("{}:{}", options.get_host(), options.get_port()),
        |socket| socket.display().to_string(),
    );
    let name = options.get_database().unwrap_or_else(|| options.get_username());
    let place = format!("the PostgreSQL database {name} at {host}");
    let opened = grantor::storage::PostgresStorage::connect(url).await;
    let storage = opened.map_err(|error| format!("can't open {place}: {}", cause(&error)))?;
    let accounts = Arc::new(SqlAccounts::Postgres(storage.pool().clone()).open().await?);
    Ok(self::opened(storage, accounts, Some(place)))
}

/// Returns whether a part of the password would be read as the host or the database name, which are printed.
#[cfg(feature = "postgres")]
fn has_raw_password(url: &str) -> bool {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    // A user name and the start of a password, but no host: the host is in what looks like the query.
    let is_cut = query.contains('@') && !address.contains('@') && address.matches(':').count() > 1;
    let after_authority = address.splitn(4, '/').nth(3).unwrap_or_default();
    address.matches('@').count() > 1 || is_cut || after_authority.contains('@') || address.contains('#')
}

#[cfg(not(all(feature = "postgres", feature = "sqlite")))]
fn not_built_in(database: &str, feature: &str) -> Result<Opened, StartError> {
    Err(format!("this server was built without {database}: build it with --features axum,{feature}").into())
}

/// Returns the innermost error. The outer one says only that the storage failed.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn cause(error: &grantor::StorageError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| (*error).source());
    causes.map(ToString::to_string).last().unwrap_or_else(|| error.to_string())
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn password_with_reserved_characters_is_noticed() {
        for url in ["postgres://u:p@h/db", "postgres://u:p%40@h:1/db?host=/run/a@b", "postgres://h", "postgresql:///db"]
        {
            assert!(!has_raw_password(url), "{url}");
        }
        for url in [
            "postgres://u:p@q@h/db",
            "postgres://u:1/q@h/db",
            "postgres://u:1#q@h/db",
            "postgres://u:p@q/r@h/db",
            "postgres://u:1?q@h/db",
        ] {
            assert!(has_raw_password(url), "{url}");
        }
    }
}
