//! Clients in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{SqliteStorage, to_storage_error};
use crate::client::{Client, ClientCredential, ClientVersion};
use crate::error::StorageError;
use crate::record::ClientId;
use crate::storage::sql::{json, read_client, row_count};
use crate::storage::{
    ClientRegistry, ClientStore, GrantSelector, RegistryError, Storage, check_members, check_version,
};

impl SqliteStorage {
    /// Inserts a client. Returns `false` if its identifier is taken.
    async fn insert_client(&self, client: &Client) -> Result<bool, StorageError> {
        let mut write = self.write().await?;
        let insert = sqlx::query(self.statements.common.clients.insert.clone()).bind(client.id().as_str());
        let insert = insert.bind(json(client.parts())?).execute(&mut *write.transaction);
        let done = insert.await.map_err(to_storage_error)?;
        write.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Replaces a client by the result of a closure, in one transaction.
    async fn change_client(
        &self,
        id: &ClientId,
        change: impl FnOnce(&Client) -> Result<Client, RegistryError> + Send,
    ) -> Result<(), RegistryError> {
        let mut write = self.write().await?;
        let found = sqlx::query(self.statements.common.clients.find.clone())
            .bind(id.as_str())
            .fetch_optional(&mut *write.transaction);
        let found = read_client(&found.await.map_err(to_storage_error)?.ok_or(RegistryError::Unknown)?)?;
        check_members(&found)?;
        let registration = json(change(&found)?.parts())?;
        let update = sqlx::query(self.statements.update_client.clone()).bind(id.as_str()).bind(registration);
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
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        let find = sqlx::query(self.statements.common.clients.find.clone()).bind(id);
        let row = self.within(async { find.fetch_optional(&self.pool).await.map_err(to_storage_error) }).await?;
        row.map(|row| read_client(&row)).transpose()
    }
}

#[async_trait]
impl ClientRegistry for SqliteStorage {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        let is_new = self.within(self.insert_client(&client)).await?;
        if is_new { Ok(()) } else { Err(RegistryError::Taken) }
    }

    async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError> {
        let replace = |found: &Client| check_version(found, expected).map(|()| client.clone());
        self.within(self.change_client(client.id(), replace)).await
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        let rotate = |found: &Client| {
            let mut parts = found.parts().clone();
            parts.rotate_credential(new, others_end);
            Ok(Client::from_parts(parts)?)
        };
        self.within(self.change_client(id, rotate)).await
    }

    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        self.within(self.forget(id)).await?;
        self.revoke_grants(&GrantSelector::Client(id.clone()), at).await?;
        Ok(())
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        // No identifier is empty, so all identifiers come after the empty text.
        let after = after.map_or("", ClientId::as_str);
        let list = sqlx::query(self.statements.common.clients.list.clone()).bind(after).bind(row_count(limit));
        let found = self.within(async { list.fetch_all(&self.pool).await.map_err(to_storage_error) }).await?;
        Ok(found.iter().map(read_client).collect::<Result<_, _>>()?)
    }
}
