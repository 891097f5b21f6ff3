//! Clients.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::SqlStr;
use time::OffsetDateTime;

use super::{SqliteStorage, to_storage_error};
use crate::client::{Client, ClientCredential};
use crate::error::StorageError;
use crate::record::ClientId;
use crate::storage::sql::{json, read_client, row_count};
use crate::storage::{ClientRegistry, ClientStore, GrantSelector, RegistryError, Storage};

impl SqliteStorage {
    /// Inserts or updates a client; whether there was one to update, or room for it.
    async fn put(&self, statement: &SqlStr, client: &Client) -> Result<bool, StorageError> {
        let mut write = self.write().await?;
        let put = sqlx::query(statement.clone()).bind(client.id().as_str()).bind(json(client.parts())?);
        let done = put.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
        write.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    async fn rotate(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        let statements = &self.statements.common.clients;
        let mut write = self.write().await?;
        let found = sqlx::query(statements.find.clone()).bind(id.as_str()).fetch_optional(&mut *write.transaction);
        let mut parts =
            read_client(&found.await.map_err(to_storage_error)?.ok_or(RegistryError::Unknown)?)?.parts().clone();
        parts.rotate_credential(new, others_end);
        let registration = json(Client::from_parts(parts)?.parts())?;
        let update = sqlx::query(statements.update.clone()).bind(id.as_str()).bind(registration);
        update.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
        Ok(write.commit().await?)
    }

    async fn forget(&self, id: &ClientId) -> Result<(), StorageError> {
        let mut write = self.write().await?;
        let remove = sqlx::query(self.statements.remove_client.clone()).bind(id.as_str());
        remove.execute(&mut *write.transaction).await.map_err(to_storage_error)?;
        write.commit().await
    }
}

#[async_trait]
impl ClientStore for SqliteStorage {
    async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        let find = sqlx::query(self.statements.common.clients.find.clone()).bind(id);
        let row = self.within(async { find.fetch_optional(&self.pool).await.map_err(to_storage_error) }).await?;
        row.map(|row| read_client(&row)).transpose()
    }
}

#[async_trait]
impl ClientRegistry for SqliteStorage {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        let is_new = self.within(self.put(&self.statements.common.clients.insert, &client)).await?;
        if is_new { Ok(()) } else { Err(RegistryError::Taken) }
    }

    async fn update(&self, client: Client) -> Result<(), RegistryError> {
        let is_there = self.within(self.put(&self.statements.common.clients.update, &client)).await?;
        if is_there { Ok(()) } else { Err(RegistryError::Unknown) }
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        self.within(self.rotate(id, new, others_end)).await
    }

    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        self.within(self.forget(id)).await?;
        self.revoke_grants(&GrantSelector::Client(id.clone()), at).await?;
        Ok(())
    }

    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        // No identifier is empty, so all of them come after the empty text.
        let after = after.map_or("", ClientId::as_str);
        let list = sqlx::query(self.statements.common.clients.list.clone()).bind(after).bind(row_count(limit));
        let found = self.within(async { list.fetch_all(&self.pool).await.map_err(to_storage_error) }).await?;
        Ok(found.iter().map(read_client).collect::<Result<_, _>>()?)
    }
}
