//! The orders of a grant handler: open a new grant, redeem a token, or repeat a refresh.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::client::Client;
use crate::error::Refusal;
use crate::lookup::{LiveGrant, VerifiedToken};
use crate::record::{Grant, GrantDetails, GrantId, GrantType, Subject};
use crate::resource::{DeclaredResource, usable_scope};
use crate::scope::Scope;
use crate::secret::{Plain, SingleUse, TokenHash, TokenKind, kind};
use crate::server_context::ServerContext;

/// The order to open a new grant and issue its first tokens. [`Decision::open`](crate::grant_type::Decision::open)
/// takes it.
#[must_use = "a decision does nothing until it is returned"]
pub struct OpenGrant {
    pub(crate) subject: Option<Subject>,
    pub(crate) scope: Scope,
    pub(crate) host_data: Option<Arc<Value>>,
    pub(crate) refreshable: bool,
    /// See [`GrantDetails::consent_skipped`].
    pub(crate) consent_skipped: bool,
    /// See [`GrantDetails::consent_host`].
    pub(crate) consent_host: Option<Box<str>>,
    /// See [`GrantDetails::consent_grant`].
    pub(crate) consent_grant: Option<GrantId>,
    /// The resources of the grant: see [`at`](Self::at).
    pub(crate) resources: Vec<Arc<DeclaredResource>>,
    pub(crate) parent: Option<LiveGrant>,
    pub(crate) keys: Vec<OneTimeKey>,
    pub(crate) members: ResponseMembers,
}

/// A key that can be used once. Its `Debug` form shows only its digest.
#[derive(Debug)]
pub(crate) struct OneTimeKey {
    pub(crate) hash: TokenHash,
    pub(crate) good_until: OffsetDateTime,
}

impl OpenGrant {
    /// Starts a grant of `scope` without a subject, host data or refresh token. Its grant type is that of the handler.
    ///
    /// The server checks that it offers the scope. It does not check that the client may have it:
    /// [`GrantContext::scope`] and [`GrantContext::own_scope`] do that. If a scope is in neither scope list of the
    /// client, the access token gets it, but a refresh drops it.
    ///
    /// [`GrantContext::scope`]: crate::grant_type::GrantContext::scope
    /// [`GrantContext::own_scope`]: crate::grant_type::GrantContext::own_scope
    pub fn new(scope: Scope) -> Self {
        let members = ResponseMembers::default();
        Self {
            subject: None,
            scope,
            host_data: None,
            refreshable: false,
            consent_skipped: false,
            consent_host: None,
            consent_grant: None,
            resources: Vec::new(),
            parent: None,
            keys: Vec::new(),
            members,
        }
    }

    /// Sets the resource owner who gave the grant.
    pub fn subject(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Attaches data, which the bearer check returns to the host app.
    pub fn host_data(mut self, data: Value) -> Self {
        self.host_data = Some(Arc::new(data));
        self
    }

    /// Also issues a refresh token, if the client and the policy allow it. A refresh keeps the part of the scope that
    /// the server still offers and that is in one of the two scope lists of the client.
    pub const fn refreshable(mut self) -> Self {
        self.refreshable = true;
        self
    }

    /// Derives the grant from a live parent grant. It is revoked with its parent and ends no later, even if it is
    /// [`refreshable`](Self::refreshable).
    ///
    /// The grant gets the part of the scope that the server offers and that is in one of the two scope lists of the
    /// client. The request is refused with `invalid_grant` if no scope is left, or if the parent is revoked before the
    /// grant is stored.
    ///
    /// If the server has resources, the grant is for the one that the request names, which must be one of the parent
    /// grant (`invalid_target`). If the request names none, the grant is for the resource of the access token that was
    /// presented.
    ///
    /// A grant can have at most four ancestors. A request for a deeper grant is refused with `invalid_request`.
    pub fn child_of(mut self, parent: LiveGrant) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Opens the grant only if `key` was not used before. Use it for vouchers and for the identifiers of assertions.
    ///
    /// The step that stores the grant also marks the key as used. So of two requests with the same key, one is refused
    /// with `invalid_grant`, and if the grant is not stored, the key is not used. After a storage failure with an
    /// unknown outcome, the key may count as used.
    ///
    /// Keys with different namespaces are different. Use the grant type as the namespace.
    ///
    /// The storage keeps a digest of the key until `good_until`, even if the grant ends earlier. After that the key
    /// could be used again. So choose a `good_until` after which every node rejects the key, even if its clock is
    /// behind.
    pub fn once(mut self, namespace: &str, key: impl AsRef<[u8]>, good_until: OffsetDateTime) -> Self {
        self.keys.push(OneTimeKey { hash: TokenHash::of_key(namespace, key.as_ref()), good_until });
        self
    }

    /// Changes the optional members of the response.
    pub fn response(mut self, change: impl FnOnce(&mut ResponseMembers)) -> Self {
        change(&mut self.members);
        self
    }

    /// Sets the resources: the one that the request names, which must be one of the parent; or that of the token for
    /// which the parent was found; or the default of the server. Cuts the scope to what they declare.
    pub(crate) fn at(mut self, server: &ServerContext, named: Option<&Arc<DeclaredResource>>) -> Result<Self, Refusal> {
        let resources = &server.resources;
        self.resources = match (&self.parent, named) {
            (Some(parent), named) => {
                let of_token = || parent.audience().map(|own| resources.find(own).ok_or(Refusal::NoResourceLeft));
                let named = named.map(Ok).or_else(of_token).transpose()?;
                resources.of_grant(parent.grant(), named)?.into_iter().collect()
            }
            (None, named) => resources.for_named(named)?,
        };
        self.scope = usable_scope(resources, &self.resources, self.scope)?;
        Ok(self)
    }

    /// Returns the latest end of the grant, which is the end of its parent.
    pub(crate) fn ends_by(&self) -> Option<OffsetDateTime> {
        self.parent.as_ref().map(|parent| parent.grant().expires_at)
    }

    /// Returns the number of ancestors of the grant.
    pub(crate) fn depth(&self) -> u8 {
        self.parent.as_ref().map_or(0, |parent| parent.grant().details.depth.saturating_add(1))
    }

    pub(crate) fn into_grant(
        self,
        id: GrantId,
        client: &Client,
        grant_type: &GrantType,
        now: OffsetDateTime,
        expires_at: OffsetDateTime,
    ) -> (Arc<Grant>, ResponseMembers) {
        let details = GrantDetails {
            token_type: self.members.token_type.as_deref().map(Into::into),
            ends_by: self.ends_by(),
            depth: self.depth(),
            consent_skipped: self.consent_skipped,
            consent_host: self.consent_host,
            consent_grant: self.consent_grant,
            resources: self.resources.iter().map(|resource| (*resource.identifier).into()).collect(),
            ..GrantDetails::default()
        };
        let grant = Grant {
            id,
            client_id: client.id().clone(),
            subject: self.subject,
            grant_type: grant_type.clone(),
            scope: self.scope,
            opened_at: now,
            last_used_at: now,
            expires_at,
            revoked_at: None,
            parent_grant: self.parent.map(|parent| parent.grant().id),
            session: None,
            host_data: self.host_data,
            details,
        };
        (Arc::new(grant), self.members)
    }
}

impl fmt::Debug for OpenGrant {
    /// Omits the host data, which may be sensitive.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenGrant")
            .field("subject", &self.subject)
            .field("scope", &self.scope)
            .field("refreshable", &self.refreshable)
            .field("resources", &self.resources)
            .field("parent", &self.parent)
            .field("keys", &self.keys)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// The order to redeem a code or refresh token and issue its successors.
#[derive(Debug)]
#[must_use = "a decision does nothing until it is returned"]
pub(crate) struct RedeemToken {
    pub(crate) presented: TokenHash,
    pub(crate) kind: TokenKind,
    pub(crate) number: Option<u32>,
    pub(crate) plain: Plain,
    pub(crate) grant: Arc<Grant>,
    /// The time when the token or its grant expires.
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) scope: Scope,
    /// The resource of the new access token.
    pub(crate) resource: Option<Arc<DeclaredResource>>,
    /// A critical member of the token or its grant that this version does not enforce.
    pub(crate) unenforced: Option<Box<str>>,
}

impl RedeemToken {
    /// Redeems `presented` for an access token of `scope`, cut to the remaining scope of the grant. A refresh token
    /// with the scope of the grant is issued if the client and the policy allow it. A refresh token is replaced only if
    /// the policy rotates.
    ///
    /// The handler must first check that the token is not spent or expired and that its grant is live, as
    /// [`PresentedToken`](crate::grant_type::PresentedToken) shows. A spent token is `Replayed`.
    pub(crate) fn new<K: SingleUse>(
        presented: VerifiedToken<K>,
        scope: Scope,
        resource: Option<Arc<DeclaredResource>>,
    ) -> Self {
        let unenforced = presented.unenforced_member().map(Into::into);
        let (secret, token, grant) = presented.into_inner().into_parts();
        Self {
            unenforced,
            presented: token.hash,
            kind: token.kind.clone(),
            number: token.details.number,
            plain: secret.into_plain(),
            expires_at: token.expires_at.min(grant.expires_at),
            grant,
            scope,
            resource,
        }
    }
}

/// The order to repeat the response to a refresh within its grace window.
#[derive(Debug)]
#[must_use = "a decision does nothing until it is returned"]
pub(crate) struct RepeatRefresh {
    pub(crate) presented: VerifiedToken<kind::RefreshToken>,
    pub(crate) scope: Scope,
    pub(crate) resource: Option<Arc<DeclaredResource>>,
}

impl RepeatRefresh {
    /// Repeats the response to the spent refresh token `presented`, for a request of `scope` at `resource`.
    pub(crate) const fn new(
        presented: VerifiedToken<kind::RefreshToken>,
        scope: Scope,
        resource: Option<Arc<DeclaredResource>>,
    ) -> Self {
        Self { presented, scope, resource }
    }
}

/// The optional members of a token response.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ResponseMembers {
    /// The type of all access tokens of the grant (RFC 6749 §7.1). Default: `Bearer`.
    ///
    /// The bearer check refuses tokens of other types, because it can't verify the proof that they need. An API that
    /// accepts such tokens must verify the proof itself, and get the rest from
    /// [`introspection_request`](crate::AuthorizationServer::introspection_request).
    pub token_type: Option<Cow<'static, str>>,
    /// The lifetime of the access token, at least one second. It is cut to the maximum lifetime of the grant. Default:
    /// the lifetime of the client or the policy.
    pub access_token_lifetime: Option<Duration>,
    /// More members, only for this response. They do not replace standard members.
    pub extra: Map<String, Value>,
}

impl fmt::Debug for ResponseMembers {
    /// Shows only the names of the extra members, because a value may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseMembers")
            .field("token_type", &self.token_type)
            .field("access_token_lifetime", &self.access_token_lifetime)
            .field("extra", &MemberNames(&self.extra))
            .finish()
    }
}

/// Shows the names of members and hides their values.
pub(crate) struct MemberNames<'a>(pub(crate) &'a Map<String, Value>);

impl fmt::Debug for MemberNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
