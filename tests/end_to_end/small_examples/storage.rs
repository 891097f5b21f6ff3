//! Compares the custom storage of the example with the library's memory storage: after the same steps, both have the
//! same state.

use std::sync::Arc;

use grantor::record::{AttemptId, GrantDetails, TokenDetails, TokenKind};
use grantor::secret::{Seed, TokenHash};
use grantor::storage::{GrantPage, GrantSelector, Redemption};
use grantor::{ClientId, Grant, GrantId, GrantType, MemoryStorage, Scope, Storage, StoredToken, Subject};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::custom_storage::Documents;

/// Pseudorandom numbers that are the same in each run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u8) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u8::try_from((mixed >> 33) % u64::from(limit)).unwrap()
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.below(count) == 0
    }

    fn of<const N: usize, T>(&mut self, all: [T; N]) -> T {
        let number = usize::from(self.below(u8::try_from(N).unwrap()));
        all.into_iter().nth(number).unwrap()
    }
}

const TOKENS: u8 = 40;
const GRANTS: u8 = 8;

fn hash(number: u8) -> TokenHash {
    TokenHash::from_bytes([number; 32])
}

fn grant_id(number: u8) -> GrantId {
    GrantId::from_bytes([number; 16])
}

fn token(numbers: &mut Numbers, grant: GrantId, parent: Option<TokenHash>, now: OffsetDateTime) -> StoredToken {
    StoredToken {
        hash: hash(numbers.below(TOKENS)),
        kind: numbers.of([TokenKind::AuthorizationCode, TokenKind::AccessToken, TokenKind::RefreshToken]),
        grant_id: grant,
        scope: Scope::parse("user:read").unwrap(),
        issued_at: now,
        expires_at: now + Duration::seconds(i64::from(numbers.below(200))),
        parent,
        spent: None,
        revoked_at: None,
        details: TokenDetails::default(),
    }
}

fn grant(numbers: &mut Numbers, now: OffsetDateTime) -> Grant {
    Grant {
        id: grant_id(numbers.below(GRANTS)),
        client_id: ClientId::new(numbers.of(["app", "other"])).unwrap(),
        subject: numbers.of([Some("alice"), Some("bob"), None]).map(|name| Subject::new(name).unwrap()),
        grant_type: GrantType::new("authorization_code").unwrap(),
        scope: Scope::parse("user:read user:write").unwrap(),
        opened_at: now,
        last_used_at: now,
        expires_at: now + Duration::seconds(i64::from(numbers.below(250))),
        revoked_at: None,
        parent_grant: None,
        session: None,
        host_data: numbers.one_in(2).then(|| Arc::new(json!({ "device": "phone" }))),
        details: GrantDetails::default(),
    }
}

fn selector(numbers: &mut Numbers) -> GrantSelector {
    let (id, alice, app) =
        (grant_id(numbers.below(GRANTS)), Subject::new("alice").unwrap(), ClientId::new("app").unwrap());
    match numbers.below(9) {
        0 => GrantSelector::Subject(alice),
        1 => GrantSelector::Client(app),
        2 => GrantSelector::SubjectAndClient(alice, app),
        3 | 4 => GrantSelector::SubjectAndId(alice, id),
        _ => GrantSelector::Id(id),
    }
}

/// One random step, and its outcome. The same numbers give the same step.
async fn step(storage: &dyn Storage, numbers: &mut Numbers, now: OffsetDateTime) -> String {
    match numbers.below(20) {
        0..5 => {
            let grant = grant(numbers, now);
            let tokens: Vec<_> = (0..=numbers.below(2)).map(|_| token(numbers, grant.id, None, now)).collect();
            let taken = tokens.len() == 2 && tokens[0].hash == tokens[1].hash;
            let tokens = if taken { &tokens[..1] } else { &tokens };
            format!("open {:?}", storage.open_grant(&Arc::new(grant), tokens).await.is_ok())
        }
        5..14 => {
            let presented = hash(numbers.below(TOKENS));
            // Most calls are like those of the library, and some are not.
            let known =
                storage.find(&presented).await.unwrap().map(|found| (found.token.kind.clone(), found.token.grant_id));
            let (kind, own) = known.unwrap_or((TokenKind::RefreshToken, grant_id(0)));
            let (other, wrong) = (grant_id(numbers.below(GRANTS)), numbers.one_in(8));
            let redemption = Redemption {
                token: presented,
                kind: if numbers.one_in(8) { TokenKind::AuthorizationCode } else { kind },
                grant_id: if wrong { other } else { own },
                attempt: AttemptId::from_bytes([numbers.below(4); 16]),
                at: now,
                consume: !numbers.one_in(4),
                seed: (!numbers.one_in(3)).then(|| Seed::from_bytes([7; 32])),
                seed_until: Some(now + Duration::MINUTE),
                grant_expires_at: now + Duration::seconds(i64::from(numbers.below(250))),
            };
            let successor = token(numbers, own, Some(presented), now);
            match storage.redeem(&redemption, &[successor]).await {
                Ok(outcome) => format!("redeem {outcome:?}"),
                Err(_) => "redeem failed".to_owned(),
            }
        }
        14 | 15 => {
            let token = hash(numbers.below(TOKENS));
            format!("revoke token {:?}", storage.revoke_access_token(&token, now).await.is_ok())
        }
        16 | 17 => {
            let which = selector(numbers);
            format!("revoke {which:?}: {}", storage.revoke_grants(&which, now).await.unwrap())
        }
        18 => {
            let which = selector(numbers);
            let first = storage.list_grants(&which, now, &GrantPage::first(2)).await.unwrap();
            let rest = match first.last() {
                Some(last) => storage.list_grants(&which, now, &GrantPage::after(last, 9)).await.unwrap(),
                None => Vec::new(),
            };
            format!("list {}", json!([first, rest]))
        }
        _ => {
            // Purges in small steps, until nothing is left. The storage may choose the rows of each step.
            while storage.purge_expired(now, 3).await.unwrap() == 3 {}
            "purge".to_owned()
        }
    }
}

/// All records that can be found.
async fn state(storage: &dyn Storage) -> Value {
    let mut found = Vec::new();
    for number in 0..TOKENS {
        let row = storage.find(&hash(number)).await.unwrap();
        found.push(json!(row));
    }
    found.into()
}

#[tokio::test]
async fn custom_and_memory_storage_agree_after_every_step() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let (own, memory) = (Documents::default(), MemoryStorage::new());
        let mut now = OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap();
        let mut clock = Numbers(seed + 1_000);
        for number in 0..250_u64 {
            now += Duration::seconds(i64::from(clock.below(15)));
            let draw = || Numbers(seed * 1_000_000 + number * 1_000);
            let expected = step(&memory, &mut draw(), now).await;
            let outcome = step(&own, &mut draw(), now).await;
            assert_eq!(outcome, expected, "seed {seed}, step {number}");
            assert_eq!(state(&own).await, state(&memory).await, "seed {seed}, step {number}: {outcome}");
            outcomes.insert(outcome.split(['{', ':', '[']).next().unwrap().to_owned());
        }
    }
    // Each outcome must occur, or the steps would prove little.
    for outcome in ["redeem Done", "redeem AlreadySpent", "redeem Dead", "redeem failed", "open false", "purge"] {
        assert!(outcomes.contains(outcome), "{outcome} never happened: {outcomes:?}");
    }
}
