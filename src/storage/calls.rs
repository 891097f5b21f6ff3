//! The arguments and results of the methods of [`Storage`](super::Storage).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::record::{AttemptId, ClientId, Grant, GrantId, SessionDigest, Spent, StoredToken, Subject, TokenKind};
use crate::secret::{Seed, TokenHash};

/// The row of a token and the row of its grant, read at the same moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Found {
    /// The token's row.
    pub token: Arc<StoredToken>,
    /// The row of the grant that the token belongs to.
    pub grant: Arc<Grant>,
}

impl Found {
    /// Combines the two rows.
    #[must_use]
    pub const fn new(token: Arc<StoredToken>, grant: Arc<Grant>) -> Self {
        Self { token, grant }
    }
}

/// The outcome of [`open_grant`](super::Storage::open_grant). In JSON it is `"done"`, `"taken"`, `"parent_dead"`
/// or `"consent_dead"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "unless it is Done, nothing was stored"]
#[expect(clippy::exhaustive_enums, reason = "each outcome must be handled")]
pub enum Opened {
    /// The grant and its tokens are stored.
    Done,
    /// A one-time key among the tokens was used before; nothing was written.
    Taken,
    /// The parent grant is not live; nothing was written.
    ParentDead,
    /// The grant of the earlier consent is not live; nothing was written.
    ConsentDead,
}

/// The instruction to redeem a token, passed to [`Storage::redeem`](super::Storage::redeem).
///
/// A storage that sends it to another process can use JSON: an object with these fields, with times as RFC 3339 texts.
/// Deserialization rejects unknown members.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must heed every field")]
pub struct Redemption {
    /// The hash of the token to redeem.
    pub token: TokenHash,
    /// The kind that the token must have.
    pub kind: TokenKind,
    /// The grant that the token must belong to.
    pub grant_id: GrantId,
    /// The identifier of this attempt, unique to the request.
    pub attempt: AttemptId,
    /// The time of the redemption. It is before the expiry of the token if the token was valid when the request arrived.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// Whether the redemption spends the token. It is `false` for a refresh token without rotation.
    pub consume: bool,
    /// The seed to store with the spent token until one of its successors is spent. In JSON it is `null` if there is
    /// none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub seed: Option<Seed>,
    /// The time at which a purge may erase the seed. Present if there is a seed.
    #[serde(default, with = "rfc3339::option")]
    pub seed_until: Option<OffsetDateTime>,
    /// The new end of the grant.
    #[serde(with = "rfc3339")]
    pub grant_expires_at: OffsetDateTime,
}

impl Redemption {
    /// Returns the value to store as [`StoredToken::spent`] if [`consume`](Self::consume) is set.
    #[must_use]
    pub fn spent(&self) -> Spent {
        Spent { at: self.at, attempt: self.attempt, seed: self.seed.clone(), seed_until: self.seed_until }
    }

    /// Implements steps 1 to 3 of [`Storage::redeem`](super::Storage::redeem). Returns the outcome if nothing is to be
    /// written, or `None` if step 4 follows. `found` is the row of the token and of its grant: read them under the same
    /// lock, or in the same transaction, in which you write.
    #[must_use]
    pub fn refusal(&self, found: Option<(&StoredToken, &Grant)>) -> Option<RedeemOutcome> {
        let Some((token, grant)) = found else { return Some(RedeemOutcome::Dead) };
        let is_meant = token.hash == self.token && token.kind == self.kind && token.grant_id == self.grant_id;
        if !is_meant || token.revoked_at.is_some() || grant.id != self.grant_id || !grant.is_live(self.at) {
            return Some(RedeemOutcome::Dead);
        }
        if let Some(spent) = &token.spent {
            return Some(if spent.attempt == self.attempt { RedeemOutcome::Done } else { RedeemOutcome::AlreadySpent });
        }
        (token.expires_at <= self.at).then_some(RedeemOutcome::Dead)
    }
}

/// The outcome of a [`Redemption`]. In JSON it is `"done"`, `"already_spent"` or `"dead"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "unless it is Done, nothing was stored"]
#[expect(clippy::exhaustive_enums, reason = "each outcome must be handled")]
pub enum RedeemOutcome {
    /// The token was live; the successors are stored.
    Done,
    /// Another attempt spent the token before; nothing was written.
    AlreadySpent,
    /// The token is unknown, expired or revoked, its grant is not live, or it has another kind or grant; nothing was
    /// written.
    Dead,
}

/// A selection of grants. No selector covers all grants of a storage.
///
/// In JSON it is an object with one member, such as `{"subject": "alice"}` or
/// `{"subject_and_client": ["alice", "app"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a storage that ignored a case would revoke too little")]
pub enum GrantSelector {
    /// One grant.
    Id(GrantId),
    /// One grant, if it belongs to this subject. Use this for pages that act for a user.
    SubjectAndId(Subject, GrantId),
    /// All grants of a subject. It never selects a grant without a subject.
    Subject(Subject),
    /// All grants of a client, including those without a subject.
    Client(ClientId),
    /// All grants of a subject for a client.
    SubjectAndClient(Subject, ClientId),
    /// All grants that end with this session.
    Session(SessionDigest),
    /// All grants of a subject that end with this session.
    SubjectAndSession(Subject, SessionDigest),
}

impl GrantSelector {
    /// Returns whether a grant is selected. Its state does not matter.
    #[must_use]
    pub fn selects(&self, grant: &Grant) -> bool {
        let is = |subject: &Subject| grant.subject.as_ref() == Some(subject);
        match self {
            Self::Id(id) => grant.id == *id,
            Self::SubjectAndId(subject, id) => grant.id == *id && is(subject),
            Self::Subject(subject) => is(subject),
            Self::Client(client) => grant.client_id == *client,
            Self::SubjectAndClient(subject, client) => is(subject) && grant.client_id == *client,
            Self::Session(session) => grant.session == Some(*session),
            Self::SubjectAndSession(subject, session) => is(subject) && grant.session == Some(*session),
        }
    }

    /// Returns whether the selector selects every grant that has one of its grants as its
    /// [`consent_grant`](crate::record::GrantDetails::consent_grant), and only grants of one subject. A revocation then
    /// covers grants that are opened meanwhile, see [`Storage::revoke_grants`](super::Storage::revoke_grants).
    pub(crate) const fn covers_consents(&self) -> bool {
        matches!(self, Self::Subject(_) | Self::SubjectAndClient(..))
    }
}

/// A page of a list of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantPage {
    /// The maximum number of grants.
    pub limit: usize,
    /// The `opened_at` and `id` of the last grant of the previous page. `None` for the first page.
    pub after: Option<(OffsetDateTime, GrantId)>,
}

impl GrantPage {
    /// Returns the page with the first `limit` grants.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { limit, after: None }
    }

    /// Returns the page with the `limit` grants that follow `last`.
    #[must_use]
    pub const fn after(last: &Grant, limit: usize) -> Self {
        Self { limit, after: Some((last.opened_at, last.id)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn calls_come_back_from_the_documented_json() {
        let hash = TokenHash::from_bytes([7; 32]);
        let redemption = json!({
            "token": hash,
            "kind": "refresh_token",
            "grant_id": GrantId::from_bytes([1; 16]),
            "attempt": AttemptId::from_bytes([2; 16]),
            "at": "2026-01-01T00:00:00.000001Z",
            "consume": true,
            "seed": Seed::from_bytes([3; 32]),
            "seed_until": "2026-01-01T00:01:00.000001Z",
            "grant_expires_at": "2026-01-02T00:00:00Z",
        });
        let read = |value: &Value| serde_json::from_value::<Redemption>(value.clone());
        assert_eq!(serde_json::to_value(read(&redemption).unwrap()).unwrap(), redemption);
        for name in ["kind", "attempt", "consume", "seed", "grant_expires_at"] {
            let mut without = redemption.clone();
            without.as_object_mut().unwrap().remove(name);
            assert!(read(&without).is_err(), "{name} is missing");
        }
        let mut with_more = redemption.clone();
        with_more["later"] = json!(1);
        assert!(read(&with_more).is_err(), "an unknown member");

        for (outcome, text) in [
            (RedeemOutcome::Done, "done"),
            (RedeemOutcome::AlreadySpent, "already_spent"),
            (RedeemOutcome::Dead, "dead"),
        ] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), text);
            assert_eq!(serde_json::from_value::<RedeemOutcome>(json!(text)).unwrap(), outcome);
        }
        for (outcome, text) in [
            (Opened::Done, "done"),
            (Opened::Taken, "taken"),
            (Opened::ParentDead, "parent_dead"),
            (Opened::ConsentDead, "consent_dead"),
        ] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), text);
            assert_eq!(serde_json::from_value::<Opened>(json!(text)).unwrap(), outcome);
        }
        for which in [
            json!({ "subject": "alice" }),
            json!({ "client": "app" }),
            json!({ "subject_and_client": ["alice", "app"] }),
            json!({ "id": GrantId::from_bytes([1; 16]) }),
            json!({ "subject_and_id": ["alice", GrantId::from_bytes([1; 16])] }),
            json!({ "session": SessionDigest::from_bytes([4; 32]) }),
            json!({ "subject_and_session": ["alice", SessionDigest::from_bytes([4; 32])] }),
        ] {
            let selector = serde_json::from_value::<GrantSelector>(which.clone()).unwrap();
            assert_eq!(serde_json::to_value(selector).unwrap(), which);
        }
    }
}
