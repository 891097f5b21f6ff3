//! The implementation of [`Storage`].

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{Row, SqlStr};
use time::OffsetDateTime;

use super::{Failure, PostgresStorage, is_connection_lost, to_storage_error};
use crate::error::StorageError;
use crate::record::{Grant, StoredToken, Subject};
use crate::secret::{Seed, TokenHash};
use crate::storage::sql::{
    BATCH, LIST_START, LONG_AGO, host_data, json, kept_until, last_of, read_found, read_grant, row_count, selected,
};
use crate::storage::{
    Found, GrantPage, GrantSelector, IssuerError, Opened, RedeemOutcome, Redemption, Storage, check_grant_of,
    one_time_keys,
};

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// The number of attempts of a redemption that was not possible, although a second statement finds no reason.
const REDEEM_ATTEMPTS: usize = 4;

#[async_trait]
impl Storage for PostgresStorage {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        check_grant_of(tokens, grant.id)?;
        let new = NewGrant {
            grant,
            host_data: host_data(grant)?,
            details: json(&grant.details)?,
            tokens: Columns::of(tokens)?,
        };
        let failure = match self.try_step(self.deadline(), || self.open(&new)).await {
            Ok(opened) => return Ok(opened),
            Err(failure) => failure,
        };
        if failure.is_taken() {
            // The call that stored the hash has committed, so a new statement sees its row.
            for key in one_time_keys(tokens) {
                let is_stored = || sqlx::query(self.statements.common.is_stored.clone()).bind(key.hash.as_bytes());
                if self.fetch(is_stored).await?.is_some() {
                    return Ok(Opened::Taken);
                }
            }
        }
        Err(failure.into_error())
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        let row = self.fetch(|| sqlx::query(self.statements.common.find.clone()).bind(token.as_bytes())).await?;
        row.map(|row| read_found(&row)).transpose()
    }

    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError> {
        if let Err(wrong_grant) = check_grant_of(successors, redemption.grant_id) {
            // In the order of the contract, the state of the token comes first.
            return self.why_not(redemption).await?.ok_or(wrong_grant);
        }
        let (columns, deadline) = (Columns::of(successors)?, self.deadline());
        for _ in 0..REDEEM_ATTEMPTS {
            match self.try_step(deadline, || self.spend_if_live(redemption, &columns)).await {
                Ok(true) => return Ok(RedeemOutcome::Done),
                Ok(false) => {}
                Err(failure) if failure.is_ambiguous() => return self.was_it_done(redemption, failure).await,
                Err(failure) => return Err(failure.into_error()),
            }
            if let Some(outcome) = self.why_not(redemption).await? {
                return Ok(outcome);
            }
        }
        Err(StorageError::unavailable("the state of the token kept changing while its redemption was retried"))
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        let statement = &self.statements.common.revoke_access_token;
        self.step(|| async {
            sqlx::query(statement.clone()).bind(token.as_bytes()).bind(at).execute(&self.pool).await
        })
        .await?;
        Ok(())
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        let mut revoked = 0;
        // Repeated, because a statement does not see a grant that is opened meanwhile on the consent of a grant that this
        // or another revocation is about to mark.
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
        let statement = self.statements.common.list.of(which);
        let (before, id) = page.after.unwrap_or(LIST_START);
        let found = self
            .step(|| async {
                let statement = selecting(statement.clone(), which).bind(now).bind(before).bind(id.as_bytes());
                statement.bind(row_count(page.limit)).fetch_all(&self.pool).await
            })
            .await?;
        found.iter().map(read_grant).collect()
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

impl PostgresStorage {
    async fn open(&self, new: &NewGrant<'_>) -> Result<Opened, sqlx::Error> {
        let (parent, consent) = (new.grant.parent_grant, new.grant.details.consent_grant);
        if parent.is_none() && consent.is_none() {
            new.bind(&self.statements.open_grant).execute(&self.pool).await?;
            return Ok(Opened::Done);
        }
        let consent = consent.as_ref().map(|id| id.as_bytes().as_slice());
        let row = new.bind(&self.statements.open_dependent).bind(consent).fetch_one(&self.pool).await?;
        Ok(match (row.try_get(0)?, row.try_get(1)?) {
            (false, _) => Opened::ParentDead,
            (true, false) => Opened::ConsentDead,
            (true, true) => Opened::Done,
        })
    }

    /// Revokes the selected grants and their descendants. Returns how many were not revoked before.
    async fn revoke_selected(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        // In batches, so that the time limit of a step is enough even for a client with a million grants.
        let (mut after, mut revoked) = (LIST_START, 0);
        loop {
            let page = self
                .step(|| async {
                    let page = selecting(self.statements.revoke_page.of(which), which).bind(at).bind(after.0);
                    page.bind(after.1.as_bytes()).bind(row_count(BATCH)).fetch_all(&self.pool).await
                })
                .await?;
            let Some(last) = last_of(&page)? else { return Ok(revoked) };
            for row in &page {
                revoked += u64::from(row.try_get::<bool, _>(2).map_err(to_storage_error)?);
            }
            revoked += self.revoke_descendants(&page, at).await?;
            if page.len() < BATCH {
                return Ok(revoked);
            }
            after = last;
        }
    }

    /// Revokes the descendants of revoked grants. If the statement waited for a call that opened a child, it does not
    /// see that child. So it is repeated until it finds nothing.
    async fn revoke_descendants(&self, of: &[PgRow], at: OffsetDateTime) -> Result<u64, StorageError> {
        let ids: Vec<&[u8]> =
            of.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>().map_err(to_storage_error)?;
        let mut revoked = 0;
        loop {
            let descend = || async {
                let descend = sqlx::query(self.statements.revoke_descendants.clone()).bind(&ids).bind(at);
                descend.bind(row_count(BATCH)).execute(&self.pool).await
            };
            match self.step(descend).await?.rows_affected() {
                0 => return Ok(revoked),
                some => revoked += some,
            }
        }
    }

    /// Reads one row. A read can always be repeated, so it is tried again after a lost connection, which may have
    /// broken while it was idle.
    pub(super) async fn fetch<'q>(
        &self,
        statement: impl Fn() -> Statement<'q> + Send + Sync,
    ) -> Result<Option<PgRow>, StorageError> {
        let (read, deadline) = (|| async { statement().fetch_optional(&self.pool).await }, self.deadline());
        match self.try_step(deadline, read).await {
            Err(Failure::Database(error)) if is_connection_lost(&error) => {
                self.try_step(deadline, read).await.map_err(Failure::into_error)
            }
            done => done.map_err(Failure::into_error),
        }
    }

    /// Returns the reason why a token can't be redeemed now, or `None` if it can.
    async fn why_not(&self, redemption: &Redemption) -> Result<Option<RedeemOutcome>, StorageError> {
        let found = self.find(&redemption.token).await?;
        Ok(redemption.refusal(found.as_ref().map(|found| (&*found.token, &*found.grant))))
    }

    async fn spend_if_live(&self, redemption: &Redemption, successors: &Columns<'_>) -> Result<bool, sqlx::Error> {
        let redemption = sqlx::query(self.statements.redeem.clone())
            .bind(redemption.token.as_bytes())
            .bind(redemption.kind.as_str())
            .bind(redemption.grant_id.as_bytes())
            .bind(redemption.at)
            .bind(redemption.attempt.as_bytes())
            .bind(redemption.seed.as_ref().map(Seed::expose))
            .bind(redemption.consume)
            .bind(redemption.grant_expires_at)
            .bind(redemption.seed_until);
        let done: i64 = successors.bind(redemption).fetch_one(&self.pool).await?.try_get(0)?;
        Ok(done == 1)
    }

    /// Checks whether a redemption was committed whose response was lost. If the row does not hold its attempt, it may
    /// still be committed later. The check has a separate time limit, because the limit of the call has often passed by
    /// then.
    async fn was_it_done(&self, redemption: &Redemption, failure: Failure) -> Result<RedeemOutcome, StorageError> {
        let is_ours =
            |token: &StoredToken| token.spent.as_ref().is_some_and(|spent| spent.attempt == redemption.attempt);
        match self.find(&redemption.token).await {
            Ok(Some(found)) if is_ours(&found.token) => Ok(RedeemOutcome::Done),
            _ => Err(failure.into_error()),
        }
    }
}

/// Returns the statement with the parts of a selector bound.
fn selecting(statement: SqlStr, which: &GrantSelector) -> Statement<'_> {
    let (id, subject, client, session) = selected(which);
    sqlx::query(statement).bind(id).bind(subject).bind(client).bind(session)
}

/// A grant to store, with its tokens.
struct NewGrant<'a> {
    grant: &'a Grant,
    host_data: Option<String>,
    details: String,
    tokens: Columns<'a>,
}

impl NewGrant<'_> {
    fn bind<'q>(&'q self, statement: &SqlStr) -> Statement<'q> {
        let grant = self.grant;
        let statement = sqlx::query(statement.clone())
            .bind(grant.id.as_bytes())
            .bind(grant.client_id.as_str())
            .bind(grant.subject.as_ref().map(Subject::as_str))
            .bind(grant.grant_type.as_str())
            .bind(grant.scope.as_str())
            .bind(grant.opened_at)
            .bind(grant.last_used_at)
            .bind(grant.expires_at)
            .bind(grant.revoked_at)
            .bind(&self.host_data)
            .bind(&self.details)
            .bind(grant.parent_grant.as_ref().map(|id| id.as_bytes().as_slice()))
            .bind(grant.session.as_ref().map(|session| session.as_bytes().as_slice()))
            .bind(kept_until(self.tokens.tokens));
        self.tokens.bind(statement)
    }
}

/// Tokens to store, to be bound column by column.
struct Columns<'a> {
    tokens: &'a [StoredToken],
    details: Vec<String>,
}

impl<'a> Columns<'a> {
    fn of(tokens: &'a [StoredToken]) -> Result<Self, StorageError> {
        let details = tokens.iter().map(|token| json(&token.details)).collect::<Result<_, _>>()?;
        Ok(Self { tokens, details })
    }

    /// Binds the columns in the order of `NEW_TOKENS`.
    fn bind<'q>(&self, statement: Statement<'q>) -> Statement<'q> {
        fn column<'a, T>(tokens: &'a [StoredToken], of: impl Fn(&'a StoredToken) -> T) -> Vec<T> {
            tokens.iter().map(of).collect()
        }
        let (tokens, spent) = (self.tokens, |token: &'a StoredToken| token.spent.as_ref());
        statement
            .bind(column(tokens, |token| token.hash.as_bytes().as_slice()))
            .bind(column(tokens, |token| token.kind.as_str()))
            .bind(column(tokens, |token| token.scope.as_str()))
            .bind(column(tokens, |token| token.issued_at))
            .bind(column(tokens, |token| token.expires_at))
            .bind(column(tokens, |token| token.parent.as_ref().map(|hash| hash.as_bytes().as_slice())))
            .bind(column(tokens, |token| spent(token).map(|spent| spent.at)))
            .bind(column(tokens, |token| spent(token).map(|spent| spent.attempt.as_bytes().as_slice())))
            .bind(column(tokens, |token| {
                spent(token).and_then(|spent| spent.seed.as_ref()).map(|seed| seed.expose().as_slice())
            }))
            .bind(column(tokens, |token| token.revoked_at))
            .bind(self.details.iter().map(String::as_str).collect::<Vec<_>>())
            .bind(column(tokens, |token| spent(token).and_then(|spent| spent.seed_until)))
    }
}
