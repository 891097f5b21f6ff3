//! Storage traits for `Arc`, and storages whose type is chosen at run time.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::ephemeral::{Due, EphemeralKey, Inserted, Namespace, Version, Versioned};
use super::{
    ClientRegistry, ClientStore, EphemeralStore, Found, GrantPage, GrantSelector, IssuerError, KeyStore, Opened,
    RedeemOutcome, Redemption, RegistryError, Storage,
};
use crate::client::{Client, ClientCredential, ClientVersion};
use crate::error::StorageError;
use crate::record::{ClientId, Grant, StoredToken};
use crate::secret::TokenHash;

/// A storage of any type that keeps everything. Use it to choose the type of storage at run time.
///
/// Every type that implements the five storage traits implements this one. `Arc<dyn AnyStorage>` implements them too.
/// Pass one clone of it to [`storage`](crate::NeedsStorage::storage), and manage clients with another. If the server
/// signs, pass a third one to `RotatingKeys`.
///
/// ```
/// use std::sync::Arc;
///
/// use grantor::storage::AnyStorage;
/// use grantor::{AuthorizationServer, Client, ClientRegistry, MemoryStorage, StorageError};
///
/// async fn open(database: Option<&str>) -> Result<Arc<dyn AnyStorage>, StorageError> {
///     Ok(match database {
///         #[cfg(feature = "postgres")]
///         Some(url) => Arc::new(grantor::storage::PostgresStorage::connect(url).await?),
///         _ => Arc::new(MemoryStorage::new()),
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = open(None).await?;
/// storage.register(Client::public("app").authorization_code(["https://app.example/cb"]).build()?).await?;
/// let builder = AuthorizationServer::builder("https://id.example.com").storage(Arc::clone(&storage));
/// # builder.scope("user:read", "Read your profile").build().await?;
/// # Ok(())
/// # }
/// ```
pub trait AnyStorage: Storage + ClientRegistry + EphemeralStore + KeyStore {}

impl<T: Storage + ClientRegistry + EphemeralStore + KeyStore + ?Sized> AnyStorage for T {}

impl fmt::Debug for dyn AnyStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyStorage")
    }
}

#[async_trait]
impl<T: Storage + ?Sized> Storage for Arc<T> {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        (**self).open_grant(grant, tokens).await
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        (**self).find(token).await
    }

    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError> {
        (**self).redeem(redemption, successors).await
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        (**self).revoke_access_token(token, at).await
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        (**self).revoke_grants(which, at).await
    }

    async fn list_grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        (**self).list_grants(which, now, page).await
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        (**self).purge_expired(before, limit).await
    }

    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError> {
        (**self).claim_issuer(issuer).await
    }

    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError> {
        (**self).rebind_issuer(from, to).await
    }
}

#[async_trait]
impl<T: ClientStore + ?Sized> ClientStore for Arc<T> {
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        (**self).find_client(id).await
    }
}

#[async_trait]
impl<T: ClientRegistry + ?Sized> ClientRegistry for Arc<T> {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        (**self).register(client).await
    }

    async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError> {
        (**self).update(client, expected).await
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        (**self).rotate_credential(id, new, others_end).await
    }

    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        (**self).remove(id, at).await
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        (**self).list_clients(after, limit).await
    }
}

#[async_trait]
impl<T: EphemeralStore + ?Sized> EphemeralStore for Arc<T> {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        (**self).insert(key, value, expires_at, now).await
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        (**self).get(key, now).await
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        (**self).take(key, now).await
    }

    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        (**self).replace(key, expected, value, expires_at, now).await
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        (**self).due(namespace, at, limit).await
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        (**self).purge_ephemeral(before, limit).await
    }
}
