//! Accounts in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use grantor::{Client, ClientId, Subject};
use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgPool, Postgres};

use super::statements::{self, within};
use super::{Accounts, Result};

const TABLES: &str = r#"
CREATE TABLE IF NOT EXISTS example_users (
    name          text COLLATE "C" PRIMARY KEY,
    password_hash text NOT NULL,
    display_name  text
);
CREATE TABLE IF NOT EXISTS example_applications (
    client_id     text COLLATE "C" PRIMARY KEY,
    owner         text COLLATE "C" NOT NULL REFERENCES example_users,
    registered_at bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS example_applications_by_owner ON example_applications (owner, registered_at);
"#;

/// Two that say `IF NOT EXISTS` at the same moment can both find that it does not: one server at a time.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(hashtextextended('example tables', 0))";

pub(crate) struct PostgresAccounts(PgPool);

impl PostgresAccounts {
    /// Creates the tables unless they are there.
    pub(crate) async fn new(pool: PgPool) -> Result<Self> {
        let mut connection = for_a_transaction(&pool).await?;
        let mut transaction = connection.begin().await?;
        sqlx::query(ONE_AT_A_TIME).execute(&mut *transaction).await?;
        sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Self(pool))
    }
}

/// A connection that is closed afterwards. A handler is dropped when its browser hangs up, and `sqlx` 0.9.0 may then give a
/// connection back to the pool in the transaction that was just to begin (its issue 4393): whatever the library wrote
/// with it next would not be committed.
async fn for_a_transaction(pool: &PgPool) -> Result<PoolConnection<Postgres>> {
    let mut connection = pool.acquire().await?;
    connection.close_on_drop();
    Ok(connection)
}

#[async_trait]
impl Accounts for PostgresAccounts {
    async fn password_hash(&self, user: &Subject) -> Result<Option<String>> {
        let find = sqlx::query_scalar(statements::PASSWORD_HASH).bind(user.as_str());
        within(async { Ok(find.fetch_optional(&self.0).await?) }).await
    }

    async fn add_user(&self, user: &Subject, password_hash: &str) -> Result<bool> {
        let add = sqlx::query(statements::ADD_USER).bind(user.as_str()).bind(password_hash);
        within(async { Ok(add.execute(&self.0).await?.rows_affected() == 1) }).await
    }

    async fn put_users(&self, users: &[(Subject, String)]) -> Result<()> {
        // Servers that do this at once lock the rows in the same order, so none waits for one that waits for it.
        let mut users: Vec<_> = users.iter().collect();
        users.sort_by_key(|(user, _)| user.as_str());
        within(async {
            let mut connection = for_a_transaction(&self.0).await?;
            let mut transaction = connection.begin().await?;
            for (user, password_hash) in users {
                let put = sqlx::query(statements::PUT_USER).bind(user.as_str()).bind(password_hash);
                put.execute(&mut *transaction).await?;
            }
            Ok(transaction.commit().await?)
        })
        .await
    }

    async fn display_name(&self, user: &Subject) -> Result<Option<String>> {
        let find = sqlx::query_scalar::<_, Option<String>>(statements::DISPLAY_NAME).bind(user.as_str());
        within(async { Ok(find.fetch_optional(&self.0).await?.flatten()) }).await
    }

    async fn set_display_name(&self, user: &Subject, name: &str) -> Result<()> {
        let set = sqlx::query(statements::SET_DISPLAY_NAME).bind(user.as_str()).bind(name);
        match within(async { Ok(set.execute(&self.0).await?.rows_affected()) }).await? {
            0 => Err("there is no such user".into()),
            _ => Ok(()),
        }
    }

    async fn add_application(&self, owner: &Subject, id: &ClientId, most: u32) -> Result<bool> {
        within(async {
            let mut connection = for_a_transaction(&self.0).await?;
            let mut transaction = connection.begin().await?;
            // Whoever waits for this lock counts afterwards, in a new statement, which sees what the other has added.
            let lock = sqlx::query("SELECT 1 FROM example_users WHERE name = $1 FOR UPDATE").bind(owner.as_str());
            lock.execute(&mut *transaction).await?;
            let add = sqlx::query(statements::ADD_APPLICATION);
            let add = add.bind(id.as_str()).bind(owner.as_str()).bind(statements::now()).bind(i64::from(most));
            let added = add.execute(&mut *transaction).await?.rows_affected() == 1;
            transaction.commit().await?;
            Ok(added)
        })
        .await
    }

    async fn remove_application(&self, id: &ClientId) -> Result<()> {
        let remove = sqlx::query(statements::REMOVE_APPLICATION).bind(id.as_str());
        within(async { Ok(remove.execute(&self.0).await.map(drop)?) }).await
    }

    async fn applications(&self, owner: &Subject) -> Result<Vec<Arc<Client>>> {
        let list = sqlx::query_scalar::<_, String>(statements::APPLICATIONS).bind(owner.as_str());
        let found = within(async { Ok(list.fetch_all(&self.0).await?) }).await?;
        found.iter().map(|registration| statements::client(registration)).collect()
    }
}
