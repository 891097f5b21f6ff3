//! The memory storage against each clause of the contract (`grantor::storage`), one call after the other. What happens
//! in parallel stands in `concurrency.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use grantor::client::ClientBuilder;
use grantor::record::{AttemptId, GrantDetails, Spent, TokenDetails, TokenKind};
use grantor::secret::{Seed, TokenHash};
use grantor::storage::{Exchange, GrantSelector, Page, RegistryError, Spend};
use grantor::testing::TestServer;
use grantor::{
    Client, ClientCredential, ClientId, ClientRegistry, ClientSecret, ClientStore, Clock, Grant, GrantId, GrantType,
    MemoryStorage, RefreshToken, Scope, Storage, StorageError, StoredToken, Subject,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

/// The time at which tests begin, and what comes some time after it.
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

/// One of many, for what needs more than [`hash`] has.
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

/// The order to spend a refresh token, a second after the start and with a seed.
fn spend(what: &StoredToken, by: u8) -> Spend {
    Spend {
        token: what.hash,
        kind: what.kind,
        grant_id: what.grant_id,
        attempt: attempt(by),
        at: at(SECOND),
        consume: true,
        seed: Some(seed()),
        grant_expires_at: at(2 * DAY),
    }
}

/// A record as text, so that every member is compared.
fn shown(record: &impl serde::Serialize) -> String {
    serde_json::to_string(record).unwrap()
}

async fn open(storage: &MemoryStorage, grant: Grant, tokens: &[StoredToken]) {
    storage.open_grant(&Arc::new(grant), tokens).await.unwrap();
}

/// The token and its grant as they are stored.
async fn find(storage: &MemoryStorage, number: u8) -> (StoredToken, Arc<Grant>) {
    storage.find(&hash(number)).await.unwrap().unwrap_or_else(|| panic!("token {number} is there"))
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

/// What came of an order to spend a token.
async fn exchange(storage: &MemoryStorage, order: &Spend, successors: &[StoredToken]) -> &'static str {
    match storage.exchange(order, successors).await.unwrap() {
        Exchange::Done => "done",
        Exchange::AlreadySpent => "already spent",
        Exchange::Dead => "dead",
    }
}

#[tokio::test]
async fn a_record_comes_back_as_it_went_in() {
    let storage = MemoryStorage::new();
    let mut grant = grant(1);
    grant.last_used_at = at(TICK);
    let mut token = token(1, TokenKind::AuthorizationCode, &grant);
    token.parent = Some(hash(9));
    token.spent = Some(Spent { at: at(TICK), attempt: attempt(1), seed: Some(seed()) });
    token.revoked_at = Some(at(2 * TICK));
    token.details = serde_json::from_value(json!({
        "code": { "redirect_uri": "https://app.example/cb", "redirect_uri_was_sent": true, "code_challenge": null }
    }))
    .unwrap();
    open(&storage, grant.clone(), std::slice::from_ref(&token)).await;
    let (found, of) = find(&storage, 1).await;
    assert_eq!(shown(&found), shown(&token));
    assert_eq!(shown(&*of), shown(&grant));
    assert!(is_gone(&storage, 2).await);
}

#[tokio::test]
async fn records_survive_json_and_refuse_members_they_do_not_know() {
    let storage = MemoryStorage::new();
    let grant = grant(1);
    let mut token = refresh_token(1, &grant);
    token.spent = Some(Spent { at: at(SECOND), attempt: attempt(3), seed: Some(seed()) });
    open(&storage, grant, &[token]).await;
    let (token, grant) = find(&storage, 1).await;
    assert_eq!(shown(&serde_json::from_str::<StoredToken>(&shown(&token)).unwrap()), shown(&token));
    assert_eq!(shown(&serde_json::from_str::<Grant>(&shown(&*grant)).unwrap()), shown(&*grant));

    // Times are texts that every language reads, to the microsecond.
    let mut precise = Grant::clone(&grant);
    precise.opened_at = at(TICK);
    let precise: serde_json::Value = serde_json::from_str(&shown(&precise)).unwrap();
    assert_eq!(precise["opened_at"], "2026-01-01T00:00:00.000001Z");
    assert_eq!(precise["expires_at"], "2026-01-02T00:00:00Z");
    assert_eq!(precise["revoked_at"], serde_json::Value::Null);

    // An old node that reads the row of a newer one must fail, not forget a binding.
    let with_more = |record: String| record.replacen('{', "{\"jkt\":\"x\",", 1);
    assert!(serde_json::from_str::<StoredToken>(&with_more(shown(&token))).is_err());
    assert!(serde_json::from_str::<Grant>(&with_more(shown(&*grant))).is_err());
    assert!(serde_json::from_str::<Spent>(&with_more(shown(token.spent.as_ref().unwrap()))).is_err());
    let binding = json!({ "redirect_uri": "https://a.example", "redirect_uri_was_sent": true, "code_challenge": null });
    let mut details = json!({ "code": binding });
    assert!(serde_json::from_value::<TokenDetails>(details.clone()).is_ok());
    details["code"]["resource"] = json!("x");
    assert!(serde_json::from_value::<TokenDetails>(details).is_err());
    let without_kind = shown(&token).replace("\"refresh_token\"", "\"device_code\"");
    assert!(serde_json::from_str::<StoredToken>(&without_kind).is_err());
}

#[tokio::test]
async fn opening_a_grant_whose_identifiers_are_taken_stores_nothing_of_it() {
    let (storage, first, _) = with_refresh_token().await;
    let second = grant(2);
    let tokens = [access_token(2, &second), refresh_token(1, &second)];
    assert!(storage.open_grant(&Arc::new(second), &tokens).await.is_err(), "a token's hash is taken");
    assert!(is_gone(&storage, 2).await);
    let which = GrantSelector::Subject(subject("alice"));
    assert_eq!(storage.grants(&which, at(START), &Page::first(9)).await.unwrap().len(), 1);
    assert_eq!(find(&storage, 1).await.0.grant_id, first.id, "the token is still its first grant's");

    let mut again = grant(1);
    again.subject = Some(subject("mallory"));
    let tokens = [access_token(3, &again)];
    assert!(storage.open_grant(&Arc::new(again), &tokens).await.is_err(), "the grant's identifier is taken");
    assert!(is_gone(&storage, 3).await);
    let which = GrantSelector::Subject(subject("mallory"));
    assert!(storage.grants(&which, at(START), &Page::first(9)).await.unwrap().is_empty());
    assert_eq!(shown(&*find(&storage, 1).await.1), shown(&first));
    // What was not stored is not taken either.
    let third = grant(2);
    let tokens = [access_token(2, &third), refresh_token(3, &third)];
    open(&storage, third, &tokens).await;
}

// covers: GC-03 (RFC 6749 §4.1.2), B16
#[tokio::test]
async fn an_exchange_spends_the_token_stores_its_successors_and_moves_its_grant() {
    let (storage, of, first) = with_refresh_token().await;
    let mut successors = [access_token(2, &of), refresh_token(3, &of)];
    for successor in &mut successors {
        successor.parent = Some(first.hash);
    }
    assert_eq!(exchange(&storage, &spend(&first, 1), &successors).await, "done");

    let (spent, moved) = find(&storage, 1).await;
    let how = spent.spent.as_ref().unwrap();
    assert_eq!((how.at, how.attempt), (at(SECOND), attempt(1)));
    assert_eq!(how.seed.as_ref().unwrap().expose(), seed().expose());
    assert_eq!(shown(&StoredToken { spent: None, ..spent }), shown(&first), "nothing else of it changed");
    assert_eq!((moved.last_used_at, moved.expires_at), (at(SECOND), at(2 * DAY)));
    assert_eq!(
        shown(&Grant { last_used_at: of.last_used_at, expires_at: of.expires_at, ..(*moved).clone() }),
        shown(&of),
        "nothing else of it changed"
    );
    for successor in &successors {
        let (found, of) = storage.find(&successor.hash).await.unwrap().unwrap();
        assert_eq!(shown(&found), shown(successor));
        assert_eq!(shown(&*of), shown(&*moved));
    }
}

/// One row of the table of decisions: what was done to the token, what is asked, and what must come of it.
struct Case {
    name: &'static str,
    token: fn(&mut StoredToken),
    grant: fn(&mut Grant),
    spend: fn(&mut Spend),
    outcome: &'static str,
}

const CASES: &[Case] = {
    const fn case(name: &'static str, outcome: &'static str) -> Case {
        Case { name, token: |_| {}, grant: |_| {}, spend: |_| {}, outcome }
    }
    fn spent(token: &mut StoredToken) {
        token.spent = Some(Spent { at: at(TICK), attempt: AttemptId::from_bytes([9; 16]), seed: None });
    }
    &[
        case("live", "done"),
        Case { token: spent, ..case("spent", "already spent") },
        // Dead comes first, whatever else is true of the row ..
        Case { spend: |it| it.token = TokenHash::from_bytes([9; 32]), ..case("absent", "dead") },
        Case { spend: |it| it.kind = TokenKind::AuthorizationCode, ..case("of another kind", "dead") },
        Case { spend: |it| it.grant_id = GrantId::from_bytes([9; 16]), ..case("of another grant", "dead") },
        Case { token: |it| it.revoked_at = Some(at(TICK)), ..case("revoked", "dead") },
        Case { grant: |it| it.revoked_at = Some(at(TICK)), ..case("of a revoked grant", "dead") },
        Case { grant: |it| it.expires_at = at(SECOND), ..case("of a grant that ends now", "dead") },
        Case { grant: |it| it.expires_at = at(SECOND + TICK), ..case("of a grant that ends in a moment", "done") },
        Case { token: spent, spend: |it| it.kind = TokenKind::AccessToken, ..case("spent, of another kind", "dead") },
        Case { token: spent, grant: |it| it.revoked_at = Some(at(TICK)), ..case("spent, of a revoked grant", "dead") },
        Case { token: spent, grant: |it| it.expires_at = at(SECOND), ..case("spent, of a grant that ended", "dead") },
        Case {
            token: |it| {
                spent(it);
                it.revoked_at = Some(at(TICK));
            },
            ..case("spent and revoked", "dead")
        },
        // .. then spent, then expired.
        Case {
            token: |it| {
                spent(it);
                it.expires_at = at(TICK);
            },
            ..case("spent and expired", "already spent")
        },
        Case { token: |it| it.expires_at = at(SECOND), ..case("expires now", "dead") },
        Case { token: |it| it.expires_at = at(SECOND + TICK), ..case("expires in a moment", "done") },
        // An attempt that meets its own work, after an answer was lost inside of the storage, is done.
        Case {
            token: spent,
            spend: |it| it.attempt = AttemptId::from_bytes([9; 16]),
            ..case("spent by this very attempt", "done")
        },
        // What is not consumed is judged in the same order.
        Case { spend: |it| it.consume = false, ..case("live, not to be consumed", "done") },
        Case { token: spent, spend: |it| it.consume = false, ..case("spent, not to be consumed", "already spent") },
        Case {
            token: |it| it.expires_at = at(SECOND),
            spend: |it| it.consume = false,
            ..case("expired, not to be consumed", "dead")
        },
    ]
};

// covers: B21
#[tokio::test]
async fn an_exchange_decides_in_the_order_of_the_contract_and_writes_nothing_unless_it_is_done() {
    for case in CASES {
        let storage = MemoryStorage::new();
        let mut of = grant(1);
        let mut token = refresh_token(1, &of);
        (case.token)(&mut token);
        (case.grant)(&mut of);
        open(&storage, of.clone(), std::slice::from_ref(&token)).await;
        let mut order = spend(&token, 1);
        (case.spend)(&mut order);
        let successor = access_token(2, &of);
        let done = exchange(&storage, &order, std::slice::from_ref(&successor)).await;
        assert_eq!(done, case.outcome, "{}", case.name);

        let (now, of_now) = find(&storage, 1).await;
        let wrote = case.outcome == "done" && token.spent.is_none();
        assert_eq!(!is_gone(&storage, 2).await, wrote, "{}: the successor", case.name);
        if wrote {
            assert_eq!(now.spent.is_some(), order.consume, "{}", case.name);
            assert_eq!((of_now.last_used_at, of_now.expires_at), (at(SECOND), at(2 * DAY)), "{}", case.name);
        } else {
            assert_eq!(shown(&now), shown(&token), "{}: the token changed", case.name);
            assert_eq!(shown(&*of_now), shown(&of), "{}: the grant changed", case.name);
        }
    }
}

#[tokio::test]
async fn an_exchange_whose_successors_hash_is_taken_fails_and_writes_nothing() {
    let (storage, grant, old) = with_refresh_token().await;
    let before = find(&storage, 1).await;
    let successors = [refresh_token(2, &grant), access_token(1, &grant)];
    assert!(storage.exchange(&spend(&old, 1), &successors).await.is_err());
    let after = find(&storage, 1).await;
    assert_eq!(shown(&after.0), shown(&before.0), "the token is neither spent nor replaced");
    assert_eq!(shown(&after.1), shown(&before.1));
    assert!(is_gone(&storage, 2).await, "no successor was stored");
    assert_eq!(exchange(&storage, &spend(&old, 1), &successors[..1]).await, "done", "its hash is not taken either");
}

#[tokio::test]
async fn a_token_that_is_not_consumed_can_be_used_again_and_keeps_its_predecessors_seed() {
    let (storage, of, first) = with_refresh_token().await;
    let mut second = refresh_token(2, &of);
    second.parent = Some(first.hash);
    assert_eq!(exchange(&storage, &spend(&first, 1), &[second.clone()]).await, "done");
    for (by, successor) in [(2, 3), (3, 4)] {
        let order = Spend { consume: false, seed: None, at: at(SECOND * by), ..spend(&second, by) };
        assert_eq!(exchange(&storage, &order, &[access_token(successor, &of)]).await, "done");
        let (token, grant) = find(&storage, 2).await;
        assert!(token.spent.is_none() && !is_gone(&storage, successor).await);
        assert_eq!(grant.last_used_at, at(SECOND * by), "its use is known");
    }
    assert!(find(&storage, 1).await.0.spent.unwrap().seed.is_some());
}

#[tokio::test]
async fn the_second_of_two_attempts_finds_the_token_spent_and_the_first_recognises_its_own_work() {
    let (storage, of, first) = with_refresh_token().await;
    let order = spend(&first, 1);
    assert_eq!(exchange(&storage, &order, &[refresh_token(2, &of)]).await, "done");
    let before = shown(&find(&storage, 1).await.0);
    let late = Spend { at: at(HOUR), grant_expires_at: at(9 * DAY), ..spend(&first, 2) };
    assert_eq!(exchange(&storage, &late, &[refresh_token(3, &of)]).await, "already spent");
    let repeated = Spend { at: at(HOUR), grant_expires_at: at(9 * DAY), ..order };
    assert_eq!(exchange(&storage, &repeated, &[refresh_token(2, &of)]).await, "done");
    let (token, grant) = find(&storage, 1).await;
    assert_eq!(shown(&token), before, "by its first spending, for good");
    assert_eq!((grant.last_used_at, grant.expires_at), (at(SECOND), at(2 * DAY)));
    assert!(is_gone(&storage, 3).await && !is_gone(&storage, 2).await);
}

// covers: B21
#[tokio::test]
async fn spending_a_successor_erases_its_predecessors_seed_so_that_at_most_one_lives() {
    let (storage, of, mut last) = with_refresh_token().await;
    for number in 2..6 {
        let mut next = refresh_token(number, &of);
        next.parent = Some(last.hash);
        let order = Spend { at: at(SECOND * i32::from(number)), ..spend(&last, number) };
        assert_eq!(exchange(&storage, &order, &[next.clone()]).await, "done");
        for earlier in 1..number - 1 {
            let spent = find(&storage, earlier).await.0.spent.unwrap();
            assert!(spent.seed.is_none(), "the seed of {earlier} lives on");
            assert_eq!(spent.attempt, attempt(earlier + 1), "the evidence stays");
        }
        assert!(find(&storage, number - 1).await.0.spent.unwrap().seed.is_some());
        last = next;
    }
}

#[tokio::test]
async fn a_grant_is_never_moved_back() {
    let (storage, of, first) = with_refresh_token().await;
    let second = refresh_token(2, &of);
    let order = Spend { at: at(HOUR), ..spend(&first, 1) };
    assert_eq!(exchange(&storage, &order, std::slice::from_ref(&second)).await, "done");
    // The clock of another node is behind, and its request wants the grant to end sooner.
    let behind = Spend { at: at(SECOND), grant_expires_at: at(DAY), ..spend(&second, 2) };
    assert_eq!(exchange(&storage, &behind, &[]).await, "done");
    let grant = find(&storage, 2).await.1;
    assert_eq!((grant.last_used_at, grant.expires_at), (at(HOUR), at(2 * DAY)));
}

#[tokio::test]
async fn only_an_access_token_is_revoked_by_itself_and_the_first_time_counts() {
    let storage = MemoryStorage::new();
    let grant = grant(1);
    let tokens = [
        access_token(1, &grant),
        access_token(2, &grant),
        refresh_token(3, &grant),
        token(4, TokenKind::AuthorizationCode, &grant),
    ];
    open(&storage, grant, &tokens).await;
    storage.revoke_access_token(&hash(1), at(SECOND)).await.unwrap();
    storage.revoke_access_token(&hash(1), at(HOUR)).await.unwrap();
    storage.revoke_access_token(&hash(3), at(SECOND)).await.unwrap();
    storage.revoke_access_token(&hash(4), at(SECOND)).await.unwrap();
    storage.revoke_access_token(&hash(9), at(SECOND)).await.unwrap();
    let (token, grant) = find(&storage, 1).await;
    assert_eq!((token.revoked_at, grant.revoked_at), (Some(at(SECOND)), None));
    for other in [2, 3, 4] {
        assert_eq!(find(&storage, other).await.0.revoked_at, None, "token {other}");
    }
    assert!(is_gone(&storage, 9).await);
}

/// Grants of two users and a machine at two clients. The number of each is that of its token.
async fn many_grants() -> MemoryStorage {
    let storage = MemoryStorage::new();
    for (number, owner, client) in [
        (1, Some("alice"), "app"),
        (2, Some("alice"), "other"),
        (3, Some("bob"), "app"),
        (4, None, "app"),
        // A machine that is called like a user.
        (5, None, "alice"),
        (6, Some("alice"), "app"),
    ] {
        let grant = Grant { subject: owner.map(subject), client_id: client_id(client), ..grant(number) };
        let tokens = [access_token(number, &grant)];
        open(&storage, grant, &tokens).await;
    }
    storage
}

fn selectors() -> [(GrantSelector, BTreeSet<u8>); 9] {
    use GrantSelector as S;
    [
        (S::Id(grant_id(3)), [3].into()),
        (S::Id(grant_id(9)), [].into()),
        (S::SubjectAndId(subject("bob"), grant_id(3)), [3].into()),
        (S::SubjectAndId(subject("alice"), grant_id(3)), [].into()),
        (S::SubjectAndId(subject("alice"), grant_id(5)), [].into()),
        (S::Subject(subject("alice")), [1, 2, 6].into()),
        (S::Client(client_id("app")), [1, 3, 4, 6].into()),
        (S::SubjectAndClient(subject("alice"), client_id("app")), [1, 6].into()),
        (S::SubjectAndClient(subject("alice"), client_id("alice")), [].into()),
    ]
}

// covers: GR-17 (RFC 9700 §4.14.2), CU-12 (OAuth 2.1 §7.9), BC-02 (RFC 9700 §4.15.1)
#[tokio::test]
async fn each_selector_revokes_what_it_names_and_nothing_else() {
    for (which, expected) in selectors() {
        let storage = many_grants().await;
        let count = storage.revoke_grants(&which, at(SECOND)).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{which:?}");
        for number in 1..=6 {
            let revoked = find(&storage, number).await.1.revoked_at;
            assert_eq!(revoked, expected.contains(&number).then(|| at(SECOND)), "{which:?}: grant {number}");
        }
        assert_eq!(storage.revoke_grants(&which, at(HOUR)).await.unwrap(), 0, "{which:?}: already revoked");
        for number in expected {
            assert_eq!(find(&storage, number).await.1.revoked_at, Some(at(SECOND)), "the first time counts");
        }
    }
}

// covers: CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn each_selector_lists_what_it_names_and_nothing_else() {
    for (which, expected) in selectors() {
        let listed = many_grants().await.grants(&which, at(SECOND), &Page::first(9)).await.unwrap();
        let numbers: BTreeSet<u8> = listed.iter().map(|grant| grant.id.as_bytes()[0]).collect();
        assert_eq!(numbers, expected, "{which:?}");
        assert_eq!(listed.len(), expected.len(), "{which:?}: one is listed twice");
        assert!(listed.iter().all(|grant| which.selects(grant)), "{which:?}");
    }
}

#[tokio::test]
async fn live_grants_are_listed_newest_first_and_page_by_page() {
    let storage = MemoryStorage::new();
    // Opened at these seconds; two at the same time.
    for (number, second) in [(1, 50), (2, 10), (3, 30), (4, 30), (5, 20), (6, 40), (7, 60)] {
        let opened_at = at(Duration::seconds(second));
        open(&storage, Grant { opened_at, ..grant(number) }, &[]).await;
    }
    let alice = GrantSelector::Subject(subject("alice"));
    storage.revoke_grants(&GrantSelector::Id(grant_id(6)), at(HOUR)).await.unwrap();
    let ended = Grant { expires_at: at(HOUR), opened_at: at(Duration::seconds(45)), ..grant(8) };
    open(&storage, ended, &[]).await;

    let numbers = |grants: &[Arc<Grant>]| grants.iter().map(|grant| grant.id.as_bytes()[0]).collect::<Vec<_>>();
    let all = storage.grants(&alice, at(HOUR), &Page::first(99)).await.unwrap();
    assert_eq!(numbers(&all), [7, 1, 4, 3, 5, 2]);
    assert_eq!(storage.grants(&alice, at(HOUR - TICK), &Page::first(99)).await.unwrap().len(), 7, "8 lived until then");
    assert!(storage.grants(&alice, at(DAY), &Page::first(99)).await.unwrap().is_empty());
    for limit in 0..=7 {
        let mut listed = Vec::new();
        let mut page = Page::first(limit);
        loop {
            let part = storage.grants(&alice, at(HOUR), &page).await.unwrap();
            assert!(part.len() <= limit);
            let Some(last) = part.last() else { break };
            page = Page::after(last, limit);
            listed.extend(part);
        }
        let expected = if limit == 0 { Vec::new() } else { numbers(&all) };
        assert_eq!(numbers(&listed), expected, "pages of {limit}");
    }
    // A page goes on behind a grant that was revoked in the meantime.
    let first = storage.grants(&alice, at(HOUR), &Page::first(3)).await.unwrap();
    storage.revoke_grants(&GrantSelector::Id(first[2].id), at(HOUR)).await.unwrap();
    let rest = storage.grants(&alice, at(HOUR), &Page::after(&first[2], 9)).await.unwrap();
    assert_eq!(numbers(&rest), [3, 5, 2]);
}

#[tokio::test]
async fn a_long_list_is_whole_and_in_order_and_is_revoked_to_its_end() {
    let storage = MemoryStorage::new();
    let (alice, app) = (GrantSelector::Subject(subject("alice")), GrantSelector::Client(client_id("app")));
    // Several at a time; every second one with an identifier that begins like many others.
    let mut expected = Vec::new();
    for number in 0..1_000_u32 {
        let mut id = [if number % 2 == 0 { 7 } else { number.to_le_bytes()[0] }; 16];
        id[12..].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        let opened_at = at(Duration::seconds(i64::from(number * 7 % 400)));
        let one = Grant { id: GrantId::from_bytes(id), opened_at, ..grant(1) };
        expected.push((one.opened_at, one.id));
        open(&storage, one, &[]).await;
    }
    expected.sort_unstable_by(|one, other| other.cmp(one));
    for limit in [1, 3, 63, 64, 65, 999, 1_000, 5_000, usize::MAX] {
        for which in [&alice, &app] {
            let (mut listed, mut page) = (Vec::new(), Page::first(limit));
            loop {
                let part = storage.grants(which, at(HOUR), &page).await.unwrap();
                let Some(last) = part.last() else { break };
                assert!(part.len() == limit || listed.len() + part.len() == expected.len(), "pages of {limit}");
                page = Page::after(last, limit);
                listed.extend(part.iter().map(|grant| (grant.opened_at, grant.id)));
            }
            assert!(listed == expected, "pages of {limit}: {} grants, or another order", listed.len());
        }
    }
    // What is dead does not shorten a page.
    for (_, id) in &expected[..900] {
        storage.revoke_grants(&GrantSelector::Id(*id), at(HOUR)).await.unwrap();
    }
    assert_eq!(storage.grants(&alice, at(HOUR), &Page::first(60)).await.unwrap().len(), 60);
    assert_eq!(storage.revoke_grants(&app, at(HOUR)).await.unwrap(), 100);
    assert!(storage.grants(&alice, at(HOUR), &Page::first(9)).await.unwrap().is_empty());
}

#[tokio::test]
async fn tokens_that_name_another_grant_are_refused() {
    let (storage, of, first) = with_refresh_token().await;
    let other = grant(2);
    let stray = [refresh_token(3, &other), access_token(2, &of)];
    assert!(storage.open_grant(&Arc::new(other), &stray).await.is_err());
    assert!(storage.exchange(&spend(&first, 1), &stray).await.is_err());
    assert!(is_gone(&storage, 2).await && is_gone(&storage, 3).await);
    assert!(find(&storage, 1).await.0.spent.is_none());
    assert_eq!(storage.revoke_grants(&GrantSelector::Id(grant_id(2)), at(SECOND)).await.unwrap(), 0);
}

/// Purges in bounded steps until nothing is left to do; returns how many rows went.
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

#[tokio::test]
async fn a_purge_removes_expired_access_tokens_and_leaves_all_evidence_while_the_grant_lives() {
    let (storage, of, first) = with_refresh_token().await;
    let short = StoredToken { expires_at: at(HOUR), ..access_token(2, &of) };
    let second = StoredToken { expires_at: at(HOUR), parent: Some(first.hash), ..refresh_token(3, &of) };
    assert_eq!(exchange(&storage, &spend(&first, 1), &[short, second.clone()]).await, "done");
    let order = Spend { grant_expires_at: at(90 * DAY), ..spend(&second, 2) };
    assert_eq!(exchange(&storage, &order, &[refresh_token(4, &of)]).await, "done");

    assert_eq!(purge(&storage, at(HOUR - TICK), 9).await, 1, "a seed");
    assert!(!is_gone(&storage, 2).await);
    assert_eq!(purge(&storage, at(HOUR), 9).await, 1, "an access token");
    assert!(is_gone(&storage, 2).await);
    // All refresh tokens have expired long ago: spent ones are evidence, and so is one that nobody used.
    assert_eq!(purge(&storage, at(89 * DAY), 9).await, 0);
    for number in [1, 3, 4] {
        assert!(!is_gone(&storage, number).await, "token {number}");
    }
    let replay = Spend { at: at(89 * DAY), ..spend(&first, 9) };
    assert_eq!(exchange(&storage, &replay, &[]).await, "already spent");
    assert_eq!(purge(&storage, at(90 * DAY - TICK), 9).await, 0);
    assert_eq!(purge(&storage, at(90 * DAY), 9).await, 4, "the grant and three tokens");
    for number in [1, 3, 4] {
        assert!(is_gone(&storage, number).await, "token {number}");
    }
    assert_eq!(exchange(&storage, &replay, &[]).await, "dead");
}

// covers: GC-05 (RFC 6749 §10.5), GR-13 (RFC 9700 §4.14.2), B18
#[tokio::test]
async fn a_replay_is_recognised_long_after_the_tokens_expired_and_were_purged() {
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
    assert!(t.refresh(&app, &newest).await.is_err(), "the thief's lineage lives on");
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
    assert!(t.refresh(&app, &newest).await.is_err(), "what came of the stolen code lives on");
}

#[tokio::test]
async fn a_purge_takes_revoked_families_whole_but_not_before_they_were_revoked() {
    let (storage, of, first) = with_refresh_token().await;
    // Its end moves away, and then it is revoked.
    let order = Spend { grant_expires_at: at(90 * DAY), ..spend(&first, 1) };
    assert_eq!(exchange(&storage, &order, &[access_token(2, &of), refresh_token(3, &of)]).await, "done");
    let other = Grant { expires_at: at(90 * DAY), ..grant(2) };
    let tokens = [StoredToken { expires_at: at(90 * DAY), ..refresh_token(4, &other) }];
    open(&storage, other, &tokens).await;
    storage.revoke_grants(&GrantSelector::Id(of.id), at(10 * DAY)).await.unwrap();

    assert_eq!(purge(&storage, at(5 * DAY), 9).await, 2, "a seed and an expired access token");
    assert!(!is_gone(&storage, 1).await && !is_gone(&storage, 3).await, "revoked later than that");
    assert_eq!(purge(&storage, at(10 * DAY), 9).await, 3, "the grant and its tokens");
    for number in [1, 2, 3] {
        assert!(is_gone(&storage, number).await, "token {number}");
    }
    assert!(!is_gone(&storage, 4).await, "another grant's");
    let app = GrantSelector::Client(client_id("app"));
    assert_eq!(storage.revoke_grants(&app, at(11 * DAY)).await.unwrap(), 1, "no trace in the indexes");
}

#[tokio::test]
async fn a_purge_touches_no_more_rows_than_it_may_and_still_comes_to_its_end() {
    for limit in [1, 2, 3, 4, 5, 7, 100] {
        let storage = MemoryStorage::new();
        let mut rows = 0;
        for number in 0..5_u8 {
            let grant = grant(number);
            // Families of one to five rows.
            let tokens: Vec<_> = (0..number).map(|token| refresh_token(number * 10 + token, &grant)).collect();
            rows += tokens.len() + 1;
            open(&storage, grant, &tokens).await;
        }
        assert_eq!(purge(&storage, at(DAY - TICK), limit).await, 0, "limit {limit}");
        assert_eq!(purge(&storage, at(DAY), limit).await, rows, "limit {limit}");
        assert_eq!(purge(&storage, at(9 * DAY), limit).await, 0, "limit {limit}");
        for number in 0..50 {
            assert!(is_gone(&storage, number).await, "limit {limit}: token {number}");
        }
    }
    assert_eq!(many_grants().await.purge_expired(at(9 * DAY), 0).await.unwrap(), 0);
}

#[tokio::test]
async fn of_a_family_that_is_purged_in_parts_no_token_works_any_more() {
    let storage = MemoryStorage::new();
    let of = grant(1);
    let tokens: Vec<_> = (1..=6).map(|number| refresh_token(number, &of)).collect();
    open(&storage, of, &tokens).await;
    assert_eq!(storage.purge_expired(at(DAY), 3).await.unwrap(), 3);
    for token in &tokens {
        let order = Spend { at: at(DAY), ..spend(token, 1) };
        assert_eq!(exchange(&storage, &order, &[]).await, "dead");
    }
    let alice = GrantSelector::Subject(subject("alice"));
    assert!(storage.grants(&alice, at(DAY), &Page::first(9)).await.unwrap().is_empty());
    assert_eq!(purge(&storage, at(DAY), 3).await, 4);
}

#[tokio::test]
async fn seeds_are_purged_after_a_minute_and_what_they_stood_beside_stays() {
    let (storage, of, first) = with_refresh_token().await;
    assert_eq!(exchange(&storage, &spend(&first, 1), &[refresh_token(2, &of)]).await, "done");
    assert_eq!(purge(&storage, at(SECOND + Duration::MINUTE - TICK), 9).await, 0);
    assert!(find(&storage, 1).await.0.spent.unwrap().seed.is_some());
    assert_eq!(purge(&storage, at(SECOND + Duration::MINUTE + TICK), 9).await, 1);
    let spent = find(&storage, 1).await.0.spent.unwrap();
    assert!(spent.seed.is_none());
    assert_eq!((spent.at, spent.attempt), (at(SECOND), attempt(1)));
    assert!(!is_gone(&storage, 2).await);
}

#[tokio::test]
async fn what_is_not_due_any_more_takes_no_part_of_a_purges_limit() {
    let (storage, of, mut last) = with_refresh_token().await;
    // Every refresh moves the grant's end, leaves a seed and erases the one before; every second access token is revoked.
    for number in 0..200_u32 {
        let next = StoredToken { hash: hash_of_many(2 * number), parent: Some(last.hash), ..refresh_token(0, &of) };
        let access =
            StoredToken { hash: hash_of_many(2 * number + 1), expires_at: at(20 * DAY), ..access_token(0, &of) };
        let moved = at(2 * DAY + SECOND * number);
        let order = Spend { at: at(SECOND * number), grant_expires_at: moved, ..spend(&last, 1) };
        assert_eq!(exchange(&storage, &order, &[access.clone(), next.clone()]).await, "done");
        if number % 2 == 0 {
            storage.revoke_access_token(&access.hash, order.at).await.unwrap();
        }
        last = next;
    }
    assert_eq!(purge(&storage, at(DAY), 1).await, 1, "the one seed that is left, at the first call");
    // What was due at the end is due sooner now, and then never again.
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
async fn a_large_family_loses_its_expired_access_tokens_in_steps_and_keeps_the_others() {
    const EXPIRED: u32 = 20_000;
    const LIVE: u32 = 1_000;
    let storage = MemoryStorage::new();
    let of = grant(1);
    let mut tokens = vec![refresh_token(1, &of)];
    for number in 0..EXPIRED + LIVE {
        // The live ones stand among the others.
        let expires_at = if number % 21 == 20 { at(DAY) } else { at(HOUR) };
        tokens.push(StoredToken { hash: hash_of_many(number), expires_at, ..access_token(0, &of) });
    }
    open(&storage, of.clone(), &tokens).await;
    assert_eq!(storage.purge_expired(at(HOUR - TICK), 999).await.unwrap(), 0);
    for step in 0..20 {
        assert_eq!(storage.purge_expired(at(HOUR), 999).await.unwrap(), 999, "step {step}");
    }
    assert_eq!(storage.purge_expired(at(HOUR), 999).await.unwrap(), 20, "what is left");
    assert_eq!(storage.purge_expired(at(HOUR), 999).await.unwrap(), 0);
    for token in &tokens {
        let found = storage.find(&token.hash).await.unwrap();
        assert_eq!(found.is_some(), token.expires_at > at(HOUR), "{:?}", token.hash);
        assert!(found.is_none_or(|(row, _)| row.hash == token.hash));
    }
    // New ones may take the places of those that went, but nobody finds them by an old hash.
    let order = Spend { consume: false, seed: None, grant_expires_at: at(DAY), ..spend(&tokens[0], 1) };
    let new = |number: u32| StoredToken { hash: hash_of_many(900_000 + number), ..access_token(0, &of) };
    let mut new: Vec<_> = (0..50).map(new).collect();
    // And a hash that went is as free as one that was never there.
    new[7].hash = tokens[1].hash;
    assert_eq!(exchange(&storage, &order, &new).await, "done");
    for token in &new {
        let (row, _) = storage.find(&token.hash).await.unwrap().unwrap();
        assert_eq!(shown(&row), shown(token));
    }
    for token in tokens[2..].iter().filter(|token| token.expires_at == at(HOUR)) {
        assert!(storage.find(&token.hash).await.unwrap().is_none());
    }
    assert_eq!(purge(&storage, at(DAY), 999).await, 1 + 1 + LIVE as usize + 50, "the grant and what was left of it");
}

#[tokio::test]
async fn a_spent_access_token_is_evidence_and_not_purged_before_its_grant() {
    let storage = MemoryStorage::new();
    let of = grant(1);
    let token = StoredToken { expires_at: at(HOUR), ..access_token(1, &of) };
    open(&storage, of, std::slice::from_ref(&token)).await;
    assert_eq!(exchange(&storage, &spend(&token, 1), &[]).await, "done");
    assert_eq!(purge(&storage, at(DAY), 9).await, 1, "its seed");
    assert!(find(&storage, 1).await.0.spent.is_some_and(|spent| spent.seed.is_none()));
    assert_eq!(purge(&storage, at(2 * DAY), 9).await, 2);
}

#[tokio::test]
async fn of_a_family_whose_purge_has_begun_nothing_can_be_found_or_used_even_by_a_clock_that_is_behind() {
    let storage = MemoryStorage::new();
    let of = grant(1);
    let tokens: Vec<_> = (1..=6).map(|number| refresh_token(number, &of)).collect();
    open(&storage, of, &tokens).await;
    assert_eq!(storage.purge_expired(at(DAY), 1).await.unwrap(), 1);
    for (number, token) in (1..).zip(&tokens) {
        assert!(is_gone(&storage, number).await, "token {number}");
        assert_eq!(exchange(&storage, &spend(token, 1), &[]).await, "dead", "token {number}");
    }
    let which = GrantSelector::Id(grant_id(1));
    assert!(storage.grants(&which, at(SECOND), &Page::first(9)).await.unwrap().is_empty());
    assert_eq!(storage.revoke_grants(&which, at(SECOND)).await.unwrap(), 0);
    assert_eq!(purge(&storage, at(DAY), 9).await, 6, "five tokens and the grant");
    open(&storage, grant(1), &tokens).await;
    assert_eq!(exchange(&storage, &spend(&tokens[0], 1), &[]).await, "done", "all of it is free again");
}

fn public(id: &str) -> Client {
    Client::public(id).authorization_code(["https://app.example/cb"]).build().unwrap()
}

#[tokio::test]
async fn clients_are_registered_once_found_updated_and_listed_in_order() {
    let storage = MemoryStorage::new();
    for id in ["b", "d", "a", "c"] {
        storage.register(public(id)).await.unwrap();
    }
    let named = Client::public("b").name("Impostor").authorization_code(["https://evil.example/cb"]).build().unwrap();
    assert!(matches!(storage.register(named.clone()).await, Err(RegistryError::Taken)));
    assert_eq!(storage.client("b").await.unwrap().unwrap().name(), None, "the first registration stands");
    assert!(storage.client("B").await.unwrap().is_none() && storage.client("").await.unwrap().is_none());

    storage.update(named).await.unwrap();
    let updated = storage.client("b").await.unwrap().unwrap();
    assert_eq!((updated.name(), updated.redirect_uris()[0].as_str()), (Some("Impostor"), "https://evil.example/cb"));
    assert!(matches!(storage.update(public("z")).await, Err(RegistryError::Unknown)));
    assert!(storage.client("z").await.unwrap().is_none());

    for (after, limit, expected) in [
        (None, 9, &["a", "b", "c", "d"][..]),
        (None, 2, &["a", "b"]),
        (Some("b"), 2, &["c", "d"]),
        (Some("bb"), 1, &["c"]),
        (Some("d"), 9, &[]),
        (None, 0, &[]),
    ] {
        let listed = storage.clients(after.map(client_id).as_ref(), limit).await.unwrap();
        let ids: Vec<_> = listed.iter().map(|client| client.id().as_str()).collect();
        assert_eq!(ids, expected, "after {after:?}");
    }
}

#[tokio::test]
async fn removing_a_client_revokes_all_its_grants_and_nobody_elses() {
    let storage = many_grants().await;
    storage.register(public("app")).await.unwrap();
    storage.register(public("other")).await.unwrap();
    storage.remove(&client_id("app"), at(SECOND)).await.unwrap();
    assert!(storage.client("app").await.unwrap().is_none());
    assert!(storage.client("other").await.unwrap().is_some());
    for number in 1..=6 {
        let revoked = find(&storage, number).await.1.revoked_at;
        assert_eq!(revoked, [1, 3, 4, 6].contains(&number).then(|| at(SECOND)), "grant {number}");
    }
    storage.remove(&client_id("app"), at(HOUR)).await.unwrap();
    assert_eq!(find(&storage, 1).await.1.revoked_at, Some(at(SECOND)));
}

#[tokio::test]
async fn a_credential_is_rotated_for_a_confidential_client_only() {
    let storage = MemoryStorage::new();
    let secret = ClientSecret::new("s3cr3t");
    let new = || ClientCredential::secret(&secret);
    storage.register(public("app")).await.unwrap();
    let result = storage.rotate_credential(&client_id("app"), new(), at(HOUR)).await;
    assert!(matches!(result, Err(RegistryError::Invalid(grantor::client::ClientError::PublicWithCredentials))));
    assert!(storage.client("app").await.unwrap().unwrap().credentials().is_empty());
    let result = storage.rotate_credential(&client_id("nobody"), new(), at(HOUR)).await;
    assert!(matches!(result, Err(RegistryError::Unknown)));

    // Credentials that end sooner than the others are to end keep their end.
    let old = [new(), new().expiring(at(SECOND)), new().expiring(at(DAY)), ClientCredential::opaque()];
    let [first, rest @ ..] = old;
    let client = rest.into_iter().fold(Client::confidential("web", first), ClientBuilder::credential);
    storage.register(client.client_credentials().build().unwrap()).await.unwrap();
    storage.rotate_credential(&client_id("web"), new().expiring(at(9 * DAY)), at(HOUR)).await.unwrap();
    let client = storage.client("web").await.unwrap().unwrap();
    let ends: Vec<_> = client.credentials().iter().map(ClientCredential::expires_at).collect();
    assert_eq!(ends, [at(HOUR), at(SECOND), at(HOUR), at(HOUR), at(9 * DAY)].map(Some));
}

#[tokio::test]
async fn a_clone_is_the_same_storage() {
    let (storage, of, _) = with_refresh_token().await;
    let clone = storage.clone();
    clone.revoke_grants(&GrantSelector::Id(of.id), at(SECOND)).await.unwrap();
    assert_eq!(find(&storage, 1).await.1.revoked_at, Some(at(SECOND)));
}

#[test]
fn a_storage_error_says_whether_waiting_may_help() {
    assert!(!StorageError::new("disk on fire").is_unavailable());
    assert!(StorageError::unavailable("connection refused").is_unavailable());
}
