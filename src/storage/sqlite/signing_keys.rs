//! The signing keys of a server in SQLite.

use async_trait::async_trait;

use super::{SqliteStorage, to_storage_error};
use crate::error::StorageError;
use crate::storage::sql::read_signing_keys;
use crate::storage::{KeyStore, StoredKeys};

#[async_trait]
impl KeyStore for SqliteStorage {
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError> {
        let load = sqlx::query(self.statements.common.signing_keys.load.clone());
        let row = self.within(async { load.fetch_optional(&self.pool).await.map_err(to_storage_error) }).await?;
        row.as_ref().map(read_signing_keys).transpose()
    }

    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError> {
        let statements = &self.statements.common.signing_keys;
        let replace = match expected {
            None => sqlx::query(statements.insert.clone()).bind(value),
            Some(version) => sqlx::query(statements.replace.clone()).bind(value).bind(version),
        };
        let replace = async {
            let mut write = self.write().await?;
            let done = replace.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
            write.commit().await?;
            Ok(done.rows_affected() == 1)
        };
        self.within(replace).await
    }
}
