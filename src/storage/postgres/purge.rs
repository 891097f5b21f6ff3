//! The purge: short transactions that step round whatever somebody else works on.

use sqlx::postgres::PgConnection;
use sqlx::{Row, SqlStr};
use time::OffsetDateTime;

use super::PostgresStorage;
use crate::error::StorageError;
use crate::storage::SEED_LIFETIME;
use crate::storage::sql::rows;

/// How many rows one transaction touches, so that it holds its locks for some milliseconds only.
const BATCH: usize = 1_000;

impl PostgresStorage {
    pub(super) async fn purge(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let mut left = limit;
        self.in_batches(&mut left, |most| self.bury(before, most)).await?;
        let (access_tokens, seeds) = (&self.statements.purge.access_tokens, &self.statements.purge.seeds);
        self.in_batches(&mut left, |most| self.one(access_tokens, before, most)).await?;
        let spent_before = before.saturating_sub(SEED_LIFETIME);
        self.in_batches(&mut left, |most| self.one(seeds, spent_before, most)).await?;
        Ok(limit - left)
    }

    /// Repeats a batch until it finds less than it may take, or nothing is left to be taken.
    async fn in_batches<F>(
        &self,
        left: &mut usize,
        batch: impl Fn(usize) -> F + Send + Sync,
    ) -> Result<(), StorageError>
    where
        F: Future<Output = Result<usize, sqlx::Error>> + Send,
    {
        while *left > 0 {
            let most = BATCH.min(*left);
            let touched = self.step(|| batch(most)).await?;
            *left -= touched.min(*left);
            if touched < most {
                break;
            }
        }
        Ok(())
    }

    async fn one(&self, statement: &SqlStr, until: OffsetDateTime, most: usize) -> Result<usize, sqlx::Error> {
        let done = sqlx::query(statement.clone()).bind(until).bind(rows(most)).execute(&self.pool).await?;
        Ok(count(done.rows_affected()))
    }

    /// Removes grants that have ended, their tokens first. A grant of which a part is left is closed for good, so that no node
    /// whose clock is behind revives it.
    async fn bury(&self, before: OffsetDateTime, most: usize) -> Result<usize, sqlx::Error> {
        let statements = &self.statements.purge;
        let mut transaction = self.pool.begin().await?;
        let dead = sqlx::query(statements.dead_grants.clone()).bind(before).bind(rows(most));
        let dead = dead.fetch_all(&mut *transaction).await?;
        let ids = dead.iter().map(|row| row.try_get(0)).collect::<Result<Vec<&[u8]>, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let tokens = remove(&mut transaction, &statements.their_tokens, &ids, most).await?;
        let grants = remove(&mut transaction, &statements.empty_grants, &ids, most - tokens.min(most)).await?;
        // Unless the batch is full, all their tokens are gone, and there is nothing to revive.
        if tokens >= most {
            sqlx::query(statements.close.clone()).bind(&ids).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(tokens + grants)
    }
}

async fn remove(
    connection: &mut PgConnection,
    statement: &SqlStr,
    grants: &[&[u8]],
    most: usize,
) -> Result<usize, sqlx::Error> {
    let done = sqlx::query(statement.clone()).bind(grants).bind(rows(most)).execute(connection).await?;
    Ok(count(done.rows_affected()))
}

fn count(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}
