//! The purge of the PostgreSQL storage. It uses short statements, which skip rows that other transactions have locked.

use sqlx::SqlStr;
use time::OffsetDateTime;

use super::PostgresStorage;
use crate::error::StorageError;
use crate::storage::sql::row_count;

/// The maximum number of rows that one statement touches. It is low, so that locks are held for a few milliseconds
/// only.
pub(super) const BATCH: usize = 1_000;

impl PostgresStorage {
    pub(super) async fn purge(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let statements = &self.statements.purge;
        let mut left = limit;
        // Alternates, because each statement only visits the first grants that have ended. Empty grants must be removed
        // before the tokens of further grants can be found.
        while {
            self.in_batches(&mut left, &statements.orphans, before).await?;
            self.in_batches(&mut left, &statements.empty_grants, before).await?;
            self.batch(&mut left, &statements.tokens_of_dead_grants, before).await? > 0
        } {}
        self.in_batches(&mut left, &statements.access_tokens, before).await?;
        self.in_batches(&mut left, &statements.seeds, before).await?;
        Ok(limit - left)
    }

    /// Repeats a statement until it touches fewer rows than it may, or until the limit `left` is used up.
    pub(super) async fn in_batches(
        &self,
        left: &mut usize,
        statement: &SqlStr,
        until: OffsetDateTime,
    ) -> Result<(), StorageError> {
        while self.batch(left, statement, until).await? == BATCH {}
        Ok(())
    }

    /// Runs a statement once, unless the limit `left` is used up. Returns how many rows it touched.
    async fn batch(&self, left: &mut usize, statement: &SqlStr, until: OffsetDateTime) -> Result<usize, StorageError> {
        let most = BATCH.min(*left);
        if most == 0 {
            return Ok(0);
        }
        let run =
            || async { sqlx::query(statement.clone()).bind(until).bind(row_count(most)).execute(&self.pool).await };
        let touched = usize::try_from(self.step(run).await?.rows_affected()).unwrap_or(most);
        *left -= touched.min(*left);
        Ok(touched)
    }
}
