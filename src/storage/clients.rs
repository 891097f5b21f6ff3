//! Finding clients, and managing them.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::client::{Client, ClientCredential, ClientError, ClientVersion};
use crate::error::StorageError;
use crate::record::ClientId;

/// Finds clients.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write asynchronous methods with the
/// signature that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `ClientStore` finds clients by their identifier; `MemoryStorage` is one")]
pub trait ClientStore: Send + Sync {
    /// The client with exactly this identifier, case included. It is always 1 to 255 printable ASCII characters, but otherwise whatever
    /// was sent. A client with another identifier is a failure of the store: the request is answered with `server_error`.
    ///
    /// ```text
    /// async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed. "No such client" is `Ok(None)`.
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError>;
}

/// Manages clients. Shipped storages implement it; the library never calls it. The manual has
/// [a form that registers clients](crate::manual::with_axum#a-form-that-registers-clients).
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write asynchronous methods with the
/// signature that their documentation shows.
#[async_trait]
pub trait ClientRegistry: ClientStore {
    /// Stores a new client.
    ///
    /// ```text
    /// async fn register(&self, client: Client) -> Result<(), RegistryError>
    /// ```
    ///
    /// # Errors
    /// The identifier is taken, or the storage failed.
    async fn register(&self, client: Client) -> Result<(), RegistryError>;

    /// Replaces the registration of a client, its credentials included, if its [version](Client::version) is still `expected`, in
    /// one atomic step: of many updates from one version, one succeeds.
    ///
    /// ```text
    /// async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError>
    /// ```
    ///
    /// ```
    /// # use grantor::{Client, ClientRegistry, ClientStore, MemoryStorage};
    /// use grantor::storage::RegistryError;
    ///
    /// # async fn rename() -> Result<(), RegistryError> {
    /// # let storage = MemoryStorage::new();
    /// let client = storage.find_client("app").await?.ok_or(RegistryError::Unknown)?;
    /// let mut parts = client.parts().clone();
    /// parts.client_name = Some("My app".to_owned());
    /// storage.update(Client::from_parts(parts)?, client.version()).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such client, the stored one has members that this version of the library does not know, it was changed since
    /// `expected` was read ([`RegistryError::Conflict`]), or the storage failed.
    async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError>;

    /// Adds a credential and lets the others end at `others_end`, in one atomic step: rotation with overlap. In that step,
    /// [`ClientParts::rotate_credential`](crate::client::ClientParts::rotate_credential) says what becomes of the registration.
    ///
    /// ```text
    /// async fn rotate_credential(
    ///     &self,
    ///     id: &ClientId,
    ///     new: ClientCredential,
    ///     others_end: OffsetDateTime,
    /// ) -> Result<(), RegistryError>
    /// ```
    ///
    /// # Errors
    /// There is no such client, it is a public one or has members that this version does not know, or the storage failed.
    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError>;

    /// Removes a client, then revokes all its grants: when this returns, the client is unknown and no token of it works. Removing
    /// an unknown client is not an error.
    ///
    /// ```text
    /// async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError>
    /// ```
    ///
    /// A request that had already authenticated the client may open one more grant just after. It can't be refreshed, but its
    /// access token lasts: to be rid of it, revoke the client's grants once more when such requests are done.
    ///
    /// # Errors
    /// The storage failed; the client may be gone and some of its grants not yet revoked. Calling it again does the rest.
    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError>;

    /// Clients in ascending order of their identifiers, `limit` at most, only those after `after`.
    ///
    /// ```text
    /// async fn list_clients(
    ///     &self,
    ///     after: Option<&ClientId>,
    ///     limit: usize,
    /// ) -> Result<Vec<Arc<Client>>, RegistryError>
    /// ```
    ///
    /// # Errors
    /// The storage failed.
    async fn list_clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError>;
}

/// Rejects an update of a stored client which is not the one that the caller has read, or must not be changed at all.
pub(super) fn check_version(stored: &Client, expected: ClientVersion) -> Result<(), RegistryError> {
    check_members(stored)?;
    if stored.version() == expected { Ok(()) } else { Err(RegistryError::Conflict) }
}

/// Rejects the change of a stored client that has members which this version does not know.
pub(super) fn check_members(stored: &Client) -> Result<(), RegistryError> {
    if stored.parts().unknown_members().next().is_none() { Ok(()) } else { Err(RegistryError::UnknownMembers) }
}

/// Why a [`ClientRegistry`] did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A client with this identifier exists.
    #[error("a client with this identifier exists")]
    Taken,
    /// No client has this identifier.
    #[error("no client has this identifier")]
    Unknown,
    /// A newer version has registered the client: what the change means for members that this version does not know can't be told.
    #[error("the client has members that this version does not know: change it with the version that wrote them")]
    UnknownMembers,
    /// The client has another version than the one that was expected: others have changed it.
    #[error("the client was changed since it was read: read it again, then update it")]
    Conflict,
    /// The change would make a client that makes no sense.
    #[error(transparent)]
    Invalid(#[from] ClientError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
