//! Traits to find and manage clients.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::client::{Client, ClientCredential, ClientError, ClientVersion};
use crate::error::StorageError;
use crate::record::ClientId;

/// A store in which the server finds clients.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write the methods
/// as `async fn` with the signatures that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `ClientStore` finds clients by their identifier; `MemoryStorage` is one")]
pub trait ClientStore: Send + Sync {
    /// Returns the client with exactly this identifier, or `Ok(None)` if there is none. The comparison is
    /// case-sensitive.
    ///
    /// `id` is what the caller sent: always 1 to 255 printable ASCII characters, and otherwise unchecked. If the
    /// returned client has another identifier, the server responds with `server_error`.
    ///
    /// ```text
    /// async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed.
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError>;
}

/// A store in which the host app manages clients. The storages of this library implement it, and the server never calls
/// it. The manual has [a form that registers clients](crate::manual::with_axum#a-form-that-registers-clients).
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write the methods
/// as `async fn` with the signatures that their documentation shows.
#[async_trait]
pub trait ClientRegistry: ClientStore {
    /// Stores a new client.
    ///
    /// ```text
    /// async fn register(&self, client: Client) -> Result<(), RegistryError>
    /// ```
    ///
    /// # Errors
    /// A client with this identifier exists, or the storage failed.
    async fn register(&self, client: Client) -> Result<(), RegistryError>;

    /// Replaces the registration of a client, including its credentials, if its [version](Client::version) is still
    /// `expected`. This is one atomic step: of many updates from the same version, one succeeds.
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
    /// * [`RegistryError::Unknown`]: there is no such client.
    /// * [`RegistryError::UnknownMembers`]: the stored client has members that this version of the library does not
    ///   know.
    /// * [`RegistryError::Conflict`]: the client was changed since `expected` was read.
    /// * The storage failed.
    async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError>;

    /// Adds a credential and lets the existing credentials expire at `others_end`, in one atomic step. Between now and
    /// `others_end`, old and new credentials work. Implement the change with
    /// [`ClientParts::rotate_credential`](crate::client::ClientParts::rotate_credential).
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
    /// There is no such client, it is a public client, it has members that this version does not know, or the storage
    /// failed.
    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError>;

    /// Removes a client, then revokes all its grants. Once it has returned, the client is unknown and none of its
    /// tokens works. Removing an unknown client is not an error.
    ///
    /// ```text
    /// async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError>
    /// ```
    ///
    /// A concurrent request that has already authenticated the client may open one more grant afterwards. That grant
    /// can't be refreshed, but its access token works until it expires. To revoke it too, revoke the client's grants
    /// again once such requests are done.
    ///
    /// # Errors
    /// The storage failed. The client may be removed while some of its grants are not revoked. Repeat the call to
    /// finish.
    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError>;

    /// Returns at most `limit` clients in ascending order of their identifiers, starting after the identifier `after`.
    /// Identifiers are ordered byte by byte.
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

/// Rejects an update if the stored client is not the version that the caller read, or can't be changed by this version.
pub(super) fn check_version(stored: &Client, expected: ClientVersion) -> Result<(), RegistryError> {
    check_members(stored)?;
    if stored.version() == expected { Ok(()) } else { Err(RegistryError::Conflict) }
}

/// Rejects a change of a stored client that has members unknown to this version.
pub(super) fn check_members(stored: &Client) -> Result<(), RegistryError> {
    if stored.parts().unknown_members().next().is_none() { Ok(()) } else { Err(RegistryError::UnknownMembers) }
}

/// The error of a [`ClientRegistry`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A client with this identifier exists.
    #[error("a client with this identifier already exists")]
    Taken,
    /// No client has this identifier.
    #[error("no client has this identifier")]
    Unknown,
    /// A newer version of the library has registered the client. This version can't tell how the change affects members
    /// that it does not know.
    #[error("the client has members that this version does not know: change it with the version that wrote them")]
    UnknownMembers,
    /// The client was changed since the caller read it: its version is not the expected one.
    #[error("the client was changed since it was read: read it again, then update it")]
    Conflict,
    /// The change would result in an invalid client.
    #[error(transparent)]
    Invalid(#[from] ClientError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
