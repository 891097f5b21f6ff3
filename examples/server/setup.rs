//! Stores the users and clients of the configuration at the start.
//!
//! Users and clients from files are added or updated. Built-in ones are added if they are missing. They keep their
//! secrets, which were printed at the first start, unless `--new-secrets` is given.

use grantor::storage::RegistryError;
use grantor::{Client, ClientRegistry, ClientSecret, Subject};

use crate::StartError;
use crate::accounts::Accounts;
use crate::clients::Rules;
use crate::config::Config;
use crate::flags::Flags;
use crate::users::hash;

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
    clients: &dyn ClientRegistry,
) -> Result<FromBefore, StartError> {
    let mut from_before = FromBefore { user: add_users(flags, config, accounts).await?, ..FromBefore::default() };
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
async fn add_users(flags: &Flags, config: &Config, accounts: &dyn Accounts) -> Result<bool, StartError> {
    let mut users: Vec<(Subject, String)> = Vec::with_capacity(config.users.len());
    for (name, password) in &config.users {
        let user = Subject::new(name).map_err(|error| format!("the user {name:?}: {error}"))?;
        if users.iter().any(|(known, _)| *known == user) {
            return Err(format!("the user {name:?} is listed twice").into());
        }
        users.push((user, hash(password)?));
    }
    if flags.users.is_some() || flags.new_secrets {
        for (user, hash) in &users {
            accounts.put_user(user, hash).await?;
        }
        return Ok(false);
    }
    let mut was_there = false;
    for (user, hash) in &users {
        was_there |= !accounts.add_user(user, hash).await?;
    }
    Ok(was_there)
}

/// Adds a client, or replaces its registration. Fails if another node changes the client at the same time.
pub(crate) async fn put(clients: &dyn ClientRegistry, client: Client) -> Result<(), RegistryError> {
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
