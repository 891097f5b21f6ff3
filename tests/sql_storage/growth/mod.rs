//! Large tables cost no more than small ones. `GRANTOR_GROWTH=1` loads ten million tokens into PostgreSQL and one
//! million into SQLite; another number loads that many into PostgreSQL and a tenth into SQLite. By default both are
//! small. The tests assert plans and row counts; they print times as ratios and never assert them.

mod load;
mod postgresql;
mod sqlite;

use std::sync::Arc;
use std::time::{Duration, Instant};

use grantor::record::{SessionDigest, TokenKind};
use grantor::storage::ephemeral::{EphemeralKey, EphemeralStore, Inserted, Namespace};
use grantor::storage::{ClientRegistry, GrantPage, GrantSelector, Redemption, Storage};
use grantor::{Client, ClientCredential, ClientId, ClientSecret, Grant, Subject};
use time::OffsetDateTime;

use self::load::Load;
use crate::records::{grant, is_done, refresh_token, spend, start, successors};

/// The lock that each of these tests holds, because parallel tests would disturb each other's times.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How many tokens to load into PostgreSQL.
fn tokens() -> u64 {
    match std::env::var("GRANTOR_GROWTH").ok().and_then(|number| number.parse().ok()) {
        None => 100_000,
        Some(0 | 1) => 10_000_000,
        Some(number) => number,
    }
}

/// How many spent refresh tokens a large family has.
fn large() -> u64 {
    if std::env::var_os("GRANTOR_GROWTH").is_some() { 100_000 } else { 4_000 }
}

fn now() -> OffsetDateTime {
    start()
}

/// Numbers for records that were not loaded.
fn fresh() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(1 << 40);
    LAST.fetch_add(10, Ordering::SeqCst)
}

async fn open_one(storage: &impl Storage) {
    let number = fresh();
    let grant = grant(number);
    let tokens = [refresh_token(&grant, number), refresh_token(&grant, number + 1)];
    assert_eq!(storage.open_grant(&grant, &tokens).await.unwrap(), grantor::storage::Opened::Done);
}

/// Opens a grant and redeems its token.
async fn open_and_redeem(storage: &impl Storage) {
    let number = fresh();
    let grant = grant(number);
    let token = refresh_token(&grant, number);
    assert_eq!(storage.open_grant(&grant, std::slice::from_ref(&token)).await.unwrap(), grantor::storage::Opened::Done);
    assert!(is_done(storage.redeem(&spend(&token, number), &successors(&token, number + 1)).await.unwrap()));
}

/// Spends the last refresh token of the `number`-th grant that has an unspent refresh token.
async fn redeem_loaded(storage: &impl Storage, load: Load, number: u64) {
    let family = load.live(number);
    let old = refresh_token(&grant(0), 0);
    let old = grantor::StoredToken { hash: load::token_hash(family, load::length(family) - 1), ..old };
    let grant_id = load::grant_id(family);
    let order = Redemption { grant_id, kind: TokenKind::RefreshToken, ..spend(&old, fresh()) };
    let next = successors(&old, fresh()).map(|token| grantor::StoredToken { grant_id, ..token });
    assert!(is_done(storage.redeem(&order, &next).await.unwrap()), "grant {family}");
}

async fn median(mut call: impl AsyncFnMut(u64)) -> Duration {
    // Statements are prepared, and frequently used pages are in memory.
    for number in 101..111 {
        call(number).await;
    }
    let mut times = Vec::new();
    for number in 0..101 {
        let begun = Instant::now();
        call(number).await;
        times.push(begun.elapsed());
    }
    times.sort();
    times[50]
}

/// 111 users with three grants each.
async fn users_to_be_revoked(storage: &impl Storage) -> Vec<[Arc<Grant>; 3]> {
    let mut users = Vec::new();
    for _ in 0..111 {
        let number = fresh();
        let subject = Some(Subject::new(format!("revoked-{number}")).unwrap());
        let grants = [0, 1, 2].map(|n| Arc::new(Grant { subject: subject.clone(), ..(*grant(number + n)).clone() }));
        for (grant, number) in grants.iter().zip(number..) {
            assert_eq!(
                storage.open_grant(grant, &[refresh_token(grant, number)]).await.unwrap(),
                grantor::storage::Opened::Done
            );
        }
        users.push(grants);
    }
    users
}

/// The median times of each kind of call.
async fn times(storage: &impl Storage, load: Load) -> Vec<(&'static str, Duration)> {
    let all = GrantPage::first(20);
    let user = |number: u64| Subject::new(load.user(number)).unwrap();
    let others = users_to_be_revoked(storage).await;
    vec![
        (
            "look-up",
            median(async |n| {
                assert!(storage.find(&load::token_hash(load.live(n), 1)).await.unwrap().is_some());
            })
            .await,
        ),
        ("redeem", median(async |n| redeem_loaded(storage, load, n).await).await),
        ("open a grant", median(async |_| open_one(storage).await).await),
        (
            "list of a user",
            median(async |n| {
                storage.list_grants(&GrantSelector::Subject(user(n)), now(), &all).await.unwrap();
            })
            .await,
        ),
        (
            "list of a client",
            median(async |n| {
                let client = ClientId::new(format!("client-{}", n % load::CLIENTS)).unwrap();
                storage.list_grants(&GrantSelector::Client(client), now(), &all).await.unwrap();
            })
            .await,
        ),
        (
            "revoke a grant",
            median(async |n| {
                let which = GrantSelector::Id(others[usize::try_from(n).unwrap()][0].id);
                assert_eq!(storage.revoke_grants(&which, now()).await.unwrap(), 1);
            })
            .await,
        ),
        (
            "revoke a user's",
            median(async |n| {
                let which = GrantSelector::Subject(others[usize::try_from(n).unwrap()][0].subject.clone().unwrap());
                assert_eq!(storage.revoke_grants(&which, now()).await.unwrap(), 2);
            })
            .await,
        ),
    ]
}

fn print_ratios(what: &str, tokens: u64, large: &[(&str, Duration)], small: &[(&str, Duration)]) {
    println!("{what}: {tokens} tokens against 1000");
    for ((name, large), (_, small)) in large.iter().zip(small) {
        println!("    {name:18} {:5.2} times as long ({large:?})", large.as_secs_f64() / small.as_secs_f64());
    }
}

fn app(id: &str) -> Client {
    Client::confidential(id, secret()).client_credentials().build().unwrap()
}

fn secret() -> ClientCredential {
    ClientCredential::secret(&ClientSecret::generate(&grantor::testing::SeededEntropy::new(3)).unwrap())
}

/// Runs every statement of a storage several times, so PostgreSQL may choose one plan for all
/// values.
async fn every_statement<S: Storage + ClientRegistry + EphemeralStore>(storage: &S, load: Load) {
    for round in 0..8 {
        every_ephemeral_statement(storage).await;
        let (id, subject) = (load::grant_id(load.any(500 + round)), Subject::new(load.user(500 + round)).unwrap());
        let client = ClientId::new(format!("small-{round}")).unwrap();
        storage.find(&load::token_hash(load.any(round), 1)).await.unwrap();
        redeem_loaded(storage, load, 300 + round).await;
        open_and_redeem(storage).await;
        storage.revoke_access_token(&load::token_hash(load.any(round), 1), now()).await.unwrap();
        for which in [
            GrantSelector::Id(id),
            GrantSelector::SubjectAndId(subject.clone(), id),
            GrantSelector::SubjectAndClient(subject.clone(), ClientId::new("client-1").unwrap()),
            GrantSelector::SubjectAndSession(subject.clone(), SessionDigest::from_bytes([7; 32])),
            GrantSelector::Session(SessionDigest::from_bytes([7; 32])),
            GrantSelector::Subject(subject),
            GrantSelector::Client(client.clone()),
        ] {
            let page = storage.list_grants(&which, now(), &GrantPage::first(20)).await.unwrap();
            if let Some(last) = page.last() {
                storage.list_grants(&which, now(), &GrantPage::after(last, 20)).await.unwrap();
            }
            storage.revoke_grants(&which, now()).await.unwrap();
        }
        // The limit is reached while only ended grants are searched. Two and three hours ago, none had ended,
        // and then no access token had expired.
        storage.purge_expired(now(), 300).await.unwrap();
        storage.purge_expired(now() - 2 * time::Duration::HOUR - time::Duration::SECOND, 100).await.unwrap();
        storage.purge_expired(now() - 3 * time::Duration::HOUR - time::Duration::SECOND, 1).await.unwrap();
        storage.register(app(client.as_str())).await.unwrap();
        storage.update(app(client.as_str()), app(client.as_str()).version()).await.unwrap();
        storage.find_client(client.as_str()).await.unwrap();
        storage.list_clients(Some(&client), 10).await.unwrap();
        storage.rotate_credential(&client, secret(), now()).await.unwrap();
        storage.remove(&client, now()).await.unwrap();
    }
}

async fn every_ephemeral_statement(storage: &impl EphemeralStore) {
    let namespace = Namespace::new("test_1").unwrap();
    let mut digest = [0xff; 32];
    digest[24..].copy_from_slice(&fresh().to_be_bytes());
    let key = EphemeralKey::from_bytes(namespace, digest);
    let end = now() + time::Duration::MINUTE;
    let Inserted::New(version) = storage.insert(&key, b"value", end, now()).await.unwrap() else { panic!("taken") };
    assert_eq!(storage.insert(&key, b"value", end, now()).await.unwrap(), Inserted::Taken);
    assert!(storage.get(&key, now()).await.unwrap().is_some());
    assert!(storage.replace(&key, version, b"other", end, now()).await.unwrap().is_some());
    assert_eq!(storage.take(&key, now()).await.unwrap().unwrap(), b"other");
    assert_eq!(storage.due(namespace, now(), 10).await.unwrap().len(), 10);
    assert_eq!(storage.purge_ephemeral(now(), 50).await.unwrap(), 50);
}

/// Purges everything while other tasks issue tokens. Returns the number of rows and the times of the issuances.
async fn purge_beside_issuance<S>(storage: &S, issuing: &S) -> (usize, Vec<Duration>)
where
    S: Storage + Clone + 'static,
{
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let issuers: Vec<_> = (0..2)
        .map(|_| {
            let (issuing, is_over) = (issuing.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                    let begun = Instant::now();
                    open_and_redeem(&issuing).await;
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut removed = 0;
    loop {
        let touched = storage.purge_expired(now(), 20_000).await.unwrap();
        assert!(touched <= 20_000, "{touched} rows");
        removed += touched;
        if touched < 20_000 {
            break;
        }
    }
    is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut times = Vec::new();
    for issuer in issuers {
        times.extend(issuer.await.unwrap());
    }
    times.sort();
    (removed, times)
}

/// Prints the time of issuance during a purge, as a multiple of the median without a purge.
async fn print_purge(what: &str, storage: &impl Storage, (removed, beside): (usize, Vec<Duration>)) {
    let alone = median(async |_| open_and_redeem(storage).await).await;
    let ratio = |time: Duration| time.as_secs_f64() / alone.as_secs_f64();
    println!(
        "{what}: {removed} rows purged beside {} issuances: median {:.1}, worst {:.1} times the median of an idle database",
        beside.len(),
        ratio(beside[beside.len() / 2]),
        ratio(*beside.last().unwrap()),
    );
}

/// Revokes three large families of as many tokens as [`large`]. Prints the time, compared with small families.
async fn revoke_large_families(what: &str, storage: &impl Storage) {
    let others = users_to_be_revoked(storage).await;
    let small = median(async |n| {
        let which = GrantSelector::Id(others[usize::try_from(n).unwrap()][0].id);
        assert_eq!(storage.revoke_grants(&which, now()).await.unwrap(), 1);
    })
    .await;
    let mut times = Vec::new();
    for number in 0..3 {
        let begun = Instant::now();
        let which = GrantSelector::Id(load::large_family(number));
        assert_eq!(storage.revoke_grants(&which, now()).await.unwrap(), 1);
        times.push(begun.elapsed());
    }
    times.sort();
    let ratio = times[1].as_secs_f64() / small.as_secs_f64();
    println!("{what}: to revoke a grant with {} spent tokens takes {ratio:.2} times as long as one with one", large());
}
