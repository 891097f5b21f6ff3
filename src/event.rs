//! Events for audit logs: issued, refused and introspected tokens, replays, and revocations through the server. No
//! event contains a secret.

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::authenticator::SubjectStatus;
use crate::error::Error;
use crate::record::{ClientId, Grant, GrantId, Subject, TokenKind};
use crate::scope::Scope;
use crate::storage::GrantSelector;

/// Receives the events of a server, after they happened. It runs in the task of the request, so it should be fast and
/// must not block.
#[diagnostic::on_unimplemented(note = "an observer has one method: `fn observe(&self, event: &Event<'_>)`")]
pub trait Observer: Send + Sync {
    /// Receives an event.
    fn observe(&self, event: &Event<'_>);
}

/// An observer that ignores all events.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _: &Event<'_>) {}
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}

/// Two observers. Each event goes to the first one, then to the second one.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&self, event: &Event<'_>) {
        self.0.observe(event);
        self.1.observe(event);
    }
}

/// An event of a server, as an [`Observer`] receives it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The time of the request.
    pub at: OffsetDateTime,
    /// The peer of the request, if the host app set it. Calls of the host app, such as
    /// [`resume`](crate::AuthorizationServer::resume) with the text of a form token, have no peer.
    pub peer: Option<IpAddr>,
    /// What happened.
    pub kind: EventKind<'a>,
}

/// The kind of an event, with its details. Every client identifier is that of a registered client. An unknown
/// identifier from a request is never part of an event, because it may be a secret that was sent in the wrong place.
#[derive(Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// The authorization endpoint refused a request, or failed.
    #[non_exhaustive]
    AuthorizationRefused {
        /// The client, if the check got that far.
        client_id: Option<&'a ClientId>,
        /// The reason.
        error: &'a Error,
    },
    /// A user submitted an old consent form, the browser returned from a login to a request that can't be read any more,
    /// or an earlier consent ended before it was used. Neither the user nor the client made a mistake. The client does
    /// not learn of it.
    #[non_exhaustive]
    AuthorizationStale {
        /// The client, if the check got that far.
        client_id: Option<&'a ClientId>,
        /// The reason: [`InvalidFormToken`](crate::Refusal::InvalidFormToken),
        /// [`ExpiredFormToken`](crate::Refusal::ExpiredFormToken), [`StaleFormToken`](crate::Refusal::StaleFormToken),
        /// [`UsedFormToken`](crate::Refusal::UsedFormToken) or [`ConsentEnded`](crate::Refusal::ConsentEnded).
        error: &'a Error,
    },
    /// A request was approved. Its grant is open, and the code or token is issued.
    #[non_exhaustive]
    AuthorizationApproved {
        /// The new grant.
        grant: &'a Grant,
        /// The basis of the approval.
        consent: ConsentBasis,
    },
    /// A user denied a request, or approved no scope.
    #[non_exhaustive]
    AuthorizationDenied {
        /// The client of the request.
        client_id: &'a ClientId,
        /// The user, if the host app named one.
        subject: Option<&'a Subject>,
    },
    /// The token endpoint issued tokens.
    #[non_exhaustive]
    TokensIssued {
        /// The grant of the tokens.
        grant: &'a Grant,
        /// The grant type of the request.
        grant_type: &'a str,
        /// The scope of the access token.
        scope: &'a Scope,
        /// Whether a refresh token was issued, too.
        refresh_token: bool,
    },
    /// A refresh was repeated within its grace window and got the same tokens again. Either the first response was
    /// lost, or a thief uses the same token. See [the grace window](crate::manual::defaults#the-grace-window).
    #[non_exhaustive]
    RefreshRepeated {
        /// The grant.
        grant: &'a Grant,
        /// The number of repeated refreshes of the grant, including this one. Simultaneous ones may be counted as one.
        /// The count restarts after a time without repeats that is as long as a refresh token may be idle.
        count: u64,
        /// Whether the peer is the same as that of the first refresh.
        from: RepeatedFrom,
    },
    /// The token endpoint refused a request, or failed. Or client authentication failed at an endpoint of the host app
    /// or of a capability: see [`authenticate_client`](crate::AuthorizationServer::authenticate_client).
    #[non_exhaustive]
    TokenRefused {
        /// The client, if it authenticated.
        client_id: Option<&'a ClientId>,
        /// The registered client that the request names, if it did not authenticate.
        presented_client_id: Option<&'a ClientId>,
        /// The grant type, if the server supports it.
        grant_type: Option<&'a str>,
        /// The reason.
        error: &'a Error,
    },
    /// A redeemed code was presented again, with all required proofs. Its grant was revoked.
    #[non_exhaustive]
    CodeReplayed {
        /// The grant.
        grant: &'a Grant,
    },
    /// A redeemed code was presented again within ten seconds by its client, which probably lost the first response.
    /// The request was refused, and the grant was not revoked. See
    /// [`Policy::tolerate_repeated_codes`](crate::Policy::tolerate_repeated_codes).
    #[non_exhaustive]
    CodeRepeated {
        /// The grant.
        grant: &'a Grant,
    },
    /// A redeemed refresh token was reused. Its grant was revoked.
    #[non_exhaustive]
    RefreshTokenReused {
        /// The grant.
        grant: &'a Grant,
    },
    /// The authenticator reported that a subject is not active, so a token was not issued or not accepted. An event of
    /// the endpoint follows. Clients do not learn the status.
    #[non_exhaustive]
    SubjectNotActive {
        /// The subject.
        subject: &'a Subject,
        /// The status of the subject.
        status: SubjectStatus,
        /// The number of grants that were revoked because of it. It is 0 unless the subject is gone.
        revoked: u64,
    },
    /// A token customizer added a member whose name is reserved or already used. The response does not contain that
    /// member.
    #[non_exhaustive]
    CustomizerMemberDropped {
        /// The client or caller that got the response.
        client_id: &'a ClientId,
        /// The name of the member.
        member: &'a str,
    },
    /// A client is registered for scopes that the server does not offer, so it can't get them. Sent once for a client,
    /// at its first use since the server was built, for at most a thousand clients. The event has no peer. The
    /// [lint](crate::lint::ClientLint::ScopeNotOffered) reports the same problem.
    #[non_exhaustive]
    ScopeNotOffered {
        /// The client.
        client_id: &'a ClientId,
        /// The scopes that are not offered.
        scope: &'a Scope,
    },
    /// A client revoked a live token. An access token is revoked alone; a refresh token is revoked with its whole
    /// grant.
    #[non_exhaustive]
    TokenRevoked {
        /// The grant of the token.
        grant: &'a Grant,
        /// The kind of the token.
        kind: &'a TokenKind,
    },
    /// The revocation endpoint refused a request, or failed. If the response of the storage was lost, the token may be
    /// revoked nevertheless. A repeated request then finds no live token and sends no event. With
    /// [`Refusal::NotYourToken`](crate::Refusal::NotYourToken), the client may have got the response for an unknown
    /// token.
    #[non_exhaustive]
    RevocationRefused {
        /// The client, if it authenticated.
        client_id: Option<&'a ClientId>,
        /// The registered client that the request names, if it did not authenticate.
        presented_client_id: Option<&'a ClientId>,
        /// The reason.
        error: &'a Error,
    },
    /// The introspection endpoint responded. This event is frequent, because a resource server may introspect a token
    /// with every request that it serves.
    #[non_exhaustive]
    TokenIntrospected {
        /// The caller.
        client_id: &'a ClientId,
        /// The grant of the token; `None` if the response says that the token is inactive.
        grant: Option<&'a Grant>,
    },
    /// The introspection endpoint refused a request, or failed.
    #[non_exhaustive]
    IntrospectionRefused {
        /// The client, if it authenticated.
        client_id: Option<&'a ClientId>,
        /// The registered client that the request names, if it did not authenticate.
        presented_client_id: Option<&'a ClientId>,
        /// The reason.
        error: &'a Error,
    },
    /// The host app revoked grants. The removal of a client sends no event, because the host app calls
    /// [`ClientRegistry::remove`](crate::ClientRegistry::remove) on its storage.
    #[non_exhaustive]
    GrantsRevoked {
        /// The selected grants.
        which: &'a GrantSelector,
        /// The number of selected grants that had not been revoked before.
        count: u64,
    },
    /// The host app tried to revoke grants, but the storage failed. Some of them may be revoked.
    #[non_exhaustive]
    GrantsRevocationFailed {
        /// The selected grants.
        which: &'a GrantSelector,
        /// The failure.
        error: &'a Error,
    },
    /// The signing keys of the server could not be read (feature `jwt`). `RotatingKeys` sends this event for each
    /// failed attempt, at most once a second while it continues with the keys that it has. A request that fails because
    /// of it sends another event, except at `/jwks`. The event has no peer.
    #[non_exhaustive]
    KeysUnavailable {
        /// The failure.
        error: &'a Error,
    },
    /// A document could not be fetched from a URL that a client has registered, or the fetch was refused. Requests that
    /// wait for the same fetch share this event. Each of them gets 503 and sends an event of its endpoint, unless the
    /// server has an earlier copy of the document. See [outbound requests](crate::manual::outbound_requests).
    #[non_exhaustive]
    FetchFailed {
        /// The client that registered the URL. Its request may not be authenticated yet.
        client_id: &'a ClientId,
        /// The URL.
        url: &'a str,
        /// The purpose of the fetch.
        purpose: FetchPurpose,
        /// The reason: always [`Error::Fetch`].
        error: &'a Error,
    },
    /// A protected resource refused an access token.
    #[non_exhaustive]
    BearerRefused {
        /// The grant of the token, if the check found one. A [`ResourceServer`](crate::ResourceServer) never knows the
        /// grant.
        grant_id: Option<GrantId>,
        /// The client of the token, if the check found the token. A [`ResourceServer`](crate::ResourceServer) knows it
        /// only for a live token that lacks a scope or a user.
        client_id: Option<&'a ClientId>,
        /// The error code of the response; `None` if the request has no token.
        code: Option<&'a str>,
        /// The reason; `None` if the token could not be checked.
        reason: Option<BearerRefusal>,
        /// The failure, if the token could not be checked.
        error: Option<&'a Error>,
    },
}

/// The precise reason why the bearer check refused a request, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerRefusal {
    /// The request has no access token.
    NoToken,
    /// The request has an access token in more than one place, or a malformed one.
    Malformed,
    /// The token is malformed, unknown, expired or revoked, or its subject is not active.
    NotLive,
    /// The type of the token is not `Bearer`, or the introspection response names no type.
    NotBearer,
    /// The introspection response has `cnf`: the token is bound to a key.
    Bound,
    /// The introspection response names another issuer, or does not name the audience of this API. If this happens with
    /// every token, check the settings of the [`ResourceServer`](crate::ResourceServer).
    Foreign,
    /// The token has no scope.
    NoScope,
    /// The token lacks a scope that the API requires.
    InsufficientScope,
    /// The API requires a user, but the token belongs to a client that acts on its own behalf.
    NoResourceOwner,
}

/// The purpose of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchPurpose {
    /// To read the public keys of a client, from its `jwks_uri` (RFC 7591 §2).
    ClientKeys,
}

impl FetchPurpose {
    /// Returns a stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientKeys => "client_keys",
        }
    }
}

/// Whether a repeated refresh comes from the peer of the first one. The whole addresses are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RepeatedFrom {
    /// Both requests come from the same address.
    SamePeer,
    /// The requests come from different addresses. The client changed its network, or another party has the token.
    OtherPeer,
    /// The host app did not set the peer of at least one of the two requests.
    Unknown,
}

impl RepeatedFrom {
    /// Returns a stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SamePeer => "same_peer",
            Self::OtherPeer => "other_peer",
            Self::Unknown => "unknown",
        }
    }
}

/// The basis of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConsentBasis {
    /// The user agreed on a consent page.
    Given,
    /// The user agreed before, and that grant is still live.
    Remembered,
    /// The client is a first-party client, and its redirect URI proves that. The user was not asked.
    FirstParty,
    /// The client is a first-party client, and the user confirmed the request by one click.
    Confirmed,
}

impl ConsentBasis {
    /// Returns a stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Remembered => "remembered",
            Self::FirstParty => "first_party",
            Self::Confirmed => "confirmed",
        }
    }
}

impl EventKind<'_> {
    /// Returns the name of the event. It is stable, so use it in logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AuthorizationRefused { .. } => "authorization_refused",
            Self::AuthorizationStale { .. } => "authorization_stale",
            Self::AuthorizationApproved { .. } => "authorization_approved",
            Self::AuthorizationDenied { .. } => "authorization_denied",
            Self::TokensIssued { .. } => "tokens_issued",
            Self::RefreshRepeated { .. } => "refresh_repeated",
            Self::TokenRefused { .. } => "token_refused",
            Self::CodeReplayed { .. } => "code_replayed",
            Self::CodeRepeated { .. } => "code_repeated",
            Self::RefreshTokenReused { .. } => "refresh_token_reused",
            Self::SubjectNotActive { .. } => "subject_not_active",
            Self::CustomizerMemberDropped { .. } => "customizer_member_dropped",
            Self::ScopeNotOffered { .. } => "scope_not_offered",
            Self::TokenRevoked { .. } => "token_revoked",
            Self::RevocationRefused { .. } => "revocation_refused",
            Self::TokenIntrospected { .. } => "token_introspected",
            Self::IntrospectionRefused { .. } => "introspection_refused",
            Self::GrantsRevoked { .. } => "grants_revoked",
            Self::GrantsRevocationFailed { .. } => "grants_revocation_failed",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::FetchFailed { .. } => "fetch_failed",
            Self::BearerRefused { .. } => "bearer_refused",
        }
    }
}
