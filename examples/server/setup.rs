//! What is put into the storage at the start: users and clients, from files or built in.
//!
//! A storage that lasts has them from before. What a file says is added or updated. What is built in stays as it is,
//! because its secrets were printed once and are not to change under those who use them, unless `--new-secrets` says so.

use grantor::storage::RegistryError;
use grantor::{Client, ClientRegistry, ClientSecret, Subject};

use crate::StartError;
use crate::accounts::Accounts;
use crate::clients::Rules;
use crate::config::Config;
use crate::flags::Flags;
use crate::users::hash;

/// The built-in users and clients whose secrets are from an earlier start.
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

/// Puts in everything that the configuration says.
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

/// Whether there was a built-in user, who then keeps his password.
async fn add_users(flags: &Flags, config: &Config, accounts: &dyn Accounts) -> Result<bool, StartError> {
    let mut users: Vec<(Subject, String)> = Vec::with_capacity(config.users.len());
    for (name, password) in &config.users {
        let user = Subject::new(name).map_err(|_| format!("{name:?} is not fit to be a user name"))?;
        if users.iter().any(|(known, _)| *known == user) {
            return Err(format!("the user {name:?} is there twice").into());
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

/// Adds a client, or replaces its registration. Other servers on the same database may be doing the same; if one changes the client
/// in between, this fails.
pub(crate) async fn put(clients: &dyn ClientRegistry, client: Client) -> Result<(), RegistryError> {
    match clients.register(client.clone()).await {
        Err(RegistryError::Taken) => {}
        done => return done,
    }
    let old = clients.find_client(client.id().as_str()).await?.ok_or(RegistryError::Unknown)?;
    match clients.update(client.clone(), old.version()).await {
        // Another server has stored the same.
        Err(RegistryError::Conflict) if is_stored(clients, &client).await? => Ok(()),
        done => done,
    }
}

async fn is_stored(clients: &dyn ClientRegistry, client: &Client) -> Result<bool, RegistryError> {
    let stored = clients.find_client(client.id().as_str()).await?;
    Ok(stored.is_some_and(|stored| stored.version() == client.version()))
}

/// Adds a client, unless it is there, and says whether it was. Then it keeps its secrets, and the rest follows the flags, which
/// may be others than at the last start.
async fn keep(clients: &dyn ClientRegistry, client: Client) -> Result<bool, RegistryError> {
    match clients.register(client.clone()).await {
        Err(RegistryError::Taken) => {}
        done => return done.map(|()| false),
    }
    let old = clients.find_client(client.id().as_str()).await?.ok_or(RegistryError::Unknown)?;
    // One that came from a file is somebody else's, whatever its identifier.
    if old.name() == client.name() && old.client_type() == client.client_type() {
        let mut parts = client.into_parts();
        parts.credentials.clone_from(&old.parts().credentials);
        let new = Client::from_parts(parts)?;
        // If another server changes it in between, by the same flags or with new secrets, that stays.
        if new.version() != old.version() {
            match clients.update(new, old.version()).await {
                Err(RegistryError::Conflict) => {}
                done => done?,
            }
        }
    }
    Ok(true)
}
