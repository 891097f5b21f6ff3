//! Accounts in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::{Client, ClientId, ClientStore, MemoryStorage, Subject};

use super::{Accounts, Result};
use crate::lock;

/// Users and owners in memory. They are lost when the server stops.
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
}

#[async_trait]
impl Accounts for MemoryAccounts {
    async fn password_hash(&self, user: &Subject) -> Result<Option<String>> {
        Ok(lock(&self.users).get(user).map(|user| user.password_hash.clone()))
    }

    async fn add_user(&self, user: &Subject, password_hash: &str) -> Result<bool> {
        let mut users = lock(&self.users);
        let is_new = !users.contains_key(user);
        if is_new {
            users.insert(user.clone(), User { password_hash: password_hash.to_owned(), ..User::default() });
        }
        Ok(is_new)
    }

    async fn put_user(&self, user: &Subject, password_hash: &str) -> Result<()> {
        password_hash.clone_into(&mut lock(&self.users).entry(user.clone()).or_default().password_hash);
        Ok(())
    }

    async fn display_name(&self, user: &Subject) -> Result<Option<String>> {
        Ok(lock(&self.users).get(user).and_then(|user| user.display_name.clone()))
    }

    async fn set_display_name(&self, user: &Subject, name: &str) -> Result<()> {
        lock(&self.users).get_mut(user).ok_or("there is no such user")?.display_name = Some(name.to_owned());
        Ok(())
    }

    async fn add_application(&self, owner: &Subject, id: &ClientId, most: u32) -> Result<bool> {
        let mut users = lock(&self.users);
        let own = &mut users.get_mut(owner).ok_or("there is no such user")?.applications;
        let has_room = own.len() < most as usize;
        if has_room {
            own.push(id.clone());
        }
        Ok(has_room)
    }

    async fn is_owner(&self, user: &Subject, id: &ClientId) -> Result<bool> {
        Ok(lock(&self.users).get(user).is_some_and(|user| user.applications.contains(id)))
    }

    async fn remove_application(&self, owner: &Subject, id: &ClientId) -> Result<()> {
        if let Some(user) = lock(&self.users).get_mut(owner) {
            user.applications.retain(|own| own != id);
        }
        Ok(())
    }

    async fn applications(&self, owner: &Subject) -> Result<Vec<Arc<Client>>> {
        let ids = lock(&self.users).get(owner).map(|user| user.applications.clone()).unwrap_or_default();
        let mut clients = Vec::with_capacity(ids.len());
        for id in &ids {
            clients.extend(self.storage.find_client(id.as_str()).await?);
        }
        Ok(clients)
    }
}
