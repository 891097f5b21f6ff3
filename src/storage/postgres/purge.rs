//! The purge: short statements that step round whatever somebody else works on.

use sqlx::SqlStr;
use time::OffsetDateTime;

use super::PostgresStorage;
use crate::error::StorageError;
use crate::storage::SEED_LIFETIME;
use crate::storage::sql::rows;

/// How many rows one statement touches, so that it holds its locks for some milliseconds only.
const BATCH: usize = 1_000;

impl PostgresStorage {
    pub(super) async fn purge(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let statements = &self.statements.purge;
        let mut left = limit;
        // Tokens first: a grant goes when it has none left.
        for statement in [&statements.tokens_of_dead_grants, &statements.empty_grants, &statements.access_tokens] {
            self.in_batches(&mut left, statement, before).await?;
        }
        self.in_batches(&mut left, &statements.seeds, before.saturating_sub(SEED_LIFETIME)).await?;
        Ok(limit - left)
    }

    /// Repeats a statement until it finds less than it may touch, or nothing is left to be touched.
    async fn in_batches(
        &self,
        left: &mut usize,
        statement: &SqlStr,
        until: OffsetDateTime,
    ) -> Result<(), StorageError> {
        while *left > 0 {
            let most = BATCH.min(*left);
            let done = self
                .step(|| async {
                    sqlx::query(statement.clone()).bind(until).bind(rows(most)).execute(&self.pool).await
                })
                .await?;
            let touched = usize::try_from(done.rows_affected()).unwrap_or(most);
            *left -= touched.min(*left);
            if touched < most {
                break;
            }
        }
        Ok(())
    }
}
