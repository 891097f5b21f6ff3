//! The issuer of a storage in PostgreSQL. Each change is one statement. A second statement reads the owner afterwards.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;

use super::PostgresStorage;
use crate::error::StorageError;
use crate::storage::IssuerError;
use crate::storage::sql::Cells;

impl PostgresStorage {
    pub(super) async fn claim(&self, issuer: &str) -> Result<(), IssuerError> {
        let claim = || sqlx::query(self.statements.common.issuer.claim.clone()).bind(issuer);
        IssuerError::check(self.change_owner(claim).await?.as_deref(), issuer)
    }

    pub(super) async fn rebind(&self, from: &str, to: &str) -> Result<(), IssuerError> {
        let rebind = || sqlx::query(self.statements.common.issuer.rebind.clone()).bind(from).bind(to);
        IssuerError::check(self.change_owner(rebind).await?.as_deref(), to)
    }

    /// Runs a statement and returns the owner of the storage after it.
    async fn change_owner<'q>(
        &self,
        change: impl Fn() -> Query<'q, Postgres, PgArguments> + Send + Sync,
    ) -> Result<Option<String>, StorageError> {
        self.step(|| async { change().execute(&self.pool).await }).await?;
        let found = self.fetch(|| sqlx::query(self.statements.common.issuer.find.clone())).await?;
        let owner = found.map(|row| row.text(0).map(|owner| owner.map(str::to_owned)));
        Ok(owner.transpose()?.flatten())
    }
}
