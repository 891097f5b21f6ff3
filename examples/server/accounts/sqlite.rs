//! Accounts in an SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use grantor::{Client, ClientId, Subject};
use sqlx::SqlitePool;

use super::statements::{self, within};
use super::{Accounts, Result};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS example_users (
    name          TEXT PRIMARY KEY NOT NULL,
    password_hash TEXT NOT NULL,
    display_name  TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS example_applications (
    client_id     TEXT PRIMARY KEY NOT NULL,
    owner         TEXT NOT NULL REFERENCES example_users,
    registered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS example_applications_by_owner ON example_applications (owner, registered_at);
";

pub(crate) struct SqliteAccounts(SqlitePool);

impl SqliteAccounts {
    /// Creates the tables unless they are there.
    pub(crate) async fn new(pool: SqlitePool) -> Result<Self> {
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        Ok(Self(pool))
    }
}

#[async_trait]
impl Accounts for SqliteAccounts {
    async fn password_hash(&self, user: &Subject) -> Result<Option<String>> {
        let find = sqlx::query_scalar(statements::PASSWORD_HASH).bind(user.as_str());
        within(async { Ok(find.fetch_optional(&self.0).await?) }).await
    }

    async fn add_user(&self, user: &Subject, password_hash: &str) -> Result<bool> {
        let add = sqlx::query(statements::ADD_USER).bind(user.as_str()).bind(password_hash);
        within(async { Ok(add.execute(&self.0).await?.rows_affected() == 1) }).await
    }

    async fn put_users(&self, users: &[(Subject, String)]) -> Result<()> {
        within(async {
            let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
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
        // SQLite has one writer at a time, and this is one from its beginning on.
        let add = sqlx::query(statements::ADD_APPLICATION);
        let add = add.bind(id.as_str()).bind(owner.as_str()).bind(statements::now()).bind(i64::from(most));
        within(async { Ok(add.execute(&self.0).await?.rows_affected() == 1) }).await
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
