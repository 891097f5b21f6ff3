//! Ephemeral entries in SQLite. The version of an entry is its row number. Each write creates a new row, and
//! `AUTOINCREMENT` never uses a number twice.

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use time::OffsetDateTime;

use super::{SqliteStorage, micros, to_storage_error};
use crate::error::StorageError;
use crate::storage::ephemeral::{
    Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned, check_value,
};
use crate::storage::sql::{Writing, number_of, read_due, read_value, read_version, read_versioned, row_count};

/// `OR REPLACE` removes the row with the same key and inserts a new one.
pub(super) const WRITING: Writing = Writing {
    insert: "INSERT OR REPLACE INTO {ephemeral} (key, namespace, value, expires_at) SELECT $1, $2, $3, $4 \
             WHERE NOT EXISTS (SELECT 1 FROM {ephemeral} WHERE key = $1 AND expires_at > $5) RETURNING version",
    replace: "INSERT OR REPLACE INTO {ephemeral} (key, namespace, value, expires_at) SELECT $1, $2, $3, $4 \
              WHERE EXISTS (SELECT 1 FROM {ephemeral} WHERE key = $1 AND version = $6 AND expires_at > $5) \
              RETURNING version",
    purge: "DELETE FROM {ephemeral} WHERE version IN ( \
            SELECT version FROM {ephemeral} WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
};

impl SqliteStorage {
    /// Runs a statement that writes at most one row and returns columns of it.
    async fn change(&self, statement: Query<'_, Sqlite, SqliteArguments>) -> Result<Option<SqliteRow>, StorageError> {
        let mut write = self.write().await?;
        let mut changed = statement.fetch_all(&mut *write.transaction).await.map_err(to_storage_error)?;
        write.commit().await?;
        Ok(changed.pop())
    }
}

#[async_trait]
impl EphemeralStore for SqliteStorage {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        check_value(value)?;
        let insert = sqlx::query(self.statements.ephemeral.insert.clone())
            .bind(key.as_bytes().as_slice())
            .bind(key.namespace().to_string())
            .bind(value)
            .bind(micros(expires_at))
            .bind(micros(now));
        match self.within(self.change(insert)).await? {
            Some(row) => Ok(Inserted::New(read_version(&row)?)),
            None => Ok(Inserted::Taken),
        }
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        let get = sqlx::query(self.statements.ephemeral.get.clone()).bind(key.as_bytes().as_slice()).bind(micros(now));
        let row = self.within(async { get.fetch_optional(&self.pool).await.map_err(to_storage_error) }).await?;
        row.as_ref().map(read_versioned).transpose()
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        let take =
            sqlx::query(self.statements.ephemeral.take.clone()).bind(key.as_bytes().as_slice()).bind(micros(now));
        self.within(self.change(take)).await?.as_ref().map(read_value).transpose()
    }

    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        check_value(value)?;
        let replace = sqlx::query(self.statements.ephemeral.replace.clone())
            .bind(key.as_bytes().as_slice())
            .bind(key.namespace().to_string())
            .bind(value)
            .bind(micros(expires_at))
            .bind(micros(now))
            .bind(number_of(expected));
        self.within(self.change(replace)).await?.map(|row| read_version(&row)).transpose()
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        let due = sqlx::query(self.statements.ephemeral.due.clone())
            .bind(namespace.to_string())
            .bind(micros(at))
            .bind(row_count(limit));
        let rows = self.within(async { due.fetch_all(&self.pool).await.map_err(to_storage_error) }).await?;
        rows.iter().map(read_due).collect()
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let (mut left, purge) = (limit, &self.statements.ephemeral.purge);
        self.in_batches(&mut left, |most| self.one(purge, before, most)).await?;
        Ok(limit - left)
    }
}
