//! The records of a case. Cases share a storage, so no two cases use the same identifier, user or client.

use std::sync::Arc;

use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::node::Outcome;
use super::trial::Trial;
use crate::record::{
    AttemptId, ClientId, Grant, GrantDetails, GrantId, GrantType, SessionDigest, StoredToken, Subject, TokenDetails,
    TokenKind,
};
use crate::scope::Scope;
use crate::secret::{Seed, TokenHash};
use crate::storage::Redemption;

pub(super) const START: Duration = Duration::ZERO;
pub(super) const TICK: Duration = Duration::MICROSECOND;
pub(super) const SECOND: Duration = Duration::SECOND;
pub(super) const HOUR: Duration = Duration::HOUR;
pub(super) const DAY: Duration = Duration::DAY;

/// The time at which the first case takes place. Each case has a separate year, after the records of all earlier cases
/// have ended. All times are in the future, to detect a storage that uses the real clock.
const FIRST: i64 = 4_102_444_800;
const YEAR: Duration = Duration::days(400);

/// The type of an identifier.
#[derive(Clone, Copy)]
enum Kind {
    Token,
    Grant,
    Attempt,
    Seed,
    Session,
}

/// The mixing step of `SplitMix64`, which maps different numbers to different numbers.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Trial<'_> {
    /// Returns a time of this case.
    pub(super) fn at(&self, after: Duration) -> OffsetDateTime {
        let year = i32::try_from(self.number).unwrap_or_default();
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(FIRST) + YEAR * year + after
    }

    /// Removes the records of earlier cases, so that a purge only finds those of this case.
    pub(super) fn clean_up(&self) -> Outcome {
        self.node(0).purge_all(self.at(START), 1_000)
    }

    /// Returns bytes that look random like real identifiers, and are different for each identifier.
    fn bytes<const N: usize>(&self, what: Kind, number: u64) -> [u8; N] {
        let mut state = number | (u64::from(self.number) << 44) | ((what as u64) << 60);
        std::array::from_fn(|place| {
            if place.is_multiple_of(8) {
                state = mixed(state);
            }
            state.to_le_bytes()[place % 8]
        })
    }

    pub(super) fn hash(&self, number: u64) -> TokenHash {
        TokenHash::from_bytes(self.bytes(Kind::Token, number))
    }

    pub(super) fn grant_id(&self, number: u64) -> GrantId {
        GrantId::from_bytes(self.bytes(Kind::Grant, number))
    }

    pub(super) fn attempt(&self, number: u64) -> AttemptId {
        AttemptId::from_bytes(self.bytes(Kind::Attempt, number))
    }

    pub(super) fn seed(&self, number: u64) -> Seed {
        Seed::from_bytes(self.bytes(Kind::Seed, number))
    }

    pub(super) fn session(&self, number: u64) -> SessionDigest {
        SessionDigest::from_bytes(self.bytes(Kind::Session, number))
    }

    pub(super) fn subject(&self, name: &str) -> Subject {
        Subject::new(format!("{name}-{}", self.number)).expect("a good subject")
    }

    pub(super) fn client(&self, name: &str) -> ClientId {
        ClientId::new(format!("{name}-{}", self.number)).expect("a good client identifier")
    }

    /// Returns a grant of alice for the client `app`, which is opened at the start and ends after a day.
    pub(super) fn grant(&self, number: u64) -> Grant {
        Grant {
            id: self.grant_id(number),
            client_id: self.client("app"),
            subject: Some(self.subject("alice")),
            grant_type: GrantType::built_in(GrantType::AUTHORIZATION_CODE),
            scope: Scope::parse("user:read user:write").expect("a good scope"),
            opened_at: self.at(START),
            last_used_at: self.at(START),
            expires_at: self.at(DAY),
            revoked_at: None,
            parent_grant: None,
            session: None,
            host_data: Some(Arc::new(json!({ "tenant": 7 }))),
            details: GrantDetails::default(),
        }
    }

    /// Returns a token of a grant, which expires after a day.
    pub(super) fn token(&self, number: u64, kind: TokenKind, of: &Grant) -> StoredToken {
        StoredToken {
            hash: self.hash(number),
            kind,
            grant_id: of.id,
            scope: of.scope.clone(),
            issued_at: of.opened_at,
            expires_at: of.opened_at.saturating_add(DAY),
            parent: None,
            spent: None,
            revoked_at: None,
            details: TokenDetails::default(),
        }
    }

    pub(super) fn refresh(&self, number: u64, of: &Grant) -> StoredToken {
        self.token(number, TokenKind::RefreshToken, of)
    }

    pub(super) fn access(&self, number: u64, of: &Grant) -> StoredToken {
        self.token(number, TokenKind::AccessToken, of)
    }

    /// Stores a new grant with one refresh token. The token has the number of the grant.
    pub(super) fn family(&self, number: u64) -> Outcome<(Grant, StoredToken)> {
        let grant = self.grant(number);
        let token = self.refresh(number, &grant);
        self.node(0).open(&grant, std::slice::from_ref(&token))?;
        Ok((grant, token))
    }

    /// Stores a new grant that ends after `ends`, with refresh tokens numbered from `number` on. The tokens expire
    /// later than the grant, so that their expiry is no reason to refuse or purge them.
    pub(super) fn large_family(&self, number: u64, tokens: u64, ends: Duration) -> Outcome<(Grant, Vec<StoredToken>)> {
        let grant = Grant { expires_at: self.at(ends), ..self.grant(number) };
        let token = |number| StoredToken { expires_at: self.at(90 * DAY), ..self.refresh(number, &grant) };
        let tokens: Vec<_> = (number..number + tokens).map(token).collect();
        self.node(0).open(&grant, &tokens)?;
        Ok((grant, tokens))
    }

    /// Returns the instruction to redeem a token, a second after the start and with a seed.
    pub(super) fn spend(&self, what: &StoredToken, by: u64) -> Redemption {
        Redemption {
            token: what.hash,
            kind: what.kind.clone(),
            grant_id: what.grant_id,
            attempt: self.attempt(by),
            at: self.at(SECOND),
            consume: true,
            seed: Some(self.seed(by)),
            seed_until: Some(self.at(SECOND + Duration::MINUTE)),
            grant_expires_at: self.at(2 * DAY),
        }
    }

    /// Returns an access token and a refresh token that are successors of a token, numbered from `first` on.
    pub(super) fn successors(&self, first: u64, of: &Grant, parent: &StoredToken) -> Vec<StoredToken> {
        let mut successors = vec![self.access(first, of), self.refresh(first + 1, of)];
        for successor in &mut successors {
            successor.parent = Some(parent.hash);
        }
        successors
    }
}
