//! The purge of the SQLite storage. It uses short transactions, so that other writers can run in between.

use sqlx::{Row, SqlStr};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{SqliteStorage, Write, micros, to_storage_error};
use crate::error::StorageError;
use crate::storage::sql::row_count;

/// The maximum number of rows that one transaction touches.
const BATCH: usize = 200;

impl SqliteStorage {
    pub(super) async fn purge(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let mut left = limit;
        self.in_batches(&mut left, |most| self.purge_grants(before, most)).await?;
        let (access_tokens, seeds) = (&self.statements.purge.access_tokens, &self.statements.purge.seeds);
        self.in_batches(&mut left, |most| self.one(access_tokens, before, most)).await?;
        self.in_batches(&mut left, |most| self.one(seeds, before, most)).await?;
        Ok(limit - left)
    }

    /// Repeats a batch until it touches fewer rows than it may, or until the limit `left` is used up.
    pub(super) async fn in_batches<F>(
        &self,
        left: &mut usize,
        batch: impl Fn(usize) -> F + Send,
    ) -> Result<(), StorageError>
    where
        F: Future<Output = Result<usize, StorageError>> + Send,
    {
        while *left > 0 {
            let most = BATCH.min(*left);
            let begun = Instant::now();
            let touched = self.within(batch(most)).await?;
            *left -= touched.min(*left);
            if touched < most {
                break;
            }
            // Other processes poll the lock instead of queueing, so leave it free for half of the time.
            tokio::time::sleep(begun.elapsed()).await;
        }
        Ok(())
    }

    pub(super) async fn one(
        &self,
        statement: &SqlStr,
        until: OffsetDateTime,
        most: usize,
    ) -> Result<usize, StorageError> {
        let mut write = self.write().await?;
        let touched = change(&mut write, statement, until, &[most]).await?;
        write.commit().await?;
        Ok(touched)
    }

    /// Completes cancelled revocations, then removes grants that have ended, with their tokens first. A grant that
    /// keeps some tokens is closed, so that a process whose clock is behind can't use it any more.
    async fn purge_grants(&self, before: OffsetDateTime, most: usize) -> Result<usize, StorageError> {
        let statements = &self.statements.purge;
        let mut write = self.write().await?;
        let orphans = change(&mut write, &statements.orphans, before, &[most]).await?;
        let room = most.saturating_sub(orphans);
        let delete = sqlx::query(statements.tokens_of_dead_grants.clone()).bind(micros(before));
        let delete = delete.bind(row_count(most)).bind(row_count(room));
        let tokens = delete.fetch_all(&mut *write.transaction).await.map_err(to_storage_error)?;
        let grants =
            change(&mut write, &statements.empty_grants, before, &[most, room.saturating_sub(tokens.len())]).await?;
        // If the batch is not full, all tokens of these grants are removed, and no grant needs to be closed.
        if tokens.len() >= room {
            let mut ids =
                tokens.iter().map(|row| row.try_get(0)).collect::<Result<Vec<&[u8]>, _>>().map_err(to_storage_error)?;
            ids.sort_unstable();
            ids.dedup();
            for id in ids {
                let close = sqlx::query(statements.close.clone()).bind(id);
                close.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
            }
        }
        write.commit().await?;
        Ok(orphans + tokens.len() + grants)
    }
}

async fn change(
    write: &mut Write,
    statement: &SqlStr,
    until: OffsetDateTime,
    limits: &[usize],
) -> Result<usize, StorageError> {
    let mut query = sqlx::query(statement.clone()).bind(micros(until));
    for limit in limits {
        query = query.bind(row_count(*limit));
    }
    let done = query.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}
