//! Ephemeral entries in PostgreSQL. Each step is one statement. After waiting for a lock, a statement reads the current
//! row again, so that of many statements that race for an entry one wins.

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use time::OffsetDateTime;

use super::PostgresStorage;
use crate::error::StorageError;
use crate::storage::ephemeral::{
    Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned, check_value,
};
use crate::storage::sql::{Writing, number_of, read_due, read_value, read_version, read_versioned, row_count};

/// `DEFAULT` takes the version from the sequence of the column, which never uses a number twice.
pub(super) const WRITING: Writing = Writing {
    insert: "INSERT INTO {ephemeral} AS e (key, namespace, value, expires_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (key) DO UPDATE SET namespace = EXCLUDED.namespace, value = EXCLUDED.value, \
             expires_at = EXCLUDED.expires_at, version = DEFAULT WHERE e.expires_at <= $5 RETURNING version",
    replace: "UPDATE {ephemeral} SET namespace = $2, value = $3, expires_at = $4, version = DEFAULT \
              WHERE key = $1 AND version = $6 AND expires_at > $5 RETURNING version",
    purge: "DELETE FROM {ephemeral} WHERE expires_at <= $1 AND key = ANY(ARRAY( \
            SELECT key FROM {ephemeral} WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
};

impl PostgresStorage {
    /// Runs a statement that writes at most one row and returns columns of it.
    async fn change<'q>(
        &self,
        statement: impl Fn() -> Query<'q, Postgres, PgArguments> + Send + Sync,
    ) -> Result<Option<PgRow>, StorageError> {
        self.step(|| async { statement().fetch_optional(&self.pool).await }).await
    }
}

#[async_trait]
impl EphemeralStore for PostgresStorage {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        check_value(value)?;
        let namespace = key.namespace();
        let insert = || {
            sqlx::query(self.statements.ephemeral.insert.clone())
                .bind(key.as_bytes())
                .bind(namespace.as_str())
                .bind(value)
                .bind(expires_at)
                .bind(now)
        };
        match self.change(insert).await? {
            Some(row) => Ok(Inserted::New(read_version(&row)?)),
            None => Ok(Inserted::Taken),
        }
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        let statement = &self.statements.ephemeral.get;
        let row = self.fetch(|| sqlx::query(statement.clone()).bind(key.as_bytes()).bind(now)).await?;
        row.as_ref().map(read_versioned).transpose()
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        let statement = &self.statements.ephemeral.take;
        let row = self.change(|| sqlx::query(statement.clone()).bind(key.as_bytes()).bind(now)).await?;
        row.as_ref().map(read_value).transpose()
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
        let namespace = key.namespace();
        let replace = || {
            sqlx::query(self.statements.ephemeral.replace.clone())
                .bind(key.as_bytes())
                .bind(namespace.as_str())
                .bind(value)
                .bind(expires_at)
                .bind(now)
                .bind(number_of(expected))
        };
        self.change(replace).await?.map(|row| read_version(&row)).transpose()
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        let statement = &self.statements.ephemeral.due;
        let list = || async {
            let due = sqlx::query(statement.clone()).bind(namespace.as_str()).bind(at).bind(row_count(limit));
            due.fetch_all(&self.pool).await
        };
        self.step(list).await?.iter().map(read_due).collect()
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let mut left = limit;
        self.in_batches(&mut left, &self.statements.ephemeral.purge, before).await?;
        Ok(limit - left)
    }
}
