//! The records that a storage stores: [`Grant`] and [`StoredToken`].
//!
//! Their fields are public, and later versions add none. So a storage can build the records from its columns, and the
//! compiler reports a missing field. Later features add members to [`GrantDetails`] and [`TokenDetails`], each of which
//! is stored as one JSON value. A storage writes that value once and never changes it, so members that an old node does
//! not know survive its updates of the row. If such a member is critical, the old node can't use the record until it is
//! upgraded.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::serde::rfc3339;

pub use crate::details::{CodeBinding, GrantDetails, TokenDetails};
pub use crate::identifier::{AttemptId, ClientId, GrantId, GrantType, InvalidId, Subject};
pub(crate) use crate::identifier::{is_client_id, is_printable};
use crate::scope::Scope;
use crate::secret::{Seed, TokenHash};
#[doc(no_inline)]
pub use crate::secret::{SessionDigest, TokenKind};

/// The authorization of a client. All tokens of a grant stop working when it ends or is revoked.
///
/// Times are UTC in whole microseconds; in JSON they are RFC 3339 texts.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field; additions go into the details")]
pub struct Grant {
    /// The identifier of the grant: 128 random bits.
    pub id: GrantId,
    /// The client of the grant.
    pub client_id: ClientId,
    /// The user of the grant, or `None` if the client acts on its own behalf (client credentials).
    pub subject: Option<Subject>,
    /// The grant type by which the grant was opened. With `authorization_code` and `implicit`, it was approved at the
    /// authorization endpoint.
    pub grant_type: GrantType,
    /// The granted scope. A token may have less.
    pub scope: Scope,
    /// The time when the grant was opened.
    #[serde(with = "rfc3339")]
    pub opened_at: OffsetDateTime,
    /// The time when a token of the grant was last redeemed. At first, it equals `opened_at`.
    #[serde(with = "rfc3339")]
    pub last_used_at: OffsetDateTime,
    /// The time when the last token expires, and the grant with it. [`redeem`](crate::Storage::redeem) changes it.
    #[serde(with = "rfc3339")]
    pub expires_at: OffsetDateTime,
    /// The time when the grant was revoked, if it was.
    #[serde(default, with = "rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The parent, if this grant was derived from another one. The parent was live when this grant was opened. If the
    /// parent is revoked, this grant is revoked, too.
    #[serde(default)]
    pub parent_grant: Option<GrantId>,
    /// The session of the user with which the grant ends, if there is one.
    #[serde(default)]
    pub session: Option<SessionDigest>,
    /// The data that the host app attached when it approved the grant. The bearer check returns it.
    pub host_data: Option<Arc<Value>>,
    /// The members that later features add.
    pub details: GrantDetails,
}

impl StoredToken {
    /// Returns the first critical member of the token or its grant that this version does not enforce.
    pub(crate) fn unenforced_member<'a>(&'a self, grant: &'a Grant) -> Option<&'a str> {
        self.details.unenforced_member().or_else(|| grant.details.unenforced_member())
    }

    /// Returns the scope that was requested when the token was issued. The scope of the token may be narrower.
    #[must_use]
    pub fn requested_scope(&self) -> &Scope {
        self.details.requested_scope.as_ref().unwrap_or(&self.scope)
    }

    /// Returns the number of a refresh token in its grant. It is also the number of the refresh that redeems it. The
    /// first one has 1.
    pub(crate) fn family_number(&self) -> u32 {
        self.details.number.unwrap_or(1)
    }

    /// Returns whether the token is neither revoked nor expired and its grant is live. It may be redeemed.
    pub(crate) fn is_live(&self, grant: &Grant, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && now < self.expires_at && grant.is_live(now)
    }
}

impl Grant {
    /// Returns whether the grant is neither revoked nor ended.
    #[must_use]
    pub fn is_live(&self, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Returns whether the grant has only a code that no client has redeemed. Redemption changes `expires_at`.
    pub(crate) fn is_unredeemed(&self) -> bool {
        self.details.code_expires_at == Some(self.expires_at)
    }

    /// Returns the time when the grant was revoked or its last token expires. It can be purged after that.
    #[must_use]
    pub fn ends_at(&self) -> OffsetDateTime {
        self.revoked_at.map_or(self.expires_at, |at| at.min(self.expires_at))
    }

    /// Returns whether the grant may be opened: it has no parent, or `parent` is its parent and is live at `opened_at`.
    /// [`Storage::open_grant`](crate::Storage::open_grant) calls this while it holds a lock on the row of the parent.
    #[must_use]
    pub fn may_open(&self, parent: Option<&Self>) -> bool {
        let is_live = |id| parent.is_some_and(|parent| parent.id == id && parent.is_live(self.opened_at));
        self.parent_grant.is_none_or(is_live)
    }

    /// Returns whether the consent for the grant is live: the grant names no
    /// [`consent_grant`](GrantDetails::consent_grant), or `consent` is that grant and is live at `opened_at`.
    /// [`Storage::open_grant`](crate::Storage::open_grant) calls this while it holds a lock on the row of `consent`.
    #[must_use]
    pub fn has_live_consent(&self, consent: Option<&Self>) -> bool {
        let is_live = |id| consent.is_some_and(|consent| consent.id == id && consent.is_live(self.opened_at));
        self.details.consent_grant.is_none_or(is_live)
    }

    /// Returns the type of the access tokens (RFC 6749 §7.1).
    #[must_use]
    pub fn token_type(&self) -> &str {
        self.details.token_type.as_deref().unwrap_or("Bearer")
    }
}

impl fmt::Debug for Grant {
    /// Leaves out the data of the host app, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("id", &self.id)
            .field("client_id", &self.client_id)
            .field("subject", &self.subject)
            .field("grant_type", &self.grant_type)
            .field("scope", &self.scope)
            .field("opened_at", &self.opened_at)
            .field("last_used_at", &self.last_used_at)
            .field("expires_at", &self.expires_at)
            .field("revoked_at", &self.revoked_at)
            .field("parent_grant", &self.parent_grant)
            .field("session", &self.session)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

/// A code, access token, refresh token or one-time key in a storage. The storage has only its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field; additions go into the details")]
pub struct StoredToken {
    /// The SHA-256 digest by which the token is found.
    pub hash: TokenHash,
    /// The kind of the token.
    pub kind: TokenKind,
    /// The grant of the token.
    pub grant_id: GrantId,
    /// The scope of the token. For a code or refresh token, it is the whole scope of the grant.
    pub scope: Scope,
    /// The time when the token was issued.
    #[serde(with = "rfc3339")]
    pub issued_at: OffsetDateTime,
    /// The time when the token expires.
    #[serde(with = "rfc3339")]
    pub expires_at: OffsetDateTime,
    /// The token that was redeemed for this one.
    pub parent: Option<TokenHash>,
    /// The redemption of a single-use token. It is set once.
    pub spent: Option<Spent>,
    /// The time when only this token was revoked, if it was.
    #[serde(default, with = "rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The bindings of the token, and members that later features add.
    pub details: TokenDetails,
}

/// The redemption of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field")]
pub struct Spent {
    /// The time of the redemption.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The attempt that redeemed the token. A storage that retries recognises its earlier write by it.
    pub attempt: AttemptId,
    /// For a refresh token, the seed from which the successors can be derived again. It is present only while the grace
    /// window may be open. For a code, a mark of the resource, and that no successor was redeemed. It is present only
    /// with [`Policy::tolerate_repeated_codes`](crate::Policy::tolerate_repeated_codes).
    pub seed: Option<Seed>,
    /// The time when the seed must be erased. It is kept if the seed is erased earlier.
    #[serde(default, with = "rfc3339::option")]
    pub seed_until: Option<OffsetDateTime>,
}
