//! What a handler can order, once it has decided: tokens of a new grant, or tokens for another token.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::client::Client;
use crate::lookup::{LiveGrant, VerifiedToken};
use crate::record::{Grant, GrantDetails, GrantId, GrantType, Subject};
use crate::scope::Scope;
use crate::secret::{Plain, SingleUse, TokenHash, TokenKind, kind};

/// The order to open a new grant and issue its first tokens.
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
    pub(crate) parent: Option<LiveGrant>,
    pub(crate) keys: Vec<OneTimeKey>,
    pub(crate) members: ResponseMembers,
}

/// A key that can be used once. It prints as its digest.
#[derive(Debug)]
pub(crate) struct OneTimeKey {
    pub(crate) hash: TokenHash,
    pub(crate) good_until: OffsetDateTime,
}

impl OpenGrant {
    /// A grant of `scope`, without a subject, host data or refresh token. Its grant type is that of the handler.
    ///
    /// The server checks that it offers the scope, and not that the client may have it: [`GrantContext::scope`] and
    /// [`GrantContext::own_scope`] do. A scope that is in neither list of the client is granted, but a refresh does not get it.
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
            parent: None,
            keys: Vec::new(),
            members,
        }
    }

    /// The resource owner who gave the grant.
    pub fn subject(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Attaches data that the host gets back at the bearer check.
    pub fn host_data(mut self, data: Value) -> Self {
        self.host_data = Some(Arc::new(data));
        self
    }

    /// Lets a refresh token be issued too, if the client may refresh and the policy agrees. A refresh gets what the server still offers of
    /// the scope, and what is in one of the two lists of the client.
    pub const fn refreshable(mut self) -> Self {
        self.refreshable = true;
        self
    }

    /// Derives the grant from a live one: it is revoked with its parent and ends no later, and its refresh token, if it is
    /// [`refreshable`](Self::refreshable) at all, does not change that. If the parent is revoked before the grant is stored, the
    /// request is refused with `invalid_grant`.
    ///
    /// Of the scope, the grant gets what the server offers and what is in one of the two lists of the client; if that is nothing, the
    /// request is refused with `invalid_grant`.
    ///
    /// A grant descends from at most four others; a request for a deeper one is refused with `invalid_request`.
    pub fn child_of(mut self, parent: LiveGrant) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Opens the grant only if `key` was not used before: a voucher, the identifier of an assertion. It is used in the same
    /// step that stores the grant. Of two requests with one key, one is refused with `invalid_grant`; if the grant is not stored,
    /// the key is not used. If the storage failed without saying whether the grant is stored, the key may count as used.
    ///
    /// Keys of different namespaces do not meet; name yours after the grant type. The storage keeps a digest of the key until
    /// `good_until`, also when the grant ends earlier. Nothing keeps the key from being used again after that, so let
    /// `good_until` be as late as the key could be accepted by any node, whose clock may be behind.
    pub fn once(mut self, namespace: &str, key: impl AsRef<[u8]>, good_until: OffsetDateTime) -> Self {
        self.keys.push(OneTimeKey { hash: TokenHash::of_key(namespace, key.as_ref()), good_until });
        self
    }

    /// Changes what the response says beyond the standard.
    pub fn response(mut self, change: impl FnOnce(&mut ResponseMembers)) -> Self {
        change(&mut self.members);
        self
    }

    /// When the grant ends at the latest, because its parent does.
    pub(crate) fn ends_by(&self) -> Option<OffsetDateTime> {
        self.parent.as_ref().map(|parent| parent.grant().expires_at)
    }

    /// How many grants it descends from.
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
    /// Without the host's data, which may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenGrant")
            .field("subject", &self.subject)
            .field("scope", &self.scope)
            .field("refreshable", &self.refreshable)
            .field("parent", &self.parent)
            .field("keys", &self.keys)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// The order to spend a code or refresh token and issue its successors.
#[derive(Debug)]
#[must_use = "a decision does nothing until it is returned"]
pub(crate) struct RedeemToken {
    pub(crate) presented: TokenHash,
    pub(crate) kind: TokenKind,
    pub(crate) number: Option<u32>,
    pub(crate) plain: Plain,
    pub(crate) grant: Arc<Grant>,
    pub(crate) scope: Scope,
    /// A critical member of the token or its grant that is not enforced.
    pub(crate) unenforced: Option<Box<str>>,
}

impl RedeemToken {
    /// Spends `presented` for an access token of `scope`, which is cut down to what is left of the grant's scope, and a refresh token of
    /// the grant's scope, if the client may refresh and the policy agrees. A refresh token is replaced only if the
    /// policy rotates.
    ///
    /// Whether the token was spent before, is expired, or has lost its grant is for the handler to look at first, as
    /// [`PresentedToken`](crate::grant_type::PresentedToken) shows it; a spent one is `Replayed`.
    pub(crate) fn new<K: SingleUse>(presented: VerifiedToken<K>, scope: Scope) -> Self {
        let unenforced = presented.unenforced_member().map(Into::into);
        let (secret, token, grant) = presented.into_inner().into_parts();
        Self {
            unenforced,
            presented: token.hash,
            kind: token.kind.clone(),
            number: token.details.number,
            plain: secret.into_plain(),
            grant,
            scope,
        }
    }
}

/// The order to answer a refresh again that was answered before, within its grace window.
#[derive(Debug)]
#[must_use = "a decision does nothing until it is returned"]
pub(crate) struct RepeatRefresh {
    pub(crate) presented: VerifiedToken<kind::RefreshToken>,
    pub(crate) scope: Scope,
}

impl RepeatRefresh {
    /// Repeats the answer to `presented`, a spent refresh token, for a request that asks for `scope`.
    pub(crate) const fn new(presented: VerifiedToken<kind::RefreshToken>, scope: Scope) -> Self {
        Self { presented, scope }
    }
}

/// What a token response says beyond the standard.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ResponseMembers {
    /// The token type (RFC 6749 §7.1), of all access tokens of the grant. Default: `Bearer`.
    ///
    /// A token of another type than `Bearer` needs a proof that the bearer check can't judge, so the bearer check refuses
    /// it. An API that takes such tokens judges the proof itself, and asks
    /// [`introspection_request`](crate::AuthorizationServer::introspection_request) about the rest.
    pub token_type: Option<Cow<'static, str>>,
    /// The lifetime of the access token, at least one second; it is cut to the longest that its grant may last. Default: the client's
    /// or the policy's.
    pub access_token_lifetime: Option<Duration>,
    /// More members, of this answer alone; standard ones are not replaced.
    pub extra: Map<String, Value>,
}

impl fmt::Debug for ResponseMembers {
    /// The further members by name only: one of them may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseMembers")
            .field("token_type", &self.token_type)
            .field("access_token_lifetime", &self.access_token_lifetime)
            .field("extra", &MemberNames(&self.extra))
            .finish()
    }
}

/// The names of members whose values are not to be shown.
pub(crate) struct MemberNames<'a>(pub(crate) &'a Map<String, Value>);

impl fmt::Debug for MemberNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
