//! Events for auditors: every token issued, refused and introspected, every replay, every revocation through the
//! server. Never a secret.

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::authenticator::SubjectStatus;
use crate::error::Error;
use crate::record::{ClientId, Grant, GrantId, Subject, TokenKind};
use crate::scope::Scope;
use crate::storage::GrantSelector;

/// Receives the events of a server. Called after the fact, in the request's own task: it should be quick and must not block.
#[diagnostic::on_unimplemented(note = "an observer has one method: `fn observe(&self, event: &Event<'_>)`")]
pub trait Observer: Send + Sync {
    /// Takes note of an event.
    fn observe(&self, event: &Event<'_>);
}

/// An observer that takes no note.
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

/// Two observers, told one after the other.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&self, event: &Event<'_>) {
        self.0.observe(event);
        self.1.observe(event);
    }
}

/// An event of a server, as an [`Observer`] is told of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The time of the request.
    pub at: OffsetDateTime,
    /// The peer of the request, if the host vouched for one. Calls of the host, such as
    /// [`resume`](crate::AuthorizationServer::resume) with the bare text of a form token, have none.
    pub peer: Option<IpAddr>,
    /// What happened.
    pub kind: EventKind<'a>,
}

/// The kind of an event, with its details. Client identifiers are those of registered clients: what was sent in place of one is not repeated, because it may be
/// a secret in the wrong place.
#[derive(Debug)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// The authorization endpoint refused a request, or failed.
    #[non_exhaustive]
    AuthorizationRefused {
        /// The client, if the request got far enough to know it.
        client_id: Option<&'a ClientId>,
        /// Why.
        error: &'a Error,
    },
    /// A consent form was submitted that is no longer good, or the browser came back from a login to a request that can't be read any
    /// more. Nobody made a mistake, and the client is not told.
    #[non_exhaustive]
    AuthorizationStale {
        /// The client, if the form was read far enough to know it.
        client_id: Option<&'a ClientId>,
        /// Why: [`InvalidFormToken`](crate::Refusal::InvalidFormToken), [`ExpiredFormToken`](crate::Refusal::ExpiredFormToken),
        /// [`StaleFormToken`](crate::Refusal::StaleFormToken) or [`UsedFormToken`](crate::Refusal::UsedFormToken).
        error: &'a Error,
    },
    /// A request was approved; the grant is open and its code or token issued.
    #[non_exhaustive]
    AuthorizationApproved {
        /// The new grant.
        grant: &'a Grant,
        /// What the approval rests on.
        consent: ConsentBasis,
    },
    /// A resource owner said no, or approved nothing.
    #[non_exhaustive]
    AuthorizationDenied {
        /// The client that had asked.
        client_id: &'a ClientId,
        /// Who denied, if the host said so.
        subject: Option<&'a Subject>,
    },
    /// The token endpoint issued tokens.
    #[non_exhaustive]
    TokensIssued {
        /// The grant they belong to.
        grant: &'a Grant,
        /// The grant type of the request.
        grant_type: &'a str,
        /// The scope of the access token.
        scope: &'a Scope,
        /// Whether a refresh token was issued with it.
        refresh_token: bool,
    },
    /// A refresh was repeated within its grace window and got the same tokens again: its answer was lost, or a thief follows the
    /// client. See [the grace window](crate::manual::defaults#the-grace-window).
    #[non_exhaustive]
    RefreshRepeated {
        /// The grant.
        grant: &'a Grant,
        /// How many repeats of the grant were answered, this one included. Of many at the same moment, some may be left out. The count
        /// begins again if none came for as long as a refresh token may be idle.
        count: u64,
        /// Whether the peer is the one of the refresh.
        from: RepeatedFrom,
    },
    /// The token endpoint refused a request, or failed; or a client did not authenticate at an endpoint of the application or of a
    /// capability, see [`authenticate_client`](crate::AuthorizationServer::authenticate_client).
    #[non_exhaustive]
    TokenRefused {
        /// The client, if it was authenticated.
        client_id: Option<&'a ClientId>,
        /// The registered client that the request named, if it did not authenticate.
        presented_client_id: Option<&'a ClientId>,
        /// The grant type, if it is one that the server has.
        grant_type: Option<&'a str>,
        /// Why.
        error: &'a Error,
    },
    /// A redeemed code was presented again by someone who proved possession; its grant was revoked.
    #[non_exhaustive]
    CodeReplayed {
        /// The grant.
        grant: &'a Grant,
    },
    /// A redeemed code was presented again within ten seconds by its client, which seems to have lost the answer. It was refused, and its
    /// grant lives. See [`Policy::tolerate_repeated_codes`](crate::Policy::tolerate_repeated_codes).
    #[non_exhaustive]
    CodeRepeated {
        /// The grant.
        grant: &'a Grant,
    },
    /// A spent refresh token was presented again; its grant was revoked.
    #[non_exhaustive]
    RefreshTokenReused {
        /// The grant.
        grant: &'a Grant,
    },
    /// The authenticator said that a subject is not active, so a token of it was not issued or not accepted. The endpoint's own
    /// event follows. Clients are not told the status.
    #[non_exhaustive]
    SubjectNotActive {
        /// The subject.
        subject: &'a Subject,
        /// Its status.
        status: SubjectStatus,
        /// How many grants of the subject were revoked for it; 0 unless it is gone.
        revoked: u64,
    },
    /// A token customizer wanted to add a member whose name is reserved or taken. The answer went without it.
    #[non_exhaustive]
    CustomizerMemberDropped {
        /// The client or caller that got the answer.
        client_id: &'a ClientId,
        /// The name of the member.
        member: &'a str,
    },
    /// A client is registered for scopes that the server does not offer, so it can't get them. Told at the first use of the client since
    /// the server was built, of up to a thousand clients. It has no peer. The
    /// [lint](crate::lint::ClientLint::ScopeNotOffered) finds the same.
    #[non_exhaustive]
    ScopeNotOffered {
        /// The client.
        client_id: &'a ClientId,
        /// The scopes that are not offered.
        scope: &'a Scope,
    },
    /// A client revoked a token that was not dead yet: an access token alone, or with a refresh token the whole grant.
    #[non_exhaustive]
    TokenRevoked {
        /// The grant of the token.
        grant: &'a Grant,
        /// What was revoked.
        kind: &'a TokenKind,
    },
    /// The revocation endpoint refused a request, or failed. If the answer of the storage was lost, the token may be dead
    /// all the same, and a repetition then finds nothing left to tell. With [`Refusal::NotYourToken`](crate::Refusal::NotYourToken) the
    /// client may have been answered as for an unknown token.
    #[non_exhaustive]
    RevocationRefused {
        /// The client, if it was authenticated.
        client_id: Option<&'a ClientId>,
        /// The registered client that the request named, if it did not authenticate.
        presented_client_id: Option<&'a ClientId>,
        /// Why.
        error: &'a Error,
    },
    /// The introspection endpoint answered. Resource servers ask for every request they serve, so there are many of these.
    #[non_exhaustive]
    TokenIntrospected {
        /// The caller.
        client_id: &'a ClientId,
        /// The grant of the token; `None` if the caller was told that it is inactive, for whatever reason.
        grant: Option<&'a Grant>,
    },
    /// The introspection endpoint refused a request, or failed.
    #[non_exhaustive]
    IntrospectionRefused {
        /// The client, if it was authenticated.
        client_id: Option<&'a ClientId>,
        /// The registered client that the request named, if it did not authenticate.
        presented_client_id: Option<&'a ClientId>,
        /// Why.
        error: &'a Error,
    },
    /// The host revoked grants. Those that end with their client have no event, because the host calls
    /// [`ClientRegistry::remove`](crate::ClientRegistry::remove) on its storage.
    #[non_exhaustive]
    GrantsRevoked {
        /// Which.
        which: &'a GrantSelector,
        /// How many there were that had not been revoked before.
        count: u64,
    },
    /// The host wanted to revoke grants, but the storage failed; some of them may have been revoked.
    #[non_exhaustive]
    GrantsRevocationFailed {
        /// Which.
        which: &'a GrantSelector,
        /// The failure.
        error: &'a Error,
    },
    /// The keys that the server signs with could not be read (feature `jwt`). `RotatingKeys` tells each time that it has tried, at most
    /// once a second while it goes on with the keys that it knows. A request that fails for it has an event of its own, too, but for
    /// `/jwks`. It has no peer.
    #[non_exhaustive]
    KeysUnavailable {
        /// The failure.
        error: &'a Error,
    },
    /// A protected resource refused an access token.
    #[non_exhaustive]
    BearerRefused {
        /// The grant of the token, if the check found one. A [`ResourceServer`](crate::ResourceServer) is told of no grant.
        grant_id: Option<GrantId>,
        /// The client that the token was issued to, if the check found the token. A [`ResourceServer`](crate::ResourceServer) names it
        /// for a live token that lacks a scope or a resource owner.
        client_id: Option<&'a ClientId>,
        /// The code that was answered; `None` if no token was presented.
        code: Option<&'a str>,
        /// Why the token was refused; `None` if it could not be checked.
        reason: Option<BearerRefusal>,
        /// The failure behind it, if the token could not be checked.
        error: Option<&'a Error>,
    },
}

/// Why the bearer check refused a request, as precisely as an operator wants to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerRefusal {
    /// The request presents no access token.
    NoToken,
    /// The request presents a token in more than one way, or in a malformed form.
    Malformed,
    /// The token is malformed or unknown, has expired, or was revoked, or its subject is not active.
    NotLive,
    /// The token has another type than `Bearer`, or the introspection response names none.
    NotBearer,
    /// The introspection response has `cnf`: the token is bound to a key.
    Bound,
    /// The introspection response names another issuer, or not the audience of this API. If it happens to every token, a setting of
    /// the [`ResourceServer`](crate::ResourceServer) is wrong.
    Foreign,
    /// The token has no scope.
    NoScope,
    /// The token lacks a scope that the API requires.
    InsufficientScope,
    /// The API requires a user, and the token belongs to a client that acts for itself.
    NoResourceOwner,
}

/// Whether a refresh is repeated by the peer that made it. Addresses are compared as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RepeatedFrom {
    /// The same address.
    SamePeer,
    /// Another address: a client that changed its network, or another party that has the token.
    OtherPeer,
    /// The host vouched for no peer of one of the two requests.
    Unknown,
}

impl RepeatedFrom {
    /// Its name: stable, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SamePeer => "same_peer",
            Self::OtherPeer => "other_peer",
            Self::Unknown => "unknown",
        }
    }
}

/// What an approval rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConsentBasis {
    /// The user agreed on a consent page.
    Given,
    /// The user had agreed before, and that grant still lives.
    Remembered,
    /// The client is the server's own, and its redirect proves that. The user was not asked.
    FirstParty,
    /// The client is the server's own, and the user confirmed by one click.
    Confirmed,
}

impl ConsentBasis {
    /// Its name: stable, for logs and metrics.
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
    /// The name of the event: stable, for logs and metrics.
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
            Self::BearerRefused { .. } => "bearer_refused",
        }
    }
}
