//! The implementation of [`Storage`].

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};
use sqlx::{SqlStr, SqliteExecutor};
use time::OffsetDateTime;

use super::{SqliteStorage, micros, to_storage_error};
use crate::error::StorageError;
use crate::record::{Grant, GrantId, StoredToken, Subject};
use crate::secret::TokenHash;
use crate::storage::sql::{
    BATCH, BySelector, LIST_START, LONG_AGO, host_data, json, kept_until, last_of, read_found, read_grant, row_count,
    selected,
};
use crate::storage::{
    Found, GrantPage, GrantSelector, IssuerError, Opened, RedeemOutcome, Redemption, Storage, check_grant_of,
    one_time_keys,
};

#[async_trait]
impl Storage for SqliteStorage {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        self.within(self.open_whole(grant, tokens)).await
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        self.within(self.look_up(&self.pool, token)).await
    }

    /// After a failure, the transaction may still have been committed. Then the row holds this attempt.
    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError> {
        let failure = match self.within(self.spend_or_refuse(redemption, successors)).await {
            Err(failure) if redemption.consume => failure,
            answer => return answer,
        };
        let is_ours =
            |token: &StoredToken| token.spent.as_ref().is_some_and(|spent| spent.attempt == redemption.attempt);
        match self.find(&redemption.token).await {
            Ok(Some(found)) if is_ours(&found.token) => Ok(RedeemOutcome::Done),
            _ => Err(failure),
        }
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.within(self.revoke_token(token, at)).await
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        let mut revoked = 0;
        // Repeated, because a grant may be opened between two batches, on the consent of a grant that this or another
        // revocation marks in a later batch.
        loop {
            revoked += self.revoke_selected(which, at).await?;
            if !which.covers_consents() || self.list_grants(which, LONG_AGO, &GrantPage::first(1)).await?.is_empty() {
                return Ok(revoked);
            }
        }
    }

    async fn list_grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        self.within(self.list(which, now, page)).await
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.purge(before, limit).await
    }

    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError> {
        self.claim(issuer).await
    }

    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError> {
        self.rebind(from, to).await
    }
}

impl SqliteStorage {
    /// Revokes the selected grants and their descendants. Returns how many were not revoked before.
    async fn revoke_selected(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        // In batches, so that other writers can run in between.
        let (mut after, mut revoked) = (LIST_START, 0);
        loop {
            let page = self.within(self.revoke_page(which, at, after)).await?;
            revoked += page.marked + page.descendants;
            if page.descendants >= BATCH as u64 {
                continue;
            }
            match page.last {
                Some(last) if page.len >= BATCH => after = last,
                _ => return Ok(revoked),
            }
        }
    }

    async fn open_whole(&self, grant: &Grant, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        check_grant_of(tokens, grant.id)?;
        let mut write = self.write().await?;
        // There is no other writer until the commit, so the rows do not change after they are read.
        let needed = [(grant.parent_grant, Opened::ParentDead), (grant.details.consent_grant, Opened::ConsentDead)];
        for (id, dead) in needed {
            let Some(id) = id else { continue };
            let find = sqlx::query(self.statements.find_live_grant.clone()).bind(id.as_bytes().as_slice());
            let find = find.bind(micros(grant.opened_at)).fetch_optional(&mut *write.transaction);
            if find.await.map_err(to_storage_error)?.is_none() {
                return Ok(dead);
            }
        }
        for key in one_time_keys(tokens) {
            let find = bind_hash(&self.statements.common.is_stored, &key.hash).fetch_optional(&mut *write.transaction);
            if find.await.map_err(to_storage_error)?.is_some() {
                return Ok(Opened::Taken);
            }
        }
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
            .bind(grant.parent_grant.as_ref().map(|id| id.as_bytes().as_slice()))
            .bind(grant.session.as_ref().map(|session| session.as_bytes().as_slice()))
            .bind(kept_until(tokens).map(micros))
            .execute(&mut *write.transaction)
            .await
            .map_err(to_storage_error)?;
        self.insert(tokens, &mut write.transaction).await?;
        write.commit().await?;
        Ok(Opened::Done)
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
                .bind(spent.and_then(|spent| spent.seed_until).map(micros))
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

    async fn spend_or_refuse(
        &self,
        redemption: &Redemption,
        successors: &[StoredToken],
    ) -> Result<RedeemOutcome, StorageError> {
        let mut write = self.write().await?;
        let found = self.look_up(&mut *write.transaction, &redemption.token).await?;
        if let Some(outcome) = redemption.refusal(found.as_ref().map(|found| (&*found.token, &*found.grant))) {
            return Ok(outcome);
        }
        check_grant_of(successors, redemption.grant_id)?;
        if redemption.consume {
            let spend = bind_hash(&self.statements.spend, &redemption.token).bind(micros(redemption.at));
            let spend = spend.bind(redemption.attempt.as_bytes().as_slice());
            let spend = spend.bind(redemption.seed.as_ref().map(|seed| seed.expose().as_slice()));
            let spend = spend.bind(redemption.seed_until.map(micros));
            spend.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
            if let Some(parent) = found.as_ref().and_then(|found| found.token.parent.as_ref()) {
                let erase = bind_hash(&self.statements.erase_seed, parent);
                erase.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
            }
        }
        sqlx::query(self.statements.move_grant.clone())
            .bind(redemption.grant_id.as_bytes().as_slice())
            .bind(micros(redemption.at))
            .bind(micros(redemption.grant_expires_at))
            .execute(&mut *write.transaction)
            .await
            .map_err(to_storage_error)?;
        self.insert(successors, &mut write.transaction).await?;
        write.commit().await?;
        Ok(RedeemOutcome::Done)
    }

    async fn revoke_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        let mut write = self.write().await?;
        let revoke = bind_hash(&self.statements.common.revoke_access_token, token).bind(micros(at));
        revoke.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
        write.commit().await
    }

    /// Revokes the next page of the selected grants and up to a batch of their descendants. It also finds descendants
    /// of grants that were already revoked. No other writer runs in between, so it misses no descendant.
    async fn revoke_page(
        &self,
        which: &GrantSelector,
        at: OffsetDateTime,
        after: (OffsetDateTime, GrantId),
    ) -> Result<RevokedPage, StorageError> {
        let statements = &self.statements.revoke;
        let on_page = |statement: &BySelector| {
            selecting(statement.of(which), which).bind(micros(after.0)).bind(after.1.as_bytes().to_vec())
        };
        let mut write = self.write().await?;
        let page = on_page(&statements.page).bind(row_count(BATCH));
        let page = page.fetch_all(&mut *write.transaction).await.map_err(to_storage_error)?;
        let (len, last) = (page.len(), last_of(&page)?);
        let mut done = RevokedPage { len, last, marked: 0, descendants: 0 };
        if let Some(last) = last {
            let up_to_last = |statement: &BySelector| {
                on_page(statement).bind(micros(last.0)).bind(last.1.as_bytes().to_vec()).bind(micros(at))
            };
            let marked = up_to_last(&statements.mark).execute(&mut *write.transaction);
            done.marked = marked.await.map_err(to_storage_error)?.rows_affected();
            let descend = up_to_last(&statements.descend).bind(row_count(BATCH));
            let descendants = descend.execute(&mut *write.transaction);
            done.descendants = descendants.await.map_err(to_storage_error)?.rows_affected();
            write.commit().await?;
        }
        Ok(done)
    }

    async fn list(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        let (before, id) = page.after.unwrap_or(LIST_START);
        let list = selecting(self.statements.common.list.of(which), which).bind(micros(now)).bind(micros(before));
        let list = list.bind(id.as_bytes().as_slice()).bind(row_count(page.limit));
        let found = list.fetch_all(&self.pool).await.map_err(to_storage_error)?;
        found.iter().map(read_grant).collect()
    }
}

/// The result of revoking one page of grants.
struct RevokedPage {
    len: usize,
    last: Option<(OffsetDateTime, GrantId)>,
    marked: u64,
    descendants: u64,
}

/// Returns the statement with the parts of a selector bound.
fn selecting(statement: SqlStr, which: &GrantSelector) -> Query<'_, Sqlite, SqliteArguments> {
    let (id, subject, client, session) = selected(which);
    sqlx::query(statement).bind(id).bind(subject).bind(client).bind(session)
}

fn bind_hash<'q>(statement: &SqlStr, hash: &'q TokenHash) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(statement.clone()).bind(hash.as_bytes().as_slice())
}
