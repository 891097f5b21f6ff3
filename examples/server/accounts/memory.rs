//! Accounts in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use grantor::{Client, ClientId, ClientStore, MemoryStorage, Subject};

use super::{Accounts, Result};

/// Gone when the server ends.
pub(crate) struct MemoryAccounts {
    storage: MemoryStorage,
    users: Mutex<HashMap<Subject, User>>,
}

#[derive(Default)]
struct User {
    password_hash: String,
    display_name: Option<String>,
    applications: Vec<ClientId>,
}

impl MemoryAccounts {
    pub(crate) fn new(storage: MemoryStorage) -> Self {
        Self { storage, users: Mutex::default() }
    }

    /// No step under the lock can leave the map half changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Accounts for MemoryAccounts {
    async fn password_hash(&self, user: &Subject) -> Result<Option<String>> {
        Ok(self.lock().get(user).map(|user| user.password_hash.clone()))
    }

    async fn add_user(&self, user: &Subject, password_hash: &str) -> Result<bool> {
        let mut users = self.lock();
        let is_new = !users.contains_key(user);
        if is_new {
            users.insert(user.clone(), User { password_hash: password_hash.to_owned(), ..User::default() });
        }
        Ok(is_new)
    }

    async fn put_users(&self, users: &[(Subject, String)]) -> Result<()> {
        let mut known = self.lock();
        for (user, password_hash) in users {
            known.entry(user.clone()).or_default().password_hash.clone_from(password_hash);
        }
        Ok(())
    }

    async fn display_name(&self, user: &Subject) -> Result<Option<String>> {
        Ok(self.lock().get(user).and_then(|user| user.display_name.clone()))
    }

    async fn set_display_name(&self, user: &Subject, name: &str) -> Result<()> {
        self.lock().get_mut(user).ok_or("there is no such user")?.display_name = Some(name.to_owned());
        Ok(())
    }

    async fn add_application(&self, owner: &Subject, id: &ClientId, most: u32) -> Result<bool> {
        let mut users = self.lock();
        let own = &mut users.get_mut(owner).ok_or("there is no such user")?.applications;
        let has_room = own.len() < most as usize;
        if has_room {
            own.push(id.clone());
        }
        Ok(has_room)
    }

    async fn remove_application(&self, id: &ClientId) -> Result<()> {
        for user in self.lock().values_mut() {
            user.applications.retain(|own| own != id);
        }
        Ok(())
    }

    async fn applications(&self, owner: &Subject) -> Result<Vec<Arc<Client>>> {
        let ids = self.lock().get(owner).map(|user| user.applications.clone()).unwrap_or_default();
        let mut clients = Vec::with_capacity(ids.len());
        for id in &ids {
            clients.extend(self.storage.client(id.as_str()).await?);
        }
        Ok(clients)
    }
}
