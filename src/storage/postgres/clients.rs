//! Clients in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{PostgresStorage, TRIES};
use crate::client::{Client, ClientCredential, ClientVersion};
use crate::error::StorageError;
use crate::record::ClientId;
use crate::storage::sql::{Cells, json, read_client, row_count};
use crate::storage::{
    ClientRegistry, ClientStore, GrantSelector, RegistryError, Storage, check_members, check_version,
};

impl PostgresStorage {
    /// Replaces a client by the result of a closure. Starts again if another transaction has changed the client
    /// meanwhile.
    async fn change_client(
        &self,
        id: &ClientId,
        change: impl Fn(&Client) -> Result<Client, RegistryError> + Send + Sync,
    ) -> Result<(), RegistryError> {
        let (find, replace) = (&self.statements.common.clients.find, &self.statements.replace_client);
        for _ in 0..TRIES {
            let found = self.fetch(|| sqlx::query(find.clone()).bind(id.as_str())).await?;
            let found = found.ok_or(RegistryError::Unknown)?;
            let (before, client) = (found.text(0)?, read_client(&found)?);
            check_members(&client)?;
            let registration = json(change(&client)?.parts())?;
            let done = self
                .step(|| async {
                    let replace = sqlx::query(replace.clone()).bind(id.as_str()).bind(&registration);
                    replace.bind(before).execute(&self.pool).await
                })
                .await?;
            if done.rows_affected() == 1 {
                return Ok(());
            }
        }
        Err(StorageError::unavailable("the client kept changing while its change was retried: try again").into())
    }
}

#[async_trait]
impl ClientStore for PostgresStorage {
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        let row = self.fetch(|| sqlx::query(self.statements.common.clients.find.clone()).bind(id)).await?;
        row.map(|row| read_client(&row)).transpose()
    }
}

#[async_trait]
impl ClientRegistry for PostgresStorage {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        let (id, registration) = (client.id().as_str(), json(client.parts())?);
        let insert = &self.statements.common.clients.insert;
        let done = self
            .step(|| async { sqlx::query(insert.clone()).bind(id).bind(&registration).execute(&self.pool).await })
            .await?;
        if done.rows_affected() == 0 { Err(RegistryError::Taken) } else { Ok(()) }
    }

    async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError> {
        // If another transaction changes the client after it was read, it is read again and its version differs.
        let replace = |found: &Client| check_version(found, expected).map(|()| client.clone());
        self.change_client(client.id(), replace).await
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        let rotate = |found: &Client| {
            let mut parts = found.parts().clone();
            parts.rotate_credential(new.clone(), others_end);
            Ok(Client::from_parts(parts)?)
        };
        self.change_client(id, rotate).await
    }

    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        let remove = &self.statements.remove_client;
        self.step(|| async { sqlx::query(remove.clone()).bind(id.as_str()).execute(&self.pool).await }).await?;
        self.revoke_grants(&GrantSelector::Client(id.clone()), at).await?;
        Ok(())
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        // No identifier is empty, so all identifiers come after the empty text.
        let (list, after) = (&self.statements.common.clients.list, after.map_or("", ClientId::as_str));
        let found = self
            .step(|| async { sqlx::query(list.clone()).bind(after).bind(row_count(limit)).fetch_all(&self.pool).await })
            .await?;
        Ok(found.iter().map(read_client).collect::<Result<_, _>>()?)
    }
}
