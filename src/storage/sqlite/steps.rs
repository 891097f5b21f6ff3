//! The steps of the contract on grants and tokens.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{SqlStr, SqliteExecutor};
use time::OffsetDateTime;

use super::{SqliteStorage, micros, to_storage_error};
use crate::error::StorageError;
use crate::record::{Grant, GrantId, StoredToken, Subject};
use crate::secret::TokenHash;
use crate::storage::sql::{
    BATCH, LIST_START, host_data, is_of_one, json, last_of, read_found, read_grant, row_count, selected,
};
use crate::storage::{Exchange, Found, GrantSelector, Page, Spend, Storage, check_grant_of};

#[async_trait]
impl Storage for SqliteStorage {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        self.within(self.open_whole(grant, tokens)).await
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        self.within(self.look_up(&self.pool, token)).await
    }

    /// If it fails, it may have been committed all the same; then its attempt stands in the row.
    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        let failure = match self.within(self.spend_or_refuse(spend, successors)).await {
            Err(failure) if spend.consume => failure,
            answer => return answer,
        };
        let is_ours = |token: &StoredToken| token.spent.as_ref().is_some_and(|spent| spent.attempt == spend.attempt);
        match self.find(&spend.token).await {
            Ok(Some(found)) if is_ours(&found.token) => Ok(Exchange::Done),
            _ => Err(failure),
        }
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.within(self.revoke_token(token, at)).await
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        // In batches, so that other writers get their turn.
        let (mut after, mut revoked) = (LIST_START, 0);
        loop {
            let done = self.within(self.revoke_some(which, at, after)).await?;
            revoked += done.len() as u64;
            match last_of(&done)? {
                Some(last) if done.len() >= BATCH => after = last,
                _ => return Ok(revoked),
            }
        }
    }

    async fn grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        self.within(self.list(which, now, page)).await
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.purge(before, limit).await
    }
}

impl SqliteStorage {
    async fn open_whole(&self, grant: &Grant, tokens: &[StoredToken]) -> Result<(), StorageError> {
        check_grant_of(tokens, grant.id)?;
        let mut write = self.write().await?;
        sqlx::query(self.statements.insert_grant.clone())
            .bind(grant.id.as_bytes().as_slice())
            .bind(grant.client_id.as_str())
            .bind(grant.subject.as_ref().map(Subject::as_str))
            .bind(grant.grant_type.as_str())
            .bind(grant.scope.as_str())
            .bind(micros(grant.opened_at))
            .bind(micros(grant.last_used_at))
            .bind(micros(grant.expires_at))
            .bind(grant.revoked_at.map(micros))
            .bind(host_data(grant)?)
            .bind(json(&grant.details)?)
            .execute(&mut *write.transaction)
            .await
            .map_err(to_storage_error)?;
        self.insert(tokens, &mut write.transaction).await?;
        write.commit().await
    }

    async fn insert(&self, tokens: &[StoredToken], connection: &mut SqliteConnection) -> Result<(), StorageError> {
        for token in tokens {
            let spent = token.spent.as_ref();
            sqlx::query(self.statements.insert_token.clone())
                .bind(token.hash.as_bytes().as_slice())
                .bind(token.kind.as_str())
                .bind(token.grant_id.as_bytes().as_slice())
                .bind(token.scope.as_str())
                .bind(micros(token.issued_at))
                .bind(micros(token.expires_at))
                .bind(token.parent.as_ref().map(|hash| hash.as_bytes().as_slice()))
                .bind(spent.map(|spent| micros(spent.at)))
                .bind(spent.map(|spent| spent.attempt.as_bytes().as_slice()))
                .bind(spent.and_then(|spent| spent.seed.as_ref()).map(|seed| seed.expose().as_slice()))
                .bind(token.revoked_at.map(micros))
                .bind(json(&token.details)?)
                .execute(&mut *connection)
                .await
                .map_err(to_storage_error)?;
        }
        Ok(())
    }

    async fn look_up(
        &self,
        executor: impl SqliteExecutor<'_>,
        token: &TokenHash,
    ) -> Result<Option<Found>, StorageError> {
        let find = sqlx::query(self.statements.common.find.clone()).bind(token.as_bytes().as_slice());
        let row = find.fetch_optional(executor).await.map_err(to_storage_error)?;
        row.map(|row| read_found(&row)).transpose()
    }

    async fn spend_or_refuse(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        let mut write = self.write().await?;
        let found = self.look_up(&mut *write.transaction, &spend.token).await?;
        if let Some(outcome) = spend.refusal(found.as_ref().map(|found| (&*found.token, &*found.grant))) {
            return Ok(outcome);
        }
        check_grant_of(successors, spend.grant_id)?;
        if spend.consume {
            let how = bind_hash(&self.statements.spend, &spend.token).bind(micros(spend.at));
            let how = how.bind(spend.attempt.as_bytes().as_slice());
            let how = how.bind(spend.seed.as_ref().map(|seed| seed.expose().as_slice()));
            how.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
            if let Some(parent) = found.as_ref().and_then(|found| found.token.parent.as_ref()) {
                let erase = bind_hash(&self.statements.erase_seed, parent);
                erase.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
            }
        }
        sqlx::query(self.statements.move_grant.clone())
            .bind(spend.grant_id.as_bytes().as_slice())
            .bind(micros(spend.at))
            .bind(micros(spend.grant_expires_at))
            .execute(&mut *write.transaction)
            .await
            .map_err(to_storage_error)?;
        self.insert(successors, &mut write.transaction).await?;
        write.commit().await?;
        Ok(Exchange::Done)
    }

    async fn revoke_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        let mut write = self.write().await?;
        let revoke = bind_hash(&self.statements.common.revoke_access_token, token).bind(micros(at));
        revoke.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
        write.commit().await
    }

    async fn revoke_some(
        &self,
        which: &GrantSelector,
        at: OffsetDateTime,
        after: (OffsetDateTime, GrantId),
    ) -> Result<Vec<SqliteRow>, StorageError> {
        let mut write = self.write().await?;
        let mut revoke = selecting(self.statements.common.revoke.of(which), which).bind(micros(at));
        if !is_of_one(which) {
            revoke = revoke.bind(micros(after.0)).bind(after.1.as_bytes().to_vec()).bind(row_count(BATCH));
        }
        let done = revoke.fetch_all(&mut *write.transaction).await.map_err(to_storage_error)?;
        write.commit().await?;
        Ok(done)
    }

    async fn list(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        let (before, id) = page.after.unwrap_or(LIST_START);
        let list = selecting(self.statements.common.list.of(which), which).bind(micros(now)).bind(micros(before));
        let list = list.bind(id.as_bytes().as_slice()).bind(row_count(page.limit));
        let found = list.fetch_all(&self.pool).await.map_err(to_storage_error)?;
        found.iter().map(|row| read_grant(row, 0)).collect()
    }
}

/// Binds what a selector names.
fn selecting(statement: SqlStr, which: &GrantSelector) -> Query<'_, Sqlite, SqliteArguments> {
    let (id, subject, client) = selected(which);
    sqlx::query(statement).bind(id).bind(subject).bind(client)
}

fn bind_hash<'q>(statement: &SqlStr, hash: &'q TokenHash) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(statement.clone()).bind(hash.as_bytes().as_slice())
}
