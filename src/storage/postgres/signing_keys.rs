//! The signing keys of a server in PostgreSQL. Each change is one statement.

use async_trait::async_trait;

use super::PostgresStorage;
use crate::error::StorageError;
use crate::storage::sql::read_signing_keys;
use crate::storage::{KeyStore, StoredKeys};

#[async_trait]
impl KeyStore for PostgresStorage {
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError> {
        let row = self.fetch(|| sqlx::query(self.statements.common.signing_keys.load.clone())).await?;
        row.as_ref().map(read_signing_keys).transpose()
    }

    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError> {
        let statements = &self.statements.common.signing_keys;
        let replace = || match expected {
            None => sqlx::query(statements.insert.clone()).bind(value),
            Some(version) => sqlx::query(statements.replace.clone()).bind(value).bind(version),
        };
        let done = self.step(|| async { replace().execute(&self.pool).await }).await?;
        Ok(done.rows_affected() == 1)
    }
}
