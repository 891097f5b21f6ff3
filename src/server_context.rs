//! Everything the host supplied, in one place, as the endpoints use it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::api_context::ApiContext;
use crate::authenticator::Authenticator;
use crate::client::{AllowedScope, Client};
use crate::customizer::TokenCustomizer;
use crate::env::{Clock, Entropy, in_microseconds};
use crate::error::{EntropyError, Refusal, StorageError};
use crate::event::{Event, EventKind, Observer};
use crate::policy::Policy;
use crate::record::{ClientId, GrantType};
use crate::scope::{Catalogue, Scope};
use crate::server_key::{DerivedKey, Label, ServerKey};
use crate::signed_format::SignedFormat;
use crate::storage::{ClientStore, EphemeralStore, Storage};

/// A part that the host supplied. Method calls reach the part itself: through an `Arc`, which has the traits of storages too, each call
/// would box one more future.
pub(crate) struct Shared<T: ?Sized>(pub(crate) Arc<T>);

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

pub(crate) struct ServerContext {
    /// The issuer identifier (RFC 8414 §2), character for character as the host wrote it.
    pub(crate) issuer: String,
    /// The same as a redirect has it.
    pub(crate) encoded_issuer: String,
    pub(crate) storage: Shared<dyn Storage>,
    pub(crate) clients: Shared<dyn ClientStore>,
    pub(crate) ephemeral: Shared<dyn EphemeralStore>,
    /// Without one, client secrets are compared by digest, and no user has a password.
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) customizer: Option<Arc<dyn TokenCustomizer>>,
    /// The format of signed access tokens, if there are any. New ones may be opaque in spite of it.
    pub(crate) signed_format: Option<Arc<dyn SignedFormat>>,
    /// The keys of everything that it signs.
    #[cfg(feature = "jwt")]
    pub(crate) signing_keys: Option<Arc<dyn crate::jose::Keys>>,
    pub(crate) policy: Policy,
    pub(crate) scopes: Catalogue,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) server_key: ServerKey,
    /// The host's own API, as the bearer check refuses tokens for it.
    pub(crate) api: Arc<ApiContext>,
    /// The same, if it is to be found (RFC 9728).
    pub(crate) resource: Option<ResourceUrls>,
    /// The clients whose scopes the observer was told of, see [`tell_of_unoffered_scopes`](Self::tell_of_unoffered_scopes).
    pub(crate) told_of_unoffered: Mutex<HashSet<ClientId>>,
}

/// How many clients the observer is told of whose scopes are not offered: clients may register themselves in any number.
const MOST_TOLD: usize = 1_000;

pub(crate) struct ResourceUrls {
    /// The resource identifier, character for character as the host wrote it.
    pub(crate) identifier: String,
    /// Where the document about it is. Nothing in it needs escaping in a header.
    pub(crate) metadata: String,
}

impl ServerContext {
    /// The format of the access tokens that are issued, unless they are opaque.
    pub(crate) fn format_of_new_tokens(&self) -> Option<&Arc<dyn SignedFormat>> {
        self.signed_format.as_ref().filter(|format| format.is_for_new_tokens())
    }

    /// The time, to be read once a request.
    pub(crate) fn now(&self) -> OffsetDateTime {
        in_microseconds(self.clock.now())
    }

    /// Fresh random bytes.
    pub(crate) fn random<const N: usize>(&self) -> Result<Zeroizing<[u8; N]>, EntropyError> {
        let mut bytes = Zeroizing::new([0; N]);
        self.entropy.fill(bytes.as_mut_slice())?;
        Ok(bytes)
    }

    /// Finds a client. A store whose comparison is looser than that of identifiers, such as one that ignores case, could return
    /// another one.
    pub(crate) async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        let found = self.clients.find_client(id).await?;
        if found.as_ref().is_some_and(|client| client.id().as_str() != id) {
            return Err(StorageError::new(
                "the client store returned a client with another identifier than it was asked for",
            ));
        }
        Ok(found)
    }

    /// Derives the keys of one purpose from the server key. It takes some hashing, so an endpoint keeps them.
    pub(crate) fn key(&self, label: Label) -> DerivedKey {
        self.server_key.derive(label)
    }

    /// Tells the observer what happened at a call of the host's.
    pub(crate) fn observe(&self, at: OffsetDateTime, kind: EventKind<'_>) {
        self.observe_from(None, at, kind);
    }

    /// Tells the observer what happened at a request of this peer.
    pub(crate) fn observe_from(&self, peer: Option<IpAddr>, at: OffsetDateTime, kind: EventKind<'_>) {
        self.observer.observe(&Event { at, peer, kind });
    }

    /// Tells the observer, once for each client, of scopes of its registration that the server does not offer.
    pub(crate) fn tell_of_unoffered_scopes(&self, client: &Client, now: OffsetDateTime) {
        let Some(scope) = self.unoffered_scope_of(client) else { return };
        let mut told = self.told_of_unoffered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.len() < MOST_TOLD && told.insert(client.id().clone());
        drop(told);
        if is_new {
            self.observe(now, EventKind::ScopeNotOffered { client_id: client.id(), scope: &scope });
        }
    }

    /// The scopes of a client's registration that the server does not offer.
    pub(crate) fn unoffered_scope_of(&self, client: &Client) -> Option<Scope> {
        let (offered, parts) = (self.scopes.all(), client.parts());
        let lists = [&parts.scope, &parts.own_scope, &parts.default_scope].into_iter().flatten();
        let lists = lists.filter(|list| !list.is_subset(offered)).cloned();
        lists.reduce(|all, list| all.union(&list))?.retain(|token| !offered.contains(token))
    }

    /// What is left of a scope that was granted: what the client may still have, and the server still offers. Both may have changed
    /// since.
    pub(crate) fn scope_left(
        &self,
        client: &Client,
        grant_type: &GrantType,
        granted: &Scope,
    ) -> Result<Scope, Refusal> {
        let allowed = match grant_type.as_str() {
            GrantType::CLIENT_CREDENTIALS => self.own_scope_of(client).map(Cow::Borrowed),
            _ if grant_type.is_built_in() => self.user_scope_of(client),
            // The handler has asked for one of them.
            _ => match (self.user_scope_of(client), self.own_scope_of(client)) {
                (Some(of_users), Some(own)) => Some(Cow::Owned(of_users.union(own))),
                (of_users, own) => of_users.or(own.map(Cow::Borrowed)),
            },
        };
        let offered = granted.intersection(self.scopes.all());
        offered.zip(allowed).and_then(|(offered, allowed)| offered.intersection(&allowed)).ok_or(Refusal::NoScopeLeft)
    }

    /// The scope a client gets if the resource owner agrees: what it asked for if it may, else its default, else the
    /// server's (RFC 6749 §3.3).
    pub(crate) fn scope_for(&self, client: &Client, requested: Option<&str>) -> Result<Scope, Refusal> {
        self.scope_within(client, self.user_scope_of(client).as_deref(), requested)
    }

    /// All that users can consent to for a client, whether or not the server offers it.
    pub(crate) fn user_scope_of<'a>(&'a self, client: &'a Client) -> Option<Cow<'a, Scope>> {
        let limit = self.policy.self_service_scope.as_ref().filter(|_| !client.is_registered_by_administrator());
        match (client.allowed_scope(), limit) {
            (AllowedScope::Listed(scope), Some(limit)) => scope.intersection(limit).map(Cow::Owned),
            (AllowedScope::Listed(scope), None) => Some(Cow::Borrowed(scope)),
            (AllowedScope::AllOffered, None) if client.is_registered_by_administrator() => {
                Some(Cow::Borrowed(self.scopes.all()))
            }
            (AllowedScope::AllOffered, Some(limit)) => Some(Cow::Borrowed(limit)),
            (AllowedScope::Default, Some(limit)) => self.scopes.default_scope()?.intersection(limit).map(Cow::Owned),
            (AllowedScope::Default | AllowedScope::AllOffered, None) => self.scopes.default_scope().map(Cow::Borrowed),
        }
    }

    /// The same for a client that acts on its own authority.
    pub(crate) fn own_scope_for(&self, client: &Client, requested: Option<&str>) -> Result<Scope, Refusal> {
        self.scope_within(client, self.own_scope_of(client), requested)
    }

    /// All that a client can have on its own authority, whether or not the server offers it.
    pub(crate) fn own_scope_of<'a>(&'a self, client: &'a Client) -> Option<&'a Scope> {
        if let Some(scope) = client.own_scope() {
            return Some(scope);
        }
        match client.allowed_scope() {
            _ if !client.is_registered_by_administrator() => None,
            AllowedScope::Listed(scope) => Some(scope),
            // No user is asked, so a scope that the host declares later needs a list that names it.
            AllowedScope::Default | AllowedScope::AllOffered => self.scopes.default_scope(),
        }
    }

    fn scope_within(
        &self,
        client: &Client,
        allowed: Option<&Scope>,
        requested: Option<&str>,
    ) -> Result<Scope, Refusal> {
        let Some(requested) = requested else {
            let default = client.default_scope().or(self.scopes.default_scope()).ok_or(Refusal::NoDefaultScope)?;
            // A default may name more than this client may have, or than the server still offers.
            let offered = default.intersection(self.scopes.all());
            let within = offered.and_then(|scope| allowed.and_then(|allowed| scope.intersection(allowed)));
            return within.ok_or(Refusal::NoDefaultScope);
        };
        // Most clients ask for what they are registered for. That saves a twentieth of a client credentials request.
        let requested = match allowed.filter(|allowed| allowed.as_str() == requested) {
            Some(allowed) => allowed.clone(),
            None => Scope::parse(requested).map_err(|_| Refusal::MalformedScope)?,
        };
        if !requested.is_subset(self.scopes.all()) {
            return Err(Refusal::UnknownScope);
        }
        if allowed.is_none_or(|allowed| !requested.is_subset(allowed)) {
            return Err(Refusal::ScopeNotAllowed);
        }
        Ok(requested)
    }
}

impl std::fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerContext")
            .field("issuer", &self.issuer)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
