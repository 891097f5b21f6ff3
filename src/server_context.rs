//! The settings and parts that all endpoints share.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::api_context::ApiContext;
use crate::authenticator::Authenticator;
use crate::client::{AllowedScope, AuthenticationMethod, Client};
use crate::customizer::TokenCustomizer;
use crate::env::{Clock, Entropy, in_microseconds};
use crate::error::{EntropyError, Refusal, StorageError};
use crate::event::{Event, EventKind, Observer};
use crate::fetcher::Fetcher;
use crate::policy::Policy;
use crate::record::{ClientId, GrantType};
use crate::resource::{DeclaredResource, Resources};
use crate::scope::{Catalogue, Scope};
use crate::server_key::{DerivedKey, Label, ServerKey};
use crate::signed_format::SignedFormat;
use crate::storage::{ClientStore, EphemeralStore, Storage};

/// A part of the host app behind an `Arc`. It derefs to the part itself, because the storage traits of `Arc` would box
/// one more future for each call.
pub(crate) struct Shared<T: ?Sized>(pub(crate) Arc<T>);

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

pub(crate) struct ServerContext {
    /// The issuer identifier (RFC 8414 §2), exactly as the host app set it.
    pub(crate) issuer: String,
    /// The issuer identifier, encoded for the query of a redirect.
    pub(crate) encoded_issuer: String,
    pub(crate) storage: Shared<dyn Storage>,
    pub(crate) clients: Shared<dyn ClientStore>,
    pub(crate) ephemeral: Shared<dyn EphemeralStore>,
    /// Without an authenticator, client secrets are compared by digest, and no user has a password.
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) customizer: Option<Arc<dyn TokenCustomizer>>,
    /// The format of signed access tokens, if there is one. New access tokens may still be opaque.
    pub(crate) signed_format: Option<Arc<dyn SignedFormat>>,
    /// The signing keys.
    #[cfg(feature = "jwt")]
    pub(crate) signing_keys: Option<Arc<dyn crate::jose::Keys>>,
    /// The verifier of texts that clients sign, if the server accepts any.
    #[cfg(feature = "jwt")]
    pub(crate) client_signatures: Option<crate::client_signatures::ClientSignatures>,
    #[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "only keys of clients are fetched"))]
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) policy: Policy,
    pub(crate) scopes: Catalogue,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) server_key: ServerKey,
    /// The context of a bearer check that is not for a resource, and of the signing keys.
    pub(crate) api: Arc<ApiContext>,
    /// The APIs that the access tokens are for (RFC 8707).
    pub(crate) resources: Resources,
    /// The clients that were reported by [`tell_of_unoffered_scopes`](Self::tell_of_unoffered_scopes).
    pub(crate) told_of_unoffered: Mutex<HashSet<ClientId>>,
}

/// The maximum number of clients that are reported for scopes that are not offered. Any number of clients may register
/// themselves, so the set must be bounded.
const MOST_TOLD: usize = 1_000;

impl ServerContext {
    /// Returns the format of new access tokens for a resource, or `None` if they are opaque.
    pub(crate) fn format_of_new_tokens(&self, resource: Option<&DeclaredResource>) -> Option<&Arc<dyn SignedFormat>> {
        let own = resource.and_then(|resource| resource.signed);
        self.signed_format.as_ref().filter(|format| own.unwrap_or_else(|| format.is_for_new_tokens()))
    }

    /// Returns whether clients may authenticate by a method.
    #[cfg_attr(not(feature = "jwt"), expect(clippy::unused_self, reason = "without signatures, it is constant"))]
    pub(crate) const fn accepts(&self, method: AuthenticationMethod) -> bool {
        match method {
            #[cfg(feature = "jwt")]
            AuthenticationMethod::PrivateKeyJwt => self.client_signatures.is_some(),
            #[cfg(not(feature = "jwt"))]
            AuthenticationMethod::PrivateKeyJwt => false,
            AuthenticationMethod::ClientSecretBasic
            | AuthenticationMethod::ClientSecretPost
            | AuthenticationMethod::None => true,
        }
    }

    /// Returns whether clients may send request objects.
    #[cfg_attr(not(feature = "jwt"), expect(clippy::unused_self, reason = "without signatures, it is constant"))]
    pub(crate) fn accepts_request_objects(&self) -> bool {
        #[cfg(feature = "jwt")]
        let accepts = self.request_objects().is_some();
        #[cfg(not(feature = "jwt"))]
        let accepts = false;
        accepts
    }

    /// Returns the verifier of request objects, if the server accepts them.
    #[cfg(feature = "jwt")]
    pub(crate) fn request_objects(&self) -> Option<&crate::client_signatures::ClientSignatures> {
        self.client_signatures.as_ref().filter(|signatures| signatures.accepts_request_objects())
    }

    /// Returns the current time. A token request reads it once for all its checks, and once more for the redemption of a
    /// token. The steps at the authorization endpoint read it separately.
    pub(crate) fn now(&self) -> OffsetDateTime {
        in_microseconds(self.clock.now())
    }

    /// Returns fresh random bytes.
    pub(crate) fn random<const N: usize>(&self) -> Result<Zeroizing<[u8; N]>, EntropyError> {
        let mut bytes = Zeroizing::new([0; N]);
        self.entropy.fill(bytes.as_mut_slice())?;
        Ok(bytes)
    }

    /// Finds a client. Rejects a client with another identifier: a store that ignores case, for example, could return
    /// one.
    pub(crate) async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        let found = self.clients.find_client(id).await?;
        if found.as_ref().is_some_and(|client| client.id().as_str() != id) {
            return Err(StorageError::new(
                "the client store returned a client with another identifier: it must compare identifiers byte by byte",
            ));
        }
        Ok(found)
    }

    /// Derives the keys for one purpose from the server key. This costs some hashing, so endpoints keep the result.
    pub(crate) fn key(&self, label: Label) -> DerivedKey {
        self.server_key.derive(label)
    }

    /// Notifies the observer of an event without a peer, such as a call of the host app.
    pub(crate) fn observe(&self, at: OffsetDateTime, kind: EventKind<'_>) {
        self.observe_from(None, at, kind);
    }

    /// Notifies the observer of an event in a request of this peer.
    pub(crate) fn observe_from(&self, peer: Option<IpAddr>, at: OffsetDateTime, kind: EventKind<'_>) {
        self.observer.observe(&Event { at, peer, kind });
    }

    /// Notifies the observer, once for each client, of registered scopes that the server does not offer.
    pub(crate) fn tell_of_unoffered_scopes(&self, client: &Client, now: OffsetDateTime) {
        let Some(scope) = self.unoffered_scope_of(client) else { return };
        let mut told = self.told_of_unoffered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.len() < MOST_TOLD && told.insert(client.id().clone());
        drop(told);
        if is_new {
            self.observe(now, EventKind::ScopeNotOffered { client_id: client.id(), scope: &scope });
        }
    }

    /// Returns the registered scopes of a client that the server does not offer.
    pub(crate) fn unoffered_scope_of(&self, client: &Client) -> Option<Scope> {
        let (offered, parts) = (self.scopes.all(), client.parts());
        let lists = [&parts.scope, &parts.own_scope, &parts.default_scope].into_iter().flatten();
        let lists = lists.filter(|list| !list.is_subset(offered)).cloned();
        lists.reduce(|all, list| all.union(&list))?.retain(|token| !offered.contains(token))
    }

    /// Returns the part of a granted scope that the client may still have and the server still offers. Both may have
    /// changed since the grant was opened.
    pub(crate) fn scope_left(
        &self,
        client: &Client,
        grant_type: &GrantType,
        granted: &Scope,
    ) -> Result<Scope, Refusal> {
        let allowed = match grant_type.as_str() {
            GrantType::CLIENT_CREDENTIALS => self.own_scope_of(client).map(Cow::Borrowed),
            _ if grant_type.is_built_in() => self.user_scope_of(client),
            // An extension handler may have used either list.
            _ => match (self.user_scope_of(client), self.own_scope_of(client)) {
                (Some(of_users), Some(own)) => Some(Cow::Owned(of_users.union(own))),
                (of_users, own) => of_users.or(own.map(Cow::Borrowed)),
            },
        };
        let offered = granted.intersection(self.scopes.all());
        offered.zip(allowed).and_then(|(offered, allowed)| offered.intersection(&allowed)).ok_or(Refusal::NoScopeLeft)
    }

    /// Returns the scope that a client gets if the resource owner agrees (RFC 6749 §3.3): the requested scope if it is
    /// allowed; without a request, the default scope of the client or of the server.
    pub(crate) fn scope_for(&self, client: &Client, requested: Option<&str>) -> Result<Scope, Refusal> {
        self.scope_within(client, self.user_scope_of(client).as_deref(), requested)
    }

    /// Returns the scope that users can grant to a client, even if the server does not offer all of it.
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

    /// Returns the scope that a client gets on its own authority, without a user.
    pub(crate) fn own_scope_for(&self, client: &Client, requested: Option<&str>) -> Result<Scope, Refusal> {
        self.scope_within(client, self.own_scope_of(client), requested)
    }

    /// Returns the scope that a client can have on its own authority, even if the server does not offer all of it.
    pub(crate) fn own_scope_of<'a>(&'a self, client: &'a Client) -> Option<&'a Scope> {
        if let Some(scope) = client.own_scope() {
            return Some(scope);
        }
        match client.allowed_scope() {
            _ if !client.is_registered_by_administrator() => None,
            AllowedScope::Listed(scope) => Some(scope),
            // No user decides here, so a scope that is declared later must be listed explicitly.
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
            // The default may contain scopes that this client may not have or the server no longer offers.
            let offered = default.intersection(self.scopes.all());
            let within = offered.zip(allowed).and_then(|(scope, allowed)| {
                let within = scope.intersection(allowed)?;
                Some(self.expand(within, allowed))
            });
            return within.ok_or(Refusal::NoDefaultScope);
        };
        // Most clients request exactly their registered scope. This saves 5% of a client credentials request.
        let requested = match allowed.filter(|allowed| allowed.as_str() == requested) {
            Some(allowed) => allowed.clone(),
            None => Scope::parse(requested).map_err(|_| Refusal::MalformedScope)?,
        };
        if !requested.is_subset(self.scopes.all()) {
            return Err(Refusal::UnknownScope);
        }
        match allowed {
            Some(allowed) if requested.is_subset(allowed) => Ok(self.expand(requested, allowed)),
            _ => Err(Refusal::ScopeNotAllowed),
        }
    }

    /// Adds the scopes that the requested ones include. This happens once, before the consent, so a grant never changes
    /// with the hierarchy.
    fn expand(&self, requested: Scope, allowed: &Scope) -> Scope {
        let expanded = self.scopes.expand(requested, allowed);
        // The client may list scopes that the server does not offer.
        expanded.intersection(self.scopes.all()).unwrap_or(expanded)
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
