//! Clients in memory. One lock is enough, because they are few and seldom change.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{MemoryStorage, poisoned};
use crate::client::{Client, ClientCredential, ClientVersion};
use crate::error::StorageError;
use crate::record::ClientId;
use crate::storage::{
    ClientRegistry, ClientStore, GrantSelector, RegistryError, Storage, check_members, check_version,
};

pub(super) type Clients = BTreeMap<ClientId, Arc<Client>>;

impl MemoryStorage {
    fn read_clients(&self) -> Result<RwLockReadGuard<'_, Clients>, StorageError> {
        self.state.clients.read().map_err(poisoned)
    }

    fn write_clients(&self) -> Result<RwLockWriteGuard<'_, Clients>, StorageError> {
        self.state.clients.write().map_err(poisoned)
    }
}

#[async_trait]
impl ClientStore for MemoryStorage {
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        Ok(self.read_clients()?.get(id).cloned())
    }
}

#[async_trait]
impl ClientRegistry for MemoryStorage {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        let mut clients = self.write_clients()?;
        if clients.contains_key(client.id()) {
            return Err(RegistryError::Taken);
        }
        clients.insert(client.id().clone(), Arc::new(client));
        Ok(())
    }

    async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError> {
        let mut clients = self.write_clients()?;
        let place = clients.get_mut(client.id()).ok_or(RegistryError::Unknown)?;
        check_version(place, expected)?;
        *place = Arc::new(client);
        Ok(())
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        let mut clients = self.write_clients()?;
        let place = clients.get_mut(id).ok_or(RegistryError::Unknown)?;
        check_members(place)?;
        let mut parts = place.parts().clone();
        parts.rotate_credential(new, others_end);
        *place = Arc::new(Client::from_parts(parts)?);
        Ok(())
    }

    /// Removes the client before it revokes, so that no new request can be authenticated and open another grant.
    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        self.write_clients()?.remove(id);
        self.revoke_grants(&GrantSelector::Client(id.clone()), at).await?;
        Ok(())
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let clients = self.read_clients()?;
        let range = clients.range::<ClientId, _>((start, Bound::Unbounded));
        Ok(range.take(limit).map(|(_, client)| Arc::clone(client)).collect())
    }
}
