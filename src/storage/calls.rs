//! What the calls of a [`Storage`](super::Storage) take and return.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::record::{AttemptId, ClientId, Grant, GrantId, SessionDigest, Spent, StoredToken, Subject, TokenKind};
use crate::secret::{Seed, TokenHash};

/// A token's row and its grant's, as they stood at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Found {
    /// The token's row.
    pub token: Arc<StoredToken>,
    /// The row of the grant that the token belongs to.
    pub grant: Arc<Grant>,
}

impl Found {
    /// Joins the two rows.
    #[must_use]
    pub const fn new(token: Arc<StoredToken>, grant: Arc<Grant>) -> Self {
        Self { token, grant }
    }
}

/// What became of an [`open_grant`](super::Storage::open_grant). In JSON it is `"done"`, `"taken"` or `"parent_dead"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "unless it is Done, nothing was stored"]
#[expect(clippy::exhaustive_enums, reason = "each outcome must be handled")]
pub enum Opened {
    /// The grant and its tokens are stored.
    Done,
    /// A one-time key was used before; nothing was written.
    Taken,
    /// The parent does not live; nothing was written.
    ParentDead,
}

/// The order to spend a token, see [`Storage::redeem`](super::Storage::redeem).
///
/// For a storage that sends it to another process: in JSON it is an object with these fields, and times are RFC 3339 texts.
/// Unknown members are refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must heed every field")]
pub struct Redemption {
    /// The token to be spent.
    pub token: TokenHash,
    /// The kind it must have.
    pub kind: TokenKind,
    /// The grant it must belong to.
    pub grant_id: GrantId,
    /// Identifies this attempt.
    pub attempt: AttemptId,
    /// The time of the request.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// Whether the token is spent by this. A refresh token without rotation is not.
    pub consume: bool,
    /// What to keep beside the spent token until a successor is spent, if anything. In JSON it is `null` if there is none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub seed: Option<Seed>,
    /// When the seed is due to be erased by a purge; present if there is a seed.
    #[serde(default, with = "rfc3339::option")]
    pub seed_until: Option<OffsetDateTime>,
    /// When the grant ends after this.
    #[serde(with = "rfc3339")]
    pub grant_expires_at: OffsetDateTime,
}

impl Redemption {
    /// What is written into the row of a token that is spent by this.
    #[must_use]
    pub fn spent(&self) -> Spent {
        Spent { at: self.at, attempt: self.attempt, seed: self.seed.clone(), seed_until: self.seed_until }
    }

    /// Steps 1 to 3 of [`Storage::redeem`](super::Storage::redeem): what is answered without writing anything, or `None` if the token is to be
    /// spent. `found` is the token's row and its grant, as they stand at the moment of the step: read them under the lock,
    /// or in the transaction, in which you write.
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

/// What became of a [`Redemption`]. In JSON it is `"done"`, `"already_spent"` or `"dead"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "unless it is Done, nothing was stored"]
#[expect(clippy::exhaustive_enums, reason = "each outcome must be handled")]
pub enum RedeemOutcome {
    /// The token was live; the successors are stored.
    Done,
    /// Another attempt has spent the token before; nothing was written.
    AlreadySpent,
    /// The token can't be spent; nothing was written.
    Dead,
}

/// Which grants are meant. There is no "all".
///
/// In JSON it is an object with one member, such as `{"subject": "alice"}` or `{"subject_and_client": ["alice", "app"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a storage that overlooked a case would revoke too little")]
pub enum GrantSelector {
    /// One grant.
    Id(GrantId),
    /// One grant, if it is this subject's: what a page that acts for a user selects by.
    SubjectAndId(Subject, GrantId),
    /// All grants of a subject. Never one without a subject.
    Subject(Subject),
    /// All grants of a client, those without a subject included.
    Client(ClientId),
    /// All grants that a subject gave to a client.
    SubjectAndClient(Subject, ClientId),
    /// All grants that end with a session.
    Session(SessionDigest),
    /// All grants of a subject that end with a session.
    SubjectAndSession(Subject, SessionDigest),
}

impl GrantSelector {
    /// Whether a grant is meant, whatever its state.
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
}

/// A part of a list of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantPage {
    /// How many grants at most.
    pub limit: usize,
    /// Only grants that come after this one: its `opened_at` and `id`.
    pub after: Option<(OffsetDateTime, GrantId)>,
}

impl GrantPage {
    /// The first `limit` grants.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { limit, after: None }
    }

    /// The `limit` grants that follow `last`.
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
        for (outcome, text) in [(Opened::Done, "done"), (Opened::Taken, "taken"), (Opened::ParentDead, "parent_dead")] {
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
