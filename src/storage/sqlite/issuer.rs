//! The issuer of a storage in SQLite.

use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};

use super::{SqliteStorage, to_storage_error};
use crate::error::StorageError;
use crate::storage::IssuerError;
use crate::storage::sql::Cells;

impl SqliteStorage {
    pub(super) async fn claim(&self, issuer: &str) -> Result<(), IssuerError> {
        let claim = sqlx::query(self.statements.common.issuer.claim.clone()).bind(issuer);
        IssuerError::check(self.within(self.change_owner(claim)).await?.as_deref(), issuer)
    }

    pub(super) async fn rebind(&self, from: &str, to: &str) -> Result<(), IssuerError> {
        let rebind = sqlx::query(self.statements.common.issuer.rebind.clone()).bind(from).bind(to);
        IssuerError::check(self.within(self.change_owner(rebind)).await?.as_deref(), to)
    }

    /// Runs a statement and returns the owner of the storage after it.
    async fn change_owner(&self, change: Query<'_, Sqlite, SqliteArguments>) -> Result<Option<String>, StorageError> {
        let mut write = self.write().await?;
        change.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
        let find = sqlx::query(self.statements.common.issuer.find.clone());
        let found = find.fetch_optional(&mut *write.transaction).await.map_err(to_storage_error)?;
        let owner = found.map(|row| row.text(0).map(|owner| owner.map(str::to_owned)));
        let owner = owner.transpose()?.flatten();
        write.commit().await?;
        Ok(owner)
    }
}
