//! The memory storage against the contract, and its further promises: exact counts, bounded work, long lists.
//! `concurrency.rs` tests servers over it in parallel.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use grantor::record::{AttemptId, GrantDetails, Spent, TokenDetails, TokenKind};
use grantor::secret::{Seed, TokenHash};
use grantor::storage::{AnyStorage, GrantPage, GrantSelector, RedeemOutcome, Redemption};
use grantor::testing::{StorageContract, Task, TestServer};
use grantor::{
    ClientId, Clock, Grant, GrantId, GrantType, MemoryStorage, RefreshToken, Scope, Storage, StorageError, StoredToken,
    Subject,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

/// The time at which tests begin, plus an offset.
fn at(after: Duration) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap() + after
}

const START: Duration = Duration::ZERO;
const SECOND: Duration = Duration::SECOND;
const TICK: Duration = Duration::MICROSECOND;
const HOUR: Duration = Duration::HOUR;
const DAY: Duration = Duration::DAY;

fn hash(number: u8) -> TokenHash {
    TokenHash::from_bytes([number; 32])
}

/// A hash for a large number, for tests that need more hashes than [`hash`] has.
fn hash_of_many(number: u32) -> TokenHash {
    let mut bytes = [0xee; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    TokenHash::from_bytes(bytes)
}

fn grant_id(number: u8) -> GrantId {
    GrantId::from_bytes([number; 16])
}

fn attempt(number: u8) -> AttemptId {
    AttemptId::from_bytes([number; 16])
}

fn seed() -> Seed {
    Seed::from_bytes([0xab; 32])
}

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

fn client_id(name: &str) -> ClientId {
    ClientId::new(name).unwrap()
}

/// A grant of alice to the client `app`, opened at the start, that ends after a day.
fn grant(number: u8) -> Grant {
    Grant {
        id: grant_id(number),
        client_id: client_id("app"),
        subject: Some(subject("alice")),
        grant_type: GrantType::new("authorization_code").unwrap(),
        scope: Scope::parse("user:read user:write").unwrap(),
        opened_at: at(START),
        last_used_at: at(START),
        expires_at: at(DAY),
        revoked_at: None,
        parent_grant: None,
        session: None,
        host_data: Some(Arc::new(json!({ "tenant": 7 }))),
        details: GrantDetails::default(),
    }
}

/// A token of a grant that expires after a day.
fn token(number: u8, kind: TokenKind, of: &Grant) -> StoredToken {
    StoredToken {
        hash: hash(number),
        kind,
        grant_id: of.id,
        scope: of.scope.clone(),
        issued_at: of.opened_at,
        expires_at: of.opened_at + DAY,
        parent: None,
        spent: None,
        revoked_at: None,
        details: TokenDetails::default(),
    }
}

fn refresh_token(number: u8, of: &Grant) -> StoredToken {
    token(number, TokenKind::RefreshToken, of)
}

fn access_token(number: u8, of: &Grant) -> StoredToken {
    token(number, TokenKind::AccessToken, of)
}

/// The redemption of a refresh token, a second after the start and with a seed.
fn spend(what: &StoredToken, by: u8) -> Redemption {
    Redemption {
        token: what.hash,
        kind: what.kind.clone(),
        grant_id: what.grant_id,
        attempt: attempt(by),
        at: at(SECOND),
        consume: true,
        seed: Some(seed()),
        seed_until: Some(at(SECOND + Duration::MINUTE)),
        grant_expires_at: at(2 * DAY),
    }
}

/// A record as text, to compare every member.
fn shown(record: &impl serde::Serialize) -> String {
    serde_json::to_string(record).unwrap()
}

async fn open(storage: &MemoryStorage, grant: Grant, tokens: &[StoredToken]) {
    assert_eq!(storage.open_grant(&Arc::new(grant), tokens).await.unwrap(), grantor::storage::Opened::Done);
}

/// The token and its grant as they are stored.
async fn find(storage: &MemoryStorage, number: u8) -> (Arc<StoredToken>, Arc<Grant>) {
    let found = storage.find(&hash(number)).await.unwrap().unwrap_or_else(|| panic!("token {number} is there"));
    (found.token, found.grant)
}

async fn is_gone(storage: &MemoryStorage, number: u8) -> bool {
    storage.find(&hash(number)).await.unwrap().is_none()
}

/// A storage with the refresh token 1 of the grant 1.
async fn with_refresh_token() -> (MemoryStorage, Grant, StoredToken) {
    let storage = MemoryStorage::new();
    let grant = grant(1);
    let token = refresh_token(1, &grant);
    open(&storage, grant.clone(), std::slice::from_ref(&token)).await;
    (storage, grant, token)
}

/// The outcome of a redemption.
async fn redeem(storage: &MemoryStorage, order: &Redemption, successors: &[StoredToken]) -> &'static str {
    match storage.redeem(order, successors).await.unwrap() {
        RedeemOutcome::Done => "done",
        RedeemOutcome::AlreadySpent => "already spent",
        RedeemOutcome::Dead => "dead",
    }
}

// covers: GC-03 (RFC 6749 §4.1.2), GR-17 (RFC 9700 §4.14.2), CU-12 (OAuth 2.1 §7.9), BC-02 (RFC 9700 §4.15.1), B16, B21
#[test]
fn memory_storage_keeps_the_storage_and_registry_contract() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let storage = MemoryStorage::new();
    let connect = || async { Ok::<_, Infallible>(storage.clone()) };
    let suite = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect);
    let report = suite.client_registry().ephemeral_store().rounds(5).run().unwrap();
    let clauses: BTreeSet<u8> = report.passed.iter().map(|(clause, _)| clause.number()).collect();
    assert_eq!(clauses, (1..=11).collect(), "{report}");
}

#[test]
fn boxed_storage_keeps_the_contract() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let storage: Arc<dyn AnyStorage> = Arc::new(MemoryStorage::new());
    let connect = || async { Ok::<_, Infallible>(Arc::clone(&storage)) };
    let suite = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect);
    let report = suite.client_registry().ephemeral_store().rounds(5).run().unwrap();
    let clauses: BTreeSet<u8> = report.passed.iter().map(|(clause, _)| clause.number()).collect();
    assert_eq!(clauses, (1..=11).collect(), "{report}");
}

#[tokio::test]
async fn records_round_trip_json_and_refuse_unknown_members() {
    let storage = MemoryStorage::new();
    let grant = grant(1);
    let mut token = refresh_token(1, &grant);
    token.spent = Some(Spent { at: at(SECOND), attempt: attempt(3), seed: Some(seed()), seed_until: Some(at(HOUR)) });
    open(&storage, grant, &[token]).await;
    let (token, grant) = find(&storage, 1).await;
    assert_eq!(shown(&serde_json::from_str::<StoredToken>(&shown(&token)).unwrap()), shown(&token));
    assert_eq!(shown(&serde_json::from_str::<Grant>(&shown(&*grant)).unwrap()), shown(&*grant));

    // Times are text that every language reads, to the microsecond.
    let mut precise = Grant::clone(&grant);
    precise.opened_at = at(TICK);
    let precise: serde_json::Value = serde_json::from_str(&shown(&precise)).unwrap();
    assert_eq!(precise["opened_at"], "2026-01-01T00:00:00.000001Z");
    assert_eq!(precise["expires_at"], "2026-01-02T00:00:00Z");
    assert_eq!(precise["revoked_at"], serde_json::Value::Null);

    // An old node must fail when it reads a row of a newer node. Otherwise it could lose a binding.
    let with_more = |record: String| record.replacen('{', "{\"jkt\":\"x\",", 1);
    assert!(serde_json::from_str::<StoredToken>(&with_more(shown(&token))).is_err());
    assert!(serde_json::from_str::<Grant>(&with_more(shown(&*grant))).is_err());
    assert!(serde_json::from_str::<Spent>(&with_more(shown(token.spent.as_ref().unwrap()))).is_err());
    let binding = json!({ "redirect_uri": "https://a.example", "redirect_uri_was_sent": true, "code_challenge": null });
    let mut details = json!({ "code": binding });
    assert!(serde_json::from_value::<TokenDetails>(details.clone()).unwrap().code.is_some());
    details["code"]["resource"] = json!("x");
    assert!(serde_json::from_value::<TokenDetails>(details).unwrap().code.is_none());
    let of_newer_kind = shown(&token).replace("\"refresh_token\"", "\"device_code\"");
    assert_eq!(shown(&serde_json::from_str::<StoredToken>(&of_newer_kind).unwrap()), of_newer_kind);
}

#[tokio::test]
async fn long_list_is_complete_and_revoked_to_its_end() {
    let storage = MemoryStorage::new();
    let (alice, app) = (GrantSelector::Subject(subject("alice")), GrantSelector::Client(client_id("app")));
    // Several grants at a time. Every second grant has an identifier with a common beginning.
    let mut expected = Vec::new();
    for number in 0..300_u32 {
        let mut id = [if number % 2 == 0 { 7 } else { number.to_le_bytes()[0] }; 16];
        id[12..].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        let opened_at = at(Duration::seconds(i64::from(number * 7 % 120)));
        let one = Grant { id: GrantId::from_bytes(id), opened_at, ..grant(1) };
        expected.push((one.opened_at, one.id));
        open(&storage, one, &[]).await;
    }
    expected.sort_unstable_by(|one, other| other.cmp(one));
    for limit in [1, 7, 299, 300, 5_000, usize::MAX] {
        for which in [&alice, &app] {
            let (mut listed, mut page) = (Vec::new(), GrantPage::first(limit));
            loop {
                let part = storage.list_grants(which, at(HOUR), &page).await.unwrap();
                let Some(last) = part.last() else { break };
                assert!(part.len() == limit || listed.len() + part.len() == expected.len(), "pages of {limit}");
                page = GrantPage::after(last, limit);
                listed.extend(part.iter().map(|grant| (grant.opened_at, grant.id)));
            }
            assert!(listed == expected, "pages of {limit}: {} grants, or another order", listed.len());
        }
    }
    // A dead grant does not shorten a page.
    for (_, id) in &expected[..270] {
        storage.revoke_grants(&GrantSelector::Id(*id), at(HOUR)).await.unwrap();
    }
    assert_eq!(storage.list_grants(&alice, at(HOUR), &GrantPage::first(20)).await.unwrap().len(), 20);
    assert_eq!(storage.revoke_grants(&app, at(HOUR)).await.unwrap(), 30);
    assert!(storage.list_grants(&alice, at(HOUR), &GrantPage::first(9)).await.unwrap().is_empty());
}

#[tokio::test]
async fn tokens_that_name_another_grant_are_refused() {
    let (storage, of, first) = with_refresh_token().await;
    let other = grant(2);
    let stray = [refresh_token(3, &other), access_token(2, &of)];
    assert!(storage.open_grant(&Arc::new(other), &stray).await.is_err());
    assert!(storage.redeem(&spend(&first, 1), &stray).await.is_err());
    assert!(is_gone(&storage, 2).await && is_gone(&storage, 3).await);
    assert!(find(&storage, 1).await.0.spent.is_none());
    assert_eq!(storage.revoke_grants(&GrantSelector::Id(grant_id(2)), at(SECOND)).await.unwrap(), 0);
}

/// Purges in bounded steps until nothing is left; returns the number of rows.
async fn purge(storage: &MemoryStorage, before: OffsetDateTime, limit: usize) -> usize {
    let mut total = 0;
    for _ in 0..1_000 {
        let touched = storage.purge_expired(before, limit).await.unwrap();
        assert!(touched <= limit, "{touched} of at most {limit}");
        total += touched;
        if touched < limit {
            return total;
        }
    }
    panic!("the purge never ends");
}

// covers: GC-05 (RFC 6749 §10.5), GR-13 (RFC 9700 §4.14.2), B18
#[tokio::test]
async fn replay_is_recognised_after_expiry_and_purge() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let first = approved.redeem().await.unwrap().refresh_token.unwrap();
    let mut newest = RefreshToken::new(first.expose());
    for _ in 0..6 {
        t.clock.advance(Duration::days(13));
        newest = t.refresh(&app, &newest).await.unwrap().refresh_token.unwrap();
        purge(&t.storage, t.clock.now(), 2).await;
    }
    let error = t.refresh(&app, &first).await.unwrap_err();
    assert_eq!(error.refusal(), Some(&grantor::Refusal::RefreshTokenReused));
    assert!(t.refresh(&app, &newest).await.is_err(), "the thief's tokens still work");
    assert_eq!(t.events.count("refresh_token_reused"), 1);

    let approved = t.authorize(&app).approve_as("alice").await;
    let mut newest = approved.redeem().await.unwrap().refresh_token.unwrap();
    for _ in 0..6 {
        t.clock.advance(Duration::days(13));
        newest = t.refresh(&app, &newest).await.unwrap().refresh_token.unwrap();
        purge(&t.storage, t.clock.now(), 2).await;
    }
    let error = approved.redeem().await.unwrap_err();
    assert_eq!(error.refusal(), Some(&grantor::Refusal::CodeReplayed));
    assert!(t.refresh(&app, &newest).await.is_err(), "a token from the stolen code still works");
}

#[tokio::test]
async fn entry_that_is_no_longer_due_uses_no_purge_limit() {
    let (storage, of, mut last) = with_refresh_token().await;
    // Every refresh moves the grant's end, leaves a seed and erases the previous seed; every second access token is
    // revoked.
    for number in 0..200_u32 {
        let next = StoredToken { hash: hash_of_many(2 * number), parent: Some(last.hash), ..refresh_token(0, &of) };
        let access =
            StoredToken { hash: hash_of_many(2 * number + 1), expires_at: at(20 * DAY), ..access_token(0, &of) };
        let moved = at(2 * DAY + SECOND * number);
        let order = Redemption { at: at(SECOND * number), grant_expires_at: moved, ..spend(&last, 1) };
        assert_eq!(redeem(&storage, &order, &[access.clone(), next.clone()]).await, "done");
        if number % 2 == 0 {
            storage.revoke_access_token(&access.hash, order.at).await.unwrap();
        }
        last = next;
    }
    assert_eq!(purge(&storage, at(DAY), 1).await, 1, "the first call erases the remaining seed");
    // An entry that was due at the end of the grant becomes due sooner, and only once.
    storage.revoke_grants(&GrantSelector::Id(of.id), at(DAY)).await.unwrap();
    assert_eq!(storage.purge_expired(at(DAY - TICK), 1).await.unwrap(), 0);
    for row in 0..402 {
        assert_eq!(storage.purge_expired(at(DAY), 1).await.unwrap(), 1, "row {row}");
    }
    assert_eq!(storage.purge_expired(at(90 * DAY), 1).await.unwrap(), 0);
    assert!(is_gone(&storage, 1).await);
    assert!(storage.find(&last.hash).await.unwrap().is_none());
}

#[tokio::test]
async fn purge_of_large_family_takes_expired_access_tokens_only() {
    const EXPIRED: u32 = 20_000;
    const LIVE: u32 = 1_000;
    let storage = MemoryStorage::new();
    let of = grant(1);
    let mut tokens = vec![refresh_token(1, &of)];
    for number in 0..EXPIRED + LIVE {
        // The live tokens are between the expired tokens.
        let expires_at = if number % 21 == 20 { at(DAY) } else { at(HOUR) };
        tokens.push(StoredToken { hash: hash_of_many(number), expires_at, ..access_token(0, &of) });
    }
    open(&storage, of.clone(), &tokens).await;
    assert_eq!(storage.purge_expired(at(HOUR - TICK), 999).await.unwrap(), 0);
    for step in 0..20 {
        assert_eq!(storage.purge_expired(at(HOUR), 999).await.unwrap(), 999, "step {step}");
    }
    assert_eq!(storage.purge_expired(at(HOUR), 999).await.unwrap(), 20, "the remaining rows");
    assert_eq!(storage.purge_expired(at(HOUR), 999).await.unwrap(), 0);
    for token in &tokens {
        let found = storage.find(&token.hash).await.unwrap();
        assert_eq!(found.is_some(), token.expires_at > at(HOUR), "{:?}", token.hash);
        assert!(found.is_none_or(|found| found.token.hash == token.hash));
    }
    // New tokens may reuse the slots of removed tokens, but the hash of a removed token does not find them.
    let order = Redemption { consume: false, seed: None, grant_expires_at: at(DAY), ..spend(&tokens[0], 1) };
    let new = |number: u32| StoredToken { hash: hash_of_many(900_000 + number), ..access_token(0, &of) };
    let mut new: Vec<_> = (0..50).map(new).collect();
    // A removed hash can be used again, like one that never existed.
    new[7].hash = tokens[1].hash;
    assert_eq!(redeem(&storage, &order, &new).await, "done");
    for token in &new {
        let row = storage.find(&token.hash).await.unwrap().unwrap().token;
        assert_eq!(shown(&row), shown(token));
    }
    for token in tokens[2..].iter().filter(|token| token.expires_at == at(HOUR)) {
        assert!(storage.find(&token.hash).await.unwrap().is_none());
    }
    assert_eq!(purge(&storage, at(DAY), 999).await, 1 + 1 + LIVE as usize + 50, "the grant and its remaining tokens");
}

#[tokio::test]
async fn family_under_purge_is_dead_for_a_slow_clock() {
    let storage = MemoryStorage::new();
    let of = grant(1);
    let tokens: Vec<_> = (1..=6).map(|number| refresh_token(number, &of)).collect();
    open(&storage, of, &tokens).await;
    assert_eq!(storage.purge_expired(at(DAY), 1).await.unwrap(), 1);
    for (number, token) in (1..).zip(&tokens) {
        assert!(is_gone(&storage, number).await, "token {number}");
        assert_eq!(redeem(&storage, &spend(token, 1), &[]).await, "dead", "token {number}");
    }
    let which = GrantSelector::Id(grant_id(1));
    assert!(storage.list_grants(&which, at(SECOND), &GrantPage::first(9)).await.unwrap().is_empty());
    assert_eq!(storage.revoke_grants(&which, at(SECOND)).await.unwrap(), 0);
    assert_eq!(purge(&storage, at(DAY), 9).await, 6, "five tokens and the grant");
    open(&storage, grant(1), &tokens).await;
    assert_eq!(redeem(&storage, &spend(&tokens[0], 1), &[]).await, "done", "the identifiers are free again");
}

#[tokio::test]
async fn small_purges_reach_all_shards_while_one_is_refilled() {
    let storage = MemoryStorage::new();
    // There are so few families that each is in a different shard.
    for number in 0..20 {
        open(&storage, grant(number), &[]).await;
    }
    let mut refilled = 0;
    for _ in 0..40 {
        assert_eq!(storage.purge_expired(at(DAY), 1).await.unwrap(), 1);
        // The opening is refused while the previous grant still exists.
        refilled += u32::from(storage.open_grant(&Arc::new(grant(0)), &[]).await.is_ok());
    }
    assert!(refilled > 0, "no shard was refilled");
    for number in 1..20 {
        let left = storage.revoke_grants(&GrantSelector::Id(grant_id(number)), at(DAY)).await.unwrap();
        assert_eq!(left, 0, "grant {number} is left");
    }
}

#[tokio::test]
async fn purged_hash_does_not_find_tokens_of_reopened_grant() {
    let storage = MemoryStorage::new();
    let of = grant(1);
    open(&storage, of.clone(), &[refresh_token(1, &of), refresh_token(2, &of)]).await;
    assert_eq!(storage.purge_expired(at(DAY), 1).await.unwrap(), 1, "a part of the family");
    let again = Grant { expires_at: at(9 * DAY), ..of };
    open(&storage, again.clone(), &[refresh_token(3, &again)]).await;
    assert!(is_gone(&storage, 1).await && is_gone(&storage, 2).await);
    assert_eq!(find(&storage, 3).await.0.hash, hash(3));
}

#[tokio::test]
async fn purge_counts_seeds_toward_its_limit() {
    let storage = MemoryStorage::new();
    let of = grant(1);
    let tokens: Vec<_> = (1..=3).map(|number| refresh_token(number, &of)).collect();
    open(&storage, of, &tokens).await;
    for token in &tokens {
        assert_eq!(redeem(&storage, &spend(token, 1), &[]).await, "done");
    }
    assert_eq!(storage.purge_expired(at(HOUR), 2).await.unwrap(), 2);
    assert_eq!(storage.purge_expired(at(HOUR), 2).await.unwrap(), 1);
}

/// One shard holds two grants with three expired access tokens and one old seed each.
#[tokio::test]
async fn purge_touches_no_more_than_its_limit_in_a_shard() {
    for limit in 1..=9 {
        let storage = MemoryStorage::new();
        for number in [1, 33] {
            let of = Grant { expires_at: at(9 * DAY), ..grant(number) };
            let old = StoredToken { expires_at: at(9 * DAY), ..refresh_token(number, &of) };
            let expired = [1, 2, 3].map(|more| access_token(number + more, &of));
            let spent = Redemption { grant_expires_at: at(9 * DAY), ..spend(&old, 1) };
            open(&storage, of, &[old]).await;
            assert_eq!(redeem(&storage, &spent, &expired).await, "done");
        }
        assert_eq!(purge(&storage, at(DAY), limit).await, 8, "limit {limit}");
    }
}

#[tokio::test]
async fn purge_looks_again_at_entries_found_earlier() {
    let storage = MemoryStorage::new();
    // The hashes have the same first byte, so they are in one shard.
    for number in 1..=4_u8 {
        let mut id = [7; 16];
        id[1] = number;
        let expires_at = if number == 4 { at(2 * DAY) } else { at(DAY) };
        let of = Grant { id: GrantId::from_bytes(id), expires_at, ..grant(1) };
        let token = StoredToken { expires_at, ..refresh_token(number, &of) };
        open(&storage, of, &[token]).await;
    }
    assert_eq!(storage.purge_expired(at(DAY), 2).await.unwrap(), 2, "one grant with its token");
    // A node whose clock is behind redeems a token of a further grant, which extends this grant.
    let mut left = Vec::new();
    for number in 1..=3 {
        left.extend(storage.find(&hash(number)).await.unwrap());
    }
    let order = Redemption { grant_expires_at: at(9 * DAY), seed: None, ..spend(&left[0].token, 1) };
    assert_eq!(redeem(&storage, &order, &[]).await, "done");
    assert_eq!(storage.purge_expired(at(2 * DAY), 9).await.unwrap(), 4, "two grants with their tokens");
    assert!(storage.find(&order.token).await.unwrap().is_some(), "the token of the extended grant");
}

#[tokio::test]
async fn clone_is_the_same_storage() {
    let (storage, of, _) = with_refresh_token().await;
    let clone = storage.clone();
    clone.revoke_grants(&GrantSelector::Id(of.id), at(SECOND)).await.unwrap();
    assert_eq!(find(&storage, 1).await.1.revoked_at, Some(at(SECOND)));
}

#[test]
fn storage_error_says_whether_waiting_may_help() {
    assert!(!StorageError::new("disk on fire").is_unavailable());
    assert!(StorageError::unavailable("connection refused").is_unavailable());
}
