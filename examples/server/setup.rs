//! Stores the users and clients of the configuration at the start.
//!
//! Users and clients from files are added or updated. A changed password ends the grants of its user. Built-in users and
//! clients are added if they are missing. They keep their secrets, which were printed at the first start, unless
//! `--new-secrets` is given.

use grantor::storage::{GrantSelector, RegistryError};
use grantor::{Client, ClientRegistry, ClientSecret, Password, Storage, Subject};
use time::OffsetDateTime;

use crate::StartError;
use crate::accounts::Accounts;
use crate::clients::Rules;
use crate::config::Config;
use crate::flags::Flags;
use crate::users::{hash, matches};

/// The built-in users and clients whose secrets come from an earlier start.
#[derive(Debug, Default)]
pub(crate) struct FromBefore {
    pub(crate) user: bool,
    /// By their identifiers.
    pub(crate) clients: Vec<String>,
}

impl FromBefore {
    pub(crate) fn is_empty(&self) -> bool {
        !self.user && self.clients.is_empty()
    }
}

/// Stores the users and clients of the configuration.
pub(crate) async fn set_up(
    flags: &Flags,
    config: &Config,
    accounts: &dyn Accounts,
    storage: &dyn Storage,
    clients: &dyn ClientRegistry,
) -> Result<FromBefore, StartError> {
    let user = add_users(flags, config, accounts, storage).await?;
    let mut from_before = FromBefore { user, ..FromBefore::default() };
    let rules = Rules {
        legacy: flags.legacy,
        undotted_schemes: !flags.native_scheme.is_empty(),
        default_scope: &config.default_scope,
    };
    for metadata in &config.clients {
        let client = metadata.to_client(&rules)?;
        let id = client.id().as_str().to_owned();
        let secret = metadata.client_secret.as_deref().and_then(|secret| ClientSecret::new(secret).warning());
        for warning in client.warnings().into_iter().chain(secret) {
            eprintln!("warning: the client {id}: {warning}");
        }
        let was_kept = if flags.clients.is_some() || flags.new_secrets {
            put(clients, client).await.map(|()| false)
        } else {
            keep(clients, client).await
        };
        if was_kept.map_err(|error| format!("the client {id}: {error}"))? {
            from_before.clients.push(id);
        }
    }
    Ok(from_before)
}

/// Stores the users. Returns whether the built-in user was there already and keeps the password.
async fn add_users(
    flags: &Flags,
    config: &Config,
    accounts: &dyn Accounts,
    storage: &dyn Storage,
) -> Result<bool, StartError> {
    let mut users: Vec<(Subject, &str)> = Vec::with_capacity(config.users.len());
    for (name, password) in &config.users {
        let user = Subject::new(name).map_err(|error| format!("the user {name:?}: {error}"))?;
        if users.iter().any(|(known, _)| *known == user) {
            return Err(format!("the user {name:?} is listed twice").into());
        }
        users.push((user, password));
    }
    if flags.users.is_some() || flags.new_secrets {
        for (user, password) in &users {
            put_user(user, password, accounts, storage).await?;
        }
        return Ok(false);
    }
    let mut was_there = false;
    for (user, password) in &users {
        was_there |= !accounts.add_user(user, &hash(password)?).await?;
    }
    Ok(was_there)
}

/// Adds a user, or changes the password. A changed password ends the grants of the user, because a person who knew the
/// former password may have opened them. This process has no sessions yet.
async fn put_user(
    user: &Subject,
    password: &str,
    accounts: &dyn Accounts,
    storage: &dyn Storage,
) -> Result<(), StartError> {
    let Some(stored) = accounts.password_hash(user).await? else {
        return accounts.put_user(user, &hash(password)?).await;
    };
    // A hash that can't be read is replaced.
    if matches(&Password::new(password), &stored).unwrap_or(false) {
        return Ok(());
    }
    let end_grants =
        async || storage.revoke_grants(&GrantSelector::Subject(user.clone()), OffsetDateTime::now_utc()).await;
    // First, so that the next start does it again if this one fails.
    end_grants().await?;
    accounts.put_user(user, &hash(password)?).await?;
    // Again, for grants that were opened at another node with the former password.
    end_grants().await?;
    Ok(())
}

/// The most secrets of a client that several nodes run.
const MOST_SECRETS: usize = 16;

/// Adds a client with a secret of this node. If it is there already, it gets this registration and keeps the newest
/// secrets, which other nodes with the same listen address use.
pub(crate) async fn put_beside(clients: &dyn ClientRegistry, client: &Client) -> Result<(), RegistryError> {
    loop {
        match clients.register(client.clone()).await {
            Err(RegistryError::Taken) => {}
            done => return done,
        }
        let old = clients.find_client(client.id().as_str()).await?.ok_or(RegistryError::Unknown)?;
        let mut parts = client.clone().into_parts();
        let others = old.parts().credentials.iter().rev().take(MOST_SECRETS - parts.credentials.len()).rev();
        let own = std::mem::replace(&mut parts.credentials, others.cloned().collect());
        parts.credentials.extend(own);
        match clients.update(Client::from_parts(parts)?, old.version()).await {
            // Another node has stored its secret at the same time.
            Err(RegistryError::Conflict) => {}
            done => return done,
        }
    }
}

/// Adds a client, or replaces its registration. Fails if another node changes the client at the same time.
async fn put(clients: &dyn ClientRegistry, client: Client) -> Result<(), RegistryError> {
    match clients.register(client.clone()).await {
        Err(RegistryError::Taken) => {}
        done => return done,
    }
    let old = clients.find_client(client.id().as_str()).await?.ok_or(RegistryError::Unknown)?;
    match clients.update(client.clone(), old.version()).await {
        // Another node has stored the same registration.
        Err(RegistryError::Conflict) if is_stored(clients, &client).await? => Ok(()),
        done => done,
    }
}

async fn is_stored(clients: &dyn ClientRegistry, client: &Client) -> Result<bool, RegistryError> {
    let stored = clients.find_client(client.id().as_str()).await?;
    Ok(stored.is_some_and(|stored| stored.version() == client.version()))
}

/// Adds a built-in client if it is missing. Returns whether it was there already. Then its secrets stay, and the rest
/// of its registration follows the flags of this start.
async fn keep(clients: &dyn ClientRegistry, client: Client) -> Result<bool, RegistryError> {
    match clients.register(client.clone()).await {
        Err(RegistryError::Taken) => {}
        done => return done.map(|()| false),
    }
    let old = clients.find_client(client.id().as_str()).await?.ok_or(RegistryError::Unknown)?;
    // A client from a file can have the same identifier. It stays as it is.
    if old.name() == client.name() && old.client_type() == client.client_type() {
        let mut parts = client.into_parts();
        parts.credentials.clone_from(&old.parts().credentials);
        let new = Client::from_parts(parts)?;
        // If another node changes it at the same time, that change stays.
        if new.version() != old.version() {
            match clients.update(new, old.version()).await {
                Err(RegistryError::Conflict) => {}
                done => done?,
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use grantor::client::ClientCredential;
    use grantor::record::GrantDetails;
    use grantor::storage::{GrantPage, Opened};
    use grantor::{ClientId, ClientStore, Grant, GrantId, GrantType, MemoryStorage, Scope};
    use time::Duration;

    use super::*;
    use crate::accounts::{self, MemoryAccounts};

    async fn open_grant(storage: &MemoryStorage, user: &Subject, number: u8) {
        let now = OffsetDateTime::now_utc();
        let grant = Grant {
            id: GrantId::from_bytes([number; 16]),
            client_id: ClientId::new("app").unwrap(),
            subject: Some(user.clone()),
            grant_type: GrantType::new(GrantType::AUTHORIZATION_CODE).unwrap(),
            scope: Scope::parse("a").unwrap(),
            opened_at: now,
            last_used_at: now,
            expires_at: now + Duration::DAY,
            revoked_at: None,
            parent_grant: None,
            session: None,
            host_data: None,
            details: GrantDetails::default(),
        };
        assert_eq!(storage.open_grant(&Arc::new(grant), &[]).await.unwrap(), Opened::Done);
    }

    /// Another node opens a grant with the former password just before this node stores the new one.
    struct BesideAnotherNode {
        accounts: MemoryAccounts,
        storage: MemoryStorage,
    }

    #[async_trait]
    impl Accounts for BesideAnotherNode {
        async fn put_user(&self, user: &Subject, password_hash: &str) -> accounts::Result<()> {
            open_grant(&self.storage, user, 9).await;
            self.accounts.put_user(user, password_hash).await
        }

        async fn password_hash(&self, user: &Subject) -> accounts::Result<Option<String>> {
            self.accounts.password_hash(user).await
        }

        async fn add_user(&self, user: &Subject, password_hash: &str) -> accounts::Result<bool> {
            self.accounts.add_user(user, password_hash).await
        }

        async fn display_name(&self, user: &Subject) -> accounts::Result<Option<String>> {
            self.accounts.display_name(user).await
        }

        async fn set_display_name(&self, user: &Subject, name: &str) -> accounts::Result<()> {
            self.accounts.set_display_name(user, name).await
        }

        async fn add_application(&self, owner: &Subject, id: &ClientId, most: u32) -> accounts::Result<bool> {
            self.accounts.add_application(owner, id, most).await
        }

        async fn is_owner(&self, user: &Subject, id: &ClientId) -> accounts::Result<bool> {
            self.accounts.is_owner(user, id).await
        }

        async fn remove_application(&self, owner: &Subject, id: &ClientId) -> accounts::Result<()> {
            self.accounts.remove_application(owner, id).await
        }

        async fn applications(&self, owner: &Subject) -> accounts::Result<Vec<Arc<Client>>> {
            self.accounts.applications(owner).await
        }
    }

    #[tokio::test]
    async fn changed_password_ends_grants_opened_meanwhile() {
        let (storage, ada) = (MemoryStorage::new(), Subject::new("ada").unwrap());
        let accounts = MemoryAccounts::new(storage.clone());
        put_user(&ada, "old", &accounts, &storage).await.unwrap();
        let beside = BesideAnotherNode { accounts, storage: storage.clone() };
        put_user(&ada, "new", &beside, &storage).await.unwrap();
        let of_ada = GrantSelector::Subject(ada);
        assert!(
            storage.list_grants(&of_ada, OffsetDateTime::now_utc(), &GrantPage::first(1)).await.unwrap().is_empty()
        );
    }

    // Regression: of two nodes with the same listen address, only the second one had a demo client that worked.
    #[tokio::test]
    async fn nodes_with_one_client_keep_their_secrets() {
        let storage = MemoryStorage::new();
        let of_node = || {
            let secret = ClientCredential::secret(&ClientSecret::random().unwrap());
            Client::confidential("demo", secret)
                .authorization_code(["https://a.example/cb"])
                .scope("a")
                .build()
                .unwrap()
        };
        let secrets = async || {
            let stored = storage.find_client("demo").await.unwrap().unwrap();
            serde_json::to_value(&stored.parts().credentials).unwrap().as_array().unwrap().clone()
        };
        let own = |client: &Client| serde_json::to_value(&client.parts().credentials[0]).unwrap();
        let [first, second] = [of_node(), of_node()];
        for node in [&first, &second] {
            put_beside(&storage, node).await.unwrap();
        }
        assert_eq!(secrets().await, [own(&first), own(&second)]);
        for _ in 1..MOST_SECRETS {
            put_beside(&storage, &of_node()).await.unwrap();
        }
        let left = secrets().await;
        assert_eq!((left.len(), &left[0]), (MOST_SECRETS, &own(&second)), "the oldest is gone");
    }

    // Regression: a password that was changed with `--users` left the grants of its user alive.
    #[tokio::test]
    async fn changed_password_ends_grants_of_its_user_only() {
        let storage = MemoryStorage::new();
        let accounts = MemoryAccounts::new(storage.clone());
        let [ada, bea] = ["ada", "bea"].map(|user| Subject::new(user).unwrap());
        let put = async |user: &Subject, password: &str| put_user(user, password, &accounts, &storage).await.unwrap();
        let live = async |user: &Subject| {
            let which = GrantSelector::Subject(user.clone());
            storage.list_grants(&which, OffsetDateTime::now_utc(), &GrantPage::first(9)).await.unwrap().len()
        };
        for (user, number) in [(&ada, 1), (&bea, 2)] {
            put(user, "old").await;
            open_grant(&storage, user, number).await;
            put(user, "old").await;
            assert_eq!(live(user).await, 1, "the same password");
        }
        put(&ada, "new").await;
        assert_eq!((live(&ada).await, live(&bea).await), (0, 1));
        let stored = accounts.password_hash(&ada).await.unwrap().unwrap();
        assert!(matches(&Password::new("new"), &stored).unwrap());

        // A hash that can't be read is replaced.
        accounts.put_user(&bea, "spoilt").await.unwrap();
        put(&bea, "old").await;
        assert_eq!(live(&bea).await, 0);
    }
}
