//! [`Intercepted`]: a storage whose calls go through an interceptor.

/// Returns the value of a reply, which must be of this variant.
macro_rules! value_of {
    ($reply:expr, $variant:ident) => {
        match $reply {
            Reply::$variant(value) => Ok(value),
            other => other.does_not_fit(),
        }
    };
}

mod ephemeral;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::client::{Client, ClientCredential, ClientVersion};
use crate::error::StorageError;
use crate::record::{ClientId, Grant, StoredToken};
use crate::secret::TokenHash;
use crate::storage::ephemeral::{Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned};
use crate::storage::{
    ClientRegistry, ClientStore, Found, GrantPage, GrantSelector, IssuerError, Opened, RedeemOutcome, Redemption,
    RegistryError, Storage,
};

/// A function that handles each call of an [`Intercepted`] storage.
///
/// It can wait before or after the call, change the arguments, run more calls of the same trait, or reply without
/// running anything.
///
/// This example records the names of all calls, and loses the result of each redemption:
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use grantor::storage::StorageError;
/// use grantor::testing::{Call, Intercepted, Interceptor, Next, Reply};
/// use grantor::{MemoryStorage, Storage};
///
/// #[derive(Default)]
/// struct LosesRedemptions {
///     calls: Mutex<Vec<&'static str>>,
/// }
///
/// #[async_trait::async_trait]
/// impl Interceptor for LosesRedemptions {
///     async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
///         self.calls.lock().unwrap().push(call.method());
///         // An error returned before this line would fail the call without running it.
///         let reply = next.run(call).await?;
///         match call {
///             // The redemption was stored, but its caller gets an error.
///             Call::Redeem { .. } => Err(StorageError::unavailable("the connection broke")),
///             _ => Ok(reply),
///         }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let interceptor = Arc::new(LosesRedemptions::default());
/// let storage = Intercepted::new(MemoryStorage::new(), Arc::clone(&interceptor));
/// storage.purge_expired(time::OffsetDateTime::now_utc(), 100).await.unwrap();
/// assert_eq!(*interceptor.calls.lock().unwrap(), ["purge_expired"]);
/// # });
/// ```
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write the methods
/// as `async fn` with the signatures that their documentation shows.
#[async_trait]
pub trait Interceptor: Send + Sync {
    /// Handles one call. `next.run(call)` passes it to the wrapped storage.
    ///
    /// ```text
    /// async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError>
    /// ```
    ///
    /// # Errors
    /// The caller of the storage gets this error.
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError>;
}

#[async_trait]
impl<T: Interceptor + ?Sized> Interceptor for Arc<T> {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        (**self).intercept(call, next).await
    }
}

/// A wrapper of a storage that sends each call through an [`Interceptor`]. Clones share the interceptor.
///
/// It implements [`Storage`], [`ClientStore`], [`ClientRegistry`] and [`EphemeralStore`] if the wrapped storage does.
#[derive(Clone)]
pub struct Intercepted<S> {
    inner: S,
    interceptor: Arc<dyn Interceptor>,
}

impl<S> Intercepted<S> {
    /// Wraps `inner`. Pass the interceptor in an `Arc` to keep access to it.
    pub fn new(inner: S, interceptor: impl Interceptor + 'static) -> Self {
        Self { inner, interceptor: Arc::new(interceptor) }
    }

    async fn call(&self, target: Target<'_>, call: Call<'_>) -> Result<Reply, StorageError> {
        self.interceptor.intercept(call, Next(target)).await
    }
}

impl<S: fmt::Debug> fmt::Debug for Intercepted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intercepted").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// A call of a storage, with its arguments.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant links to the method whose parameters its fields are")]
pub enum Call<'a> {
    /// [`ClientStore::find_client`]
    FindClient(&'a str),
    /// [`Storage::open_grant`]
    OpenGrant { grant: &'a Arc<Grant>, tokens: &'a [StoredToken] },
    /// [`Storage::find`]
    Find(&'a TokenHash),
    /// [`Storage::redeem`]
    Redeem { redemption: &'a Redemption, successors: &'a [StoredToken] },
    /// [`Storage::revoke_access_token`]
    RevokeAccessToken { token: &'a TokenHash, at: OffsetDateTime },
    /// [`Storage::revoke_grants`]
    RevokeGrants { which: &'a GrantSelector, at: OffsetDateTime },
    /// [`Storage::list_grants`]
    ListGrants { which: &'a GrantSelector, now: OffsetDateTime, page: &'a GrantPage },
    /// [`Storage::purge_expired`]
    PurgeExpired { before: OffsetDateTime, limit: usize },
    /// [`Storage::claim_issuer`]
    ClaimIssuer(&'a str),
    /// [`Storage::rebind_issuer`]
    RebindIssuer { from: &'a str, to: &'a str },
    /// [`ClientRegistry::register`]
    Register(&'a Client),
    /// [`ClientRegistry::update`]
    Update { client: &'a Client, expected: ClientVersion },
    /// [`ClientRegistry::rotate_credential`]
    RotateCredential { id: &'a ClientId, new: &'a ClientCredential, others_end: OffsetDateTime },
    /// [`ClientRegistry::remove`]
    Remove { id: &'a ClientId, at: OffsetDateTime },
    /// [`ClientRegistry::list_clients`]
    ListClients { after: Option<&'a ClientId>, limit: usize },
    /// [`EphemeralStore::insert`]
    Insert { key: &'a EphemeralKey, value: &'a [u8], expires_at: OffsetDateTime, now: OffsetDateTime },
    /// [`EphemeralStore::get`]
    Get { key: &'a EphemeralKey, now: OffsetDateTime },
    /// [`EphemeralStore::take`]
    Take { key: &'a EphemeralKey, now: OffsetDateTime },
    /// [`EphemeralStore::replace`]
    Replace {
        key: &'a EphemeralKey,
        expected: Version,
        value: &'a [u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    },
    /// [`EphemeralStore::due`]
    Due { namespace: Namespace, at: OffsetDateTime, limit: usize },
    /// [`EphemeralStore::purge_ephemeral`]
    PurgeEphemeral { before: OffsetDateTime, limit: usize },
}

impl Call<'_> {
    /// Returns the name of the method that was called, such as `open_grant`.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::FindClient(_) => "find_client",
            Self::OpenGrant { .. } => "open_grant",
            Self::Find(_) => "find",
            Self::Redeem { .. } => "redeem",
            Self::RevokeAccessToken { .. } => "revoke_access_token",
            Self::RevokeGrants { .. } => "revoke_grants",
            Self::ListGrants { .. } => "list_grants",
            Self::PurgeExpired { .. } => "purge_expired",
            Self::ClaimIssuer(_) => "claim_issuer",
            Self::RebindIssuer { .. } => "rebind_issuer",
            Self::Register(_) => "register",
            Self::Update { .. } => "update",
            Self::RotateCredential { .. } => "rotate_credential",
            Self::Remove { .. } => "remove",
            Self::ListClients { .. } => "list_clients",
            Self::Insert { .. } => "insert",
            Self::Get { .. } => "get",
            Self::Take { .. } => "take",
            Self::Replace { .. } => "replace",
            Self::Due { .. } => "due",
            Self::PurgeEphemeral { .. } => "purge_ephemeral",
        }
    }
}

/// The value that a call returned. If an [`Interceptor`] returns a variant of another method, the call panics.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// The reply of `revoke_access_token`, which returns nothing.
    Done,
    /// The reply of `open_grant`.
    Opened(Opened),
    /// The reply of `find_client`.
    Client(Option<Arc<Client>>),
    /// The reply of `find`.
    Found(Option<Found>),
    /// The reply of `redeem`.
    Redeemed(RedeemOutcome),
    /// The reply of `revoke_grants`: the number of grants.
    Revoked(u64),
    /// The reply of `list_grants`.
    Grants(Vec<Arc<Grant>>),
    /// The reply of `purge_expired` and `purge_ephemeral`: the number of rows or entries.
    Purged(usize),
    /// The reply of `list_clients`.
    Clients(Vec<Arc<Client>>),
    /// The reply of `register`, `update`, `rotate_credential` and `remove`. For a [`RegistryError::Storage`], return
    /// the [`StorageError`] instead.
    Registry(Result<(), RegistryError>),
    /// The reply of `claim_issuer` and `rebind_issuer`. For an [`IssuerError::Storage`], return the [`StorageError`]
    /// instead.
    Issuer(Result<(), IssuerError>),
    /// The reply of `insert`.
    Inserted(Inserted),
    /// The reply of `get`.
    Versioned(Option<Versioned>),
    /// The reply of `take`: the value.
    Taken(Option<Vec<u8>>),
    /// The reply of `replace`.
    Replaced(Option<Version>),
    /// The reply of `due`.
    Due(Vec<Due>),
}

impl Reply {
    fn of_registry<T>(result: Result<T, RegistryError>, reply: impl FnOnce(T) -> Self) -> Result<Self, StorageError> {
        match result {
            Ok(value) => Ok(reply(value)),
            Err(RegistryError::Storage(error)) => Err(error),
            Err(error) => Ok(Self::Registry(Err(error))),
        }
    }

    fn of_issuer(result: Result<(), IssuerError>) -> Result<Self, StorageError> {
        match result {
            Err(IssuerError::Storage(error)) => Err(error),
            other => Ok(Self::Issuer(other)),
        }
    }

    #[expect(clippy::panic, reason = "a test has an interceptor that makes no sense")]
    fn does_not_fit(&self) -> ! {
        panic!("the interceptor returned a reply of another method: {self:?}")
    }
}

/// The handle with which an [`Interceptor`] calls the wrapped storage.
#[derive(Clone, Copy)]
pub struct Next<'a>(Target<'a>);

#[derive(Clone, Copy)]
enum Target<'a> {
    Storage(&'a dyn Storage),
    Clients(&'a dyn ClientStore),
    Registry(&'a dyn ClientRegistry),
    Ephemeral(&'a dyn EphemeralStore),
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

impl Next<'_> {
    /// Runs a call on the wrapped storage: the intercepted call, or another call of the same trait.
    ///
    /// # Errors
    /// The error of the wrapped storage.
    pub async fn run(self, call: Call<'_>) -> Result<Reply, StorageError> {
        match (self.0, call) {
            (Target::Clients(clients), Call::FindClient(id)) => clients.find_client(id).await.map(Reply::Client),
            (Target::Registry(clients), Call::FindClient(id)) => clients.find_client(id).await.map(Reply::Client),
            (Target::Storage(storage), call) => run_on_storage(storage, call).await,
            (Target::Registry(registry), call) => run_on_registry(registry, call).await,
            (Target::Ephemeral(store), call) => ephemeral::run(store, call).await,
            (Target::Clients(_), call) => is_of_another_trait(&call),
        }
    }
}

async fn run_on_storage(storage: &dyn Storage, call: Call<'_>) -> Result<Reply, StorageError> {
    match call {
        Call::OpenGrant { grant, tokens } => storage.open_grant(grant, tokens).await.map(Reply::Opened),
        Call::Find(token) => storage.find(token).await.map(Reply::Found),
        Call::Redeem { redemption, successors } => storage.redeem(redemption, successors).await.map(Reply::Redeemed),
        Call::RevokeAccessToken { token, at } => storage.revoke_access_token(token, at).await.map(|()| Reply::Done),
        Call::RevokeGrants { which, at } => storage.revoke_grants(which, at).await.map(Reply::Revoked),
        Call::ListGrants { which, now, page } => storage.list_grants(which, now, page).await.map(Reply::Grants),
        Call::PurgeExpired { before, limit } => storage.purge_expired(before, limit).await.map(Reply::Purged),
        Call::ClaimIssuer(issuer) => Reply::of_issuer(storage.claim_issuer(issuer).await),
        Call::RebindIssuer { from, to } => Reply::of_issuer(storage.rebind_issuer(from, to).await),
        call => is_of_another_trait(&call),
    }
}

async fn run_on_registry(registry: &dyn ClientRegistry, call: Call<'_>) -> Result<Reply, StorageError> {
    let result = match call {
        Call::Register(client) => registry.register(client.clone()).await,
        Call::Update { client, expected } => registry.update(client.clone(), expected).await,
        Call::RotateCredential { id, new, others_end } => registry.rotate_credential(id, new.clone(), others_end).await,
        Call::Remove { id, at } => registry.remove(id, at).await,
        Call::ListClients { after, limit } => {
            return Reply::of_registry(registry.list_clients(after, limit).await, Reply::Clients);
        }
        call => is_of_another_trait(&call),
    };
    Reply::of_registry(result, |()| Reply::Registry(Ok(())))
}

#[expect(clippy::panic, reason = "a test has an interceptor that makes no sense")]
fn is_of_another_trait(call: &Call<'_>) -> ! {
    panic!("`{}` belongs to another trait than the intercepted call", call.method())
}

#[async_trait]
impl<S: ClientStore> ClientStore for Intercepted<S> {
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        value_of!(self.call(Target::Clients(&self.inner), Call::FindClient(id)).await?, Client)
    }
}

#[async_trait]
impl<S: Storage> Storage for Intercepted<S> {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        value_of!(self.call(Target::Storage(&self.inner), Call::OpenGrant { grant, tokens }).await?, Opened)
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        value_of!(self.call(Target::Storage(&self.inner), Call::Find(token)).await?, Found)
    }

    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError> {
        value_of!(self.call(Target::Storage(&self.inner), Call::Redeem { redemption, successors }).await?, Redeemed)
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        match self.call(Target::Storage(&self.inner), Call::RevokeAccessToken { token, at }).await? {
            Reply::Done => Ok(()),
            other => other.does_not_fit(),
        }
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        value_of!(self.call(Target::Storage(&self.inner), Call::RevokeGrants { which, at }).await?, Revoked)
    }

    async fn list_grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        value_of!(self.call(Target::Storage(&self.inner), Call::ListGrants { which, now, page }).await?, Grants)
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        value_of!(self.call(Target::Storage(&self.inner), Call::PurgeExpired { before, limit }).await?, Purged)
    }

    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError> {
        match self.call(Target::Storage(&self.inner), Call::ClaimIssuer(issuer)).await? {
            Reply::Issuer(result) => result,
            other => other.does_not_fit(),
        }
    }

    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError> {
        match self.call(Target::Storage(&self.inner), Call::RebindIssuer { from, to }).await? {
            Reply::Issuer(result) => result,
            other => other.does_not_fit(),
        }
    }
}

impl<S: ClientRegistry> Intercepted<S> {
    async fn change(&self, call: Call<'_>) -> Result<(), RegistryError> {
        match self.call(Target::Registry(&self.inner), call).await? {
            Reply::Registry(result) => result,
            other => other.does_not_fit(),
        }
    }
}

#[async_trait]
impl<S: ClientRegistry> ClientRegistry for Intercepted<S> {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        self.change(Call::Register(&client)).await
    }

    async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError> {
        self.change(Call::Update { client: &client, expected }).await
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        self.change(Call::RotateCredential { id, new: &new, others_end }).await
    }

    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        self.change(Call::Remove { id, at }).await
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        match self.call(Target::Registry(&self.inner), Call::ListClients { after, limit }).await? {
            Reply::Clients(clients) => Ok(clients),
            Reply::Registry(Err(error)) => Err(error),
            other => other.does_not_fit(),
        }
    }
}
