//! Accounts in a database. SQLite and PostgreSQL use the same statements.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grantor::client::ClientParts;
use grantor::{Client, ClientId, Subject};

use super::{Accounts, Result};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS example_users (
    name          text NOT NULL PRIMARY KEY,
    password_hash text NOT NULL,
    display_name  text,
    applications  integer NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS example_applications (
    client_id     text NOT NULL PRIMARY KEY,
    owner         text NOT NULL REFERENCES example_users,
    place         integer NOT NULL
);
CREATE INDEX IF NOT EXISTS example_applications_by_owner ON example_applications (owner, place);
";

/// Makes nodes create the tables one after the other. `IF NOT EXISTS` alone fails if two nodes run it at the same time.
#[cfg(feature = "postgres")]
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(hashtextextended('example tables', 0))";

const PASSWORD_HASH: &str = "SELECT password_hash FROM example_users WHERE name = $1";

const ADD_USER: &str =
    "INSERT INTO example_users (name, password_hash) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING name";

const PUT_USER: &str = "INSERT INTO example_users (name, password_hash) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash";

const DISPLAY_NAME: &str = "SELECT display_name FROM example_users WHERE name = $1";

const SET_DISPLAY_NAME: &str = "UPDATE example_users SET display_name = $2 WHERE name = $1 RETURNING name";

/// Changes no row if the limit is reached. The update locks the row, so concurrent nodes can't exceed the limit.
const TAKE_PLACE: &str = "UPDATE example_users SET applications = applications + 1 \
     WHERE name = $1 AND applications < CAST($2 AS integer) RETURNING name";

/// Adds an application after all others of its owner. `MAX` is needed because some may have been removed.
const ADD_APPLICATION: &str = "INSERT INTO example_applications (client_id, owner, place) \
     SELECT CAST($1 AS text), CAST($2 AS text), COALESCE(MAX(place), 0) + 1 FROM example_applications WHERE owner = $2";

const IS_OWNER: &str = "SELECT client_id FROM example_applications WHERE client_id = $1 AND owner = $2";

const REMOVE_APPLICATION: &str =
    "DELETE FROM example_applications WHERE client_id = $1 AND owner = $2 RETURNING client_id";

const LEAVE_PLACE: &str = "UPDATE example_users SET applications = applications - 1 WHERE name = $1";

/// Joins the library's table of clients, whose columns are documented with its migrations. This takes one query instead
/// of one for each application.
const APPLICATIONS: &str = "SELECT CAST(clients.registration AS text) FROM example_applications own \
     JOIN grantor_clients clients ON clients.id = own.client_id WHERE own.owner = $1 ORDER BY own.place, own.client_id";

/// The database of the library's own records.
pub(crate) enum SqlAccounts {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

impl SqlAccounts {
    /// Creates missing tables.
    pub(crate) async fn open(self) -> Result<Self> {
        match &self {
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                sqlx::raw_sql(ONE_AT_A_TIME).execute(&mut *transaction).await?;
                sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => {
                sqlx::raw_sql(TABLES).execute(pool).await?;
            }
        }
        Ok(self)
    }

    /// Runs a statement and returns the first column of its rows.
    async fn rows(&self, statement: &'static str, values: &[&str]) -> Result<Vec<Option<String>>> {
        // The library's own steps have the same deadline.
        const DEADLINE: Duration = Duration::from_secs(5);
        macro_rules! fetch {
            ($pool:expr) => {{
                let query = sqlx::query_scalar(statement);
                values.iter().fold(query, |query, value| query.bind(*value)).fetch_all($pool).await
            }};
        }
        let rows = async {
            match self {
                #[cfg(feature = "postgres")]
                Self::Postgres(pool) => fetch!(pool),
                #[cfg(feature = "sqlite")]
                Self::Sqlite(pool) => fetch!(pool),
            }
        };
        Ok(tokio::time::timeout(DEADLINE, rows).await??)
    }
}

#[async_trait]
impl Accounts for SqlAccounts {
    async fn password_hash(&self, user: &Subject) -> Result<Option<String>> {
        Ok(self.rows(PASSWORD_HASH, &[user.as_str()]).await?.pop().flatten())
    }

    async fn add_user(&self, user: &Subject, password_hash: &str) -> Result<bool> {
        Ok(!self.rows(ADD_USER, &[user.as_str(), password_hash]).await?.is_empty())
    }

    async fn put_user(&self, user: &Subject, password_hash: &str) -> Result<()> {
        self.rows(PUT_USER, &[user.as_str(), password_hash]).await.map(drop)
    }

    async fn display_name(&self, user: &Subject) -> Result<Option<String>> {
        Ok(self.rows(DISPLAY_NAME, &[user.as_str()]).await?.pop().flatten())
    }

    async fn set_display_name(&self, user: &Subject, name: &str) -> Result<()> {
        let changed = self.rows(SET_DISPLAY_NAME, &[user.as_str(), name]).await?;
        if changed.is_empty() { Err("there is no such user".into()) } else { Ok(()) }
    }

    async fn add_application(&self, owner: &Subject, id: &ClientId, most: u32) -> Result<bool> {
        if self.rows(TAKE_PLACE, &[owner.as_str(), &most.to_string()]).await?.is_empty() {
            return Ok(false);
        }
        self.rows(ADD_APPLICATION, &[id.as_str(), owner.as_str()]).await?;
        Ok(true)
    }

    async fn is_owner(&self, user: &Subject, id: &ClientId) -> Result<bool> {
        Ok(!self.rows(IS_OWNER, &[id.as_str(), user.as_str()]).await?.is_empty())
    }

    /// If the second step fails, the place stays taken.
    async fn remove_application(&self, owner: &Subject, id: &ClientId) -> Result<()> {
        if !self.rows(REMOVE_APPLICATION, &[id.as_str(), owner.as_str()]).await?.is_empty() {
            self.rows(LEAVE_PLACE, &[owner.as_str()]).await?;
        }
        Ok(())
    }

    async fn applications(&self, owner: &Subject) -> Result<Vec<Arc<Client>>> {
        let registrations = self.rows(APPLICATIONS, &[owner.as_str()]).await?;
        let clients = registrations.iter().flatten().map(|registration| {
            let parts: ClientParts = serde_json::from_str(registration)?;
            Ok(Arc::new(Client::from_parts(parts)?))
        });
        clients.collect()
    }
}
