//! Parallel requests, and requests that are cancelled.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use grantor::record::{AttemptId, GrantDetails, TokenDetails, TokenKind};
use grantor::secret::TokenHash;
use grantor::storage::{Found, GrantPage, GrantSelector, Opened, RedeemOutcome, Redemption};
use grantor::testing::{Call, ISSUER, Intercepted, Interceptor, Next, Reply, TestClient, TestServer};
use grantor::{
    AccessToken, Approval, AuthorizationOutcome, AuthorizationRequest, AuthorizationServer, Client, ClientId,
    ClientRegistry, ClientStore, Clock, Error, ErrorCode, Grant, GrantId, GrantType, Interaction, MemoryStorage,
    Password, Policy, RefreshToken, Request, Scope, Storage, StorageError, StoredToken, Subject, TokenRequest,
    TokenResponse,
};
use time::{Duration, OffsetDateTime};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// How often each race is run. A bug that shows in one race of twenty is missed in a hundred with a probability of 0.6
/// % (0.95^100). The calls of 64 runners overlap in nearly every race, so a step that is not atomic shows far more
/// often. `GRANTOR_LONG=1` runs ten times as many.
static REPETITIONS: LazyLock<usize> =
    LazyLock::new(|| if std::env::var_os("GRANTOR_LONG").is_some_and(|value| value == "1") { 1_000 } else { 100 });
/// The number of runners in each race.
const RUNNERS: usize = 64;

/// Makes the caller of a storage wait once before and once after the work, as a database over a network does.
/// Records the writes.
#[derive(Default)]
struct Slow(Mutex<Vec<Write>>);

/// The records that one call stored together.
#[derive(Clone)]
struct Write {
    grant: GrantId,
    spends: Option<TokenHash>,
    tokens: Vec<(TokenHash, TokenKind)>,
}

/// Is pending once, so other tasks run, or the caller drops the future.
async fn wait_once() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Slow {
    fn writes(&self) -> Vec<Write> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, grant: GrantId, spends: Option<TokenHash>, tokens: &[StoredToken]) {
        let tokens = tokens.iter().map(|token| (token.hash, token.kind.clone())).collect();
        self.0.lock().unwrap().push(Write { grant, spends, tokens });
    }
}

#[async_trait]
impl Interceptor for Slow {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        match call {
            Call::OpenGrant { grant, tokens } => self.note(grant.id, None, tokens),
            Call::Redeem { redemption, successors } => {
                self.note(redemption.grant_id, Some(redemption.token), successors);
            }
            _ => {}
        }
        wait_once().await;
        let reply = next.run(call).await;
        wait_once().await;
        reply
    }
}

/// A server with a slow storage, a public client and a confidential client.
struct Bench {
    t: TestServer,
    slow: Arc<Slow>,
    app: TestClient,
    machine: TestClient,
}

impl Bench {
    async fn new() -> Self {
        let mut t = TestServer::new();
        let slow = Arc::<Slow>::default();
        let mut policy = Policy::default();
        policy.dangerous().allow_password_grant = true;
        policy.dangerous().allow_implicit_grant = true;
        t.server = AuthorizationServer::builder(ISSUER)
            .storage(Intercepted::new(t.storage.clone(), Arc::clone(&slow)))
            .authenticator(t.users.clone())
            .policy(policy)
            .scope("user:read", "Read your profile")
            .scope("user:write", "Change your profile")
            .clock(t.clock.clone())
            .entropy(t.entropy.clone())
            .observer(t.events.clone())
            .build()
            .await
            .unwrap();
        t.users.add("alice", "correct horse");
        let app = Client::public("app")
            .authorization_code(["https://app.example/cb"])
            .implicit(["https://app.example/cb"])
            .refresh_token()
            .password()
            .scope("user:read user:write");
        let app = t.register(app.build(), None).await;
        let machine = t.confidential_client("https://app.example/cb").await;
        Self { t, slow, app, machine }
    }

    async fn tokens(&self) -> TokenResponse {
        self.t.authorize(&self.app).approve_as("alice").await.redeem().await.unwrap()
    }

    async fn refresh(&self, token: &str) -> Result<TokenResponse, Error> {
        self.t.refresh(&self.app, &RefreshToken::new(token)).await
    }

    async fn is_live(&self, token: &AccessToken) -> bool {
        self.t.bearer(token).await.is_ok()
    }

    async fn stored(&self, hash: &TokenHash) -> Option<(Arc<StoredToken>, Arc<Grant>)> {
        self.t.storage.find(hash).await.unwrap().map(|found| (found.token, found.grant))
    }

    /// Every refresh token of a recorded write that would work now.
    async fn live_refresh_tokens(&self) -> BTreeSet<TokenHash> {
        let now = self.t.clock.now();
        let mut live = BTreeSet::new();
        for (hash, kind) in self.slow.writes().into_iter().flat_map(|write| write.tokens) {
            if kind == TokenKind::RefreshToken
                && let Some((token, grant)) = self.stored(&hash).await
                && token.spent.is_none()
                && now < token.expires_at
                && grant.is_live(now)
            {
                live.insert(hash);
            }
        }
        live
    }

    /// Asserts that records of one write were stored together or not at all.
    async fn assert_nothing_is_half_written(&self, what: &str) {
        for write in self.slow.writes() {
            let mut found = 0;
            for (hash, kind) in &write.tokens {
                if let Some((token, grant)) = self.stored(hash).await {
                    assert_eq!((&token.kind, grant.id), (kind, write.grant), "{what}");
                    assert!(token.expires_at <= grant.expires_at, "{what}: the grant ends before its tokens");
                    found += 1;
                }
            }
            assert!(found == 0 || found == write.tokens.len(), "{what}: {found} of {} tokens", write.tokens.len());
            if let Some(spends) = write.spends {
                let (spent, _) = self.stored(&spends).await.unwrap_or_else(|| panic!("{what}: the token is gone"));
                assert!(spent.spent.is_some() || found == 0, "{what}: successors of a token that is not spent");
            }
        }
    }
}

/// Runs many tasks against the same target at the same moment; returns their results.
async fn race<T: Send + 'static, F>(run: impl Fn() -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(RUNNERS));
    let mut runners = JoinSet::new();
    for _ in 0..RUNNERS {
        let (start, run) = (Arc::clone(&start), run());
        runners.spawn(async move {
            start.wait().await;
            run.await
        });
    }
    runners.join_all().await
}

fn is_invalid_grant(result: &Result<TokenResponse, Error>) -> bool {
    result.as_ref().is_err_and(|error| error.code() == ErrorCode::INVALID_GRANT)
}

/// A server with plain memory storage, for races of real threads.
async fn racetrack(change: impl FnOnce(&mut Policy)) -> (Arc<TestServer>, Arc<TestClient>) {
    let t = Arc::new(TestServer::with_policy(change));
    let app = Arc::new(t.public_client("https://app.example/cb").await);
    (t, app)
}

// covers: GC-03 (RFC 6749 §4.1.2), GC-04 (OAuth 2.1 §4.1.3), GC-05 (RFC 6749 §10.5), B16, B18
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_code_redemptions_let_one_win_and_end_the_grant() {
    for round in 0..*REPETITIONS {
        let (t, app) = racetrack(|_| {}).await;
        let approved = t.authorize(&app).approve_as("alice").await;
        let code = approved.code().expose().to_owned();
        let verifier = approved.verifier().unwrap().expose().to_owned();
        let results = race(|| {
            let (t, app, code, verifier) = (Arc::clone(&t), Arc::clone(&app), code.clone(), verifier.clone());
            async move {
                let (code, verifier) = (grantor::AuthorizationCode::new(code), grantor::CodeVerifier::new(verifier));
                let request = TokenRequest::authorization_code(&code);
                t.token_as(&app, request.redirect_uri(&app.redirect_uri).code_verifier(&verifier)).await
            }
        })
        .await;
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(results.iter().filter(|result| is_invalid_grant(result)).count(), RUNNERS - 1, "round {round}");
        assert!(t.bearer(&won[0].access_token).await.is_err(), "round {round}: the access token still works");
        let refreshed = t.refresh(&app, won[0].refresh_token.as_ref().unwrap()).await;
        assert!(is_invalid_grant(&refreshed), "round {round}: the refresh token still works");
        let grant = t.storage.find(&approved.code().hash()).await.unwrap().unwrap().grant;
        assert!(grant.revoked_at.is_some(), "round {round}");
        assert_eq!(t.events.count("tokens_issued"), 1, "round {round}");
        assert!(t.events.count("code_replayed") > 0, "round {round}: no event");
    }
}

// covers: GR-15 (RFC 9700 §4.14.2), B20
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refreshes_within_grace_share_one_lineage() {
    for round in 0..*REPETITIONS {
        let bench = Arc::new(Bench::new().await);
        let presented = bench.tokens().await.refresh_token.unwrap().expose().to_owned();
        let results = race(|| {
            let (bench, presented) = (Arc::clone(&bench), presented.clone());
            async move { bench.refresh(&presented).await }
        })
        .await;
        let answers: BTreeSet<Vec<u8>> = results.iter().map(|result| result.as_ref().unwrap().to_json()).collect();
        assert_eq!(answers.len(), 1, "round {round}: different answers");
        let successor = results[0].as_ref().unwrap().refresh_token.as_ref().unwrap();
        // The losers of the race generated tokens too. None of these tokens may be stored.
        assert_eq!(bench.live_refresh_tokens().await, [successor.hash()].into(), "round {round}");
        assert!(bench.is_live(&results[0].as_ref().unwrap().access_token).await, "round {round}");
        assert_eq!(bench.t.events.count("refresh_repeated"), RUNNERS - 1, "round {round}");
        assert_eq!(bench.t.events.count("refresh_token_reused"), 0, "round {round}");
        assert!(bench.refresh(successor.expose()).await.is_ok(), "round {round}: the lineage continues");
    }
}

// covers: GR-13 (RFC 9700 §4.14.2), GR-14 (OAuth 2.1 §4.3.1), GR-15, B20
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refreshes_without_grace_end_the_grant() {
    for round in 0..*REPETITIONS {
        let (t, app) = racetrack(|policy| policy.refresh_grace = Duration::ZERO).await;
        let tokens = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
        let presented = tokens.refresh_token.unwrap().expose().to_owned();
        let results = race(|| {
            let (t, app, presented) = (Arc::clone(&t), Arc::clone(&app), RefreshToken::new(presented.clone()));
            async move { t.refresh(&app, &presented).await }
        })
        .await;
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "round {round}: exactly one request spends the token");
        assert_eq!(results.iter().filter(|result| is_invalid_grant(result)).count(), RUNNERS - 1, "round {round}");
        for access_token in [&tokens.access_token, &won[0].access_token] {
            assert!(t.bearer(access_token).await.is_err(), "round {round}: an access token still works");
        }
        let refreshed = t.refresh(&app, won[0].refresh_token.as_ref().unwrap()).await;
        assert!(is_invalid_grant(&refreshed), "round {round}: the successor still works");
        assert!(t.events.count("refresh_token_reused") > 0, "round {round}: no event");
    }
}

// covers: GR-05 (OAuth 2.1 §4.3.1)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_outlives_a_revocation_that_returned() {
    const CHAINS: usize = 4;
    let mut outran = 0;
    for round in 0..*REPETITIONS {
        let (t, app) = racetrack(|_| {}).await;
        // Some codes are redeemed and some tokens refreshed while all grants of the user are revoked.
        let mut runners = JoinSet::new();
        let start = Arc::new(Barrier::new(2 * CHAINS + 1));
        for _ in 0..CHAINS {
            let tokens = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
            let (t, app, start) = (Arc::clone(&t), Arc::clone(&app), Arc::clone(&start));
            runners.spawn(async move {
                start.wait().await;
                let mut held = vec![tokens];
                while let Ok(next) = t.refresh(&app, held.last().unwrap().refresh_token.as_ref().unwrap()).await {
                    held.push(next);
                }
                held
            });
        }
        for _ in 0..CHAINS {
            let code = t.authorize(&app).approve_as("alice").await.code().expose().to_owned();
            let (t, app, start) = (Arc::clone(&t), Arc::clone(&app), Arc::clone(&start));
            runners.spawn(async move {
                let code = grantor::AuthorizationCode::new(code);
                let verifier = grantor::CodeVerifier::new("a-verifier-of-forty-three-characters-at-least");
                start.wait().await;
                let request = TokenRequest::authorization_code(&code).code_verifier(&verifier);
                t.token_as(&app, request.redirect_uri(&app.redirect_uri)).await.into_iter().collect()
            });
        }
        start.wait().await;
        for _ in 0..round % 8 {
            tokio::task::yield_now().await;
        }
        let everything = GrantSelector::Subject(Subject::new("alice").unwrap());
        let revoked = t.storage.revoke_grants(&everything, t.clock.now()).await.unwrap();
        assert_eq!(revoked, 2 * CHAINS as u64, "round {round}");
        let live = t.storage.list_grants(&everything, t.clock.now(), &GrantPage::first(9)).await.unwrap();
        assert!(live.is_empty(), "round {round}: {live:?}");
        for held in runners.join_all().await {
            outran += held.len();
            for tokens in held {
                assert!(t.bearer(&tokens.access_token).await.is_err(), "round {round}: an access token still works");
                let refreshed = t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await;
                assert!(is_invalid_grant(&refreshed), "round {round}: a refresh token still works");
            }
        }
    }
    assert!(outran > *REPETITIONS * CHAINS, "no request ever ran in parallel with a revocation");
}

/// Records for races in the storage itself, without a server, so the calls overlap.
mod rows {
    use super::*;

    pub(super) const DAY: Duration = Duration::DAY;

    pub(super) fn at(after: Duration) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap() + after
    }

    fn bytes<const N: usize>(number: u64) -> [u8; N] {
        let mut bytes = [0xee; N];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    pub(super) fn hash(number: u64) -> TokenHash {
        TokenHash::from_bytes(bytes(number))
    }

    pub(super) fn id(number: u64) -> GrantId {
        GrantId::from_bytes(bytes(number))
    }

    /// A grant of one of four users to one of two clients that ends after two days.
    pub(super) fn grant(number: u64) -> Grant {
        Grant {
            id: id(number),
            client_id: ClientId::new(format!("app-{}", number % 2)).unwrap(),
            subject: Some(Subject::new(format!("user-{}", number % 4)).unwrap()),
            grant_type: GrantType::new("authorization_code").unwrap(),
            scope: Scope::parse("user:read").unwrap(),
            opened_at: at(Duration::ZERO),
            last_used_at: at(Duration::ZERO),
            expires_at: at(2 * DAY),
            revoked_at: None,
            parent_grant: None,
            session: None,
            host_data: None,
            details: GrantDetails::default(),
        }
    }

    /// A token that expires after a day.
    pub(super) fn token(number: u64, kind: TokenKind, of: u64) -> StoredToken {
        StoredToken {
            hash: hash(number),
            kind,
            grant_id: id(of),
            scope: Scope::parse("user:read").unwrap(),
            issued_at: at(Duration::ZERO),
            expires_at: at(DAY),
            parent: None,
            spent: None,
            revoked_at: None,
            details: TokenDetails::default(),
        }
    }

    pub(super) fn refresh(number: u64, of: u64) -> StoredToken {
        token(number, TokenKind::RefreshToken, of)
    }

    pub(super) fn access(number: u64, of: u64) -> StoredToken {
        token(number, TokenKind::AccessToken, of)
    }

    /// The redemption of a refresh token one second after the start, which extends its grant to nine days.
    pub(super) fn spend(number: u64, of: u64) -> Redemption {
        Redemption {
            token: hash(number),
            kind: TokenKind::RefreshToken,
            grant_id: id(of),
            attempt: AttemptId::from_bytes(bytes(number)),
            at: at(Duration::SECOND),
            consume: true,
            seed: None,
            seed_until: None,
            grant_expires_at: at(9 * DAY),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_writes_of_the_same_hashes_let_one_win() {
    use rows::*;
    const SHARED: [u64; 2] = [1_001, 1_002];
    let redemptions = |number: u64, round: usize| number.is_multiple_of(2) == round.is_multiple_of(2);
    let mut won_by_redemption = 0;
    for round in 0..*REPETITIONS {
        let storage = MemoryStorage::new();
        let next = Arc::new(AtomicU64::new(0));
        for number in 0..RUNNERS as u64 {
            if redemptions(number, round) {
                assert_eq!(
                    storage.open_grant(&Arc::new(grant(number)), &[refresh(number, number)]).await.unwrap(),
                    Opened::Done
                );
            }
        }
        // Half of the runners open a grant, half redeem a token. All use the same two hashes in either order, with a
        // third hash before, between or after them.
        let results = race(|| {
            let (storage, next) = (storage.clone(), Arc::clone(&next));
            async move {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let mut tokens: Vec<_> = SHARED.iter().map(|shared| access(*shared, number)).collect();
                if number / 2 % 2 == 0 {
                    tokens.reverse();
                }
                tokens.insert(round % 3, refresh(2_000 + number, number));
                let done = if redemptions(number, round) {
                    storage.redeem(&spend(number, number), &tokens).await.map(|done| {
                        assert!(matches!(done, RedeemOutcome::Done), "runner {number}: {done:?}");
                    })
                } else {
                    storage.open_grant(&Arc::new(grant(number)), &tokens).await.map(|opened| {
                        assert_eq!(opened, Opened::Done, "runner {number}");
                    })
                };
                (number, done.is_ok())
            }
        })
        .await;
        let winners: Vec<_> = results.iter().filter_map(|(number, won)| won.then_some(*number)).collect();
        let [winner] = winners[..] else { panic!("round {round}: {winners:?} won") };
        won_by_redemption += usize::from(redemptions(winner, round));
        for shared in SHARED {
            let Found { token: row, grant: of, .. } = storage.find(&hash(shared)).await.unwrap().unwrap();
            assert_eq!((row.grant_id, of.id), (id(winner), id(winner)), "round {round}");
        }
        for (number, won) in results {
            let what = format!("round {round}: runner {number}, won: {won}");
            assert_eq!(storage.find(&hash(2_000 + number)).await.unwrap().is_some(), won, "{what}");
            let listed = storage
                .list_grants(&GrantSelector::Id(id(number)), at(Duration::ZERO), &GrantPage::first(1))
                .await
                .unwrap();
            if redemptions(number, round) {
                let Found { token: row, grant: of, .. } = storage.find(&hash(number)).await.unwrap().unwrap();
                assert_eq!(row.spent.is_some(), won, "{what}");
                assert_eq!(of.last_used_at > of.opened_at, won, "{what}");
            } else {
                assert_eq!(listed.len(), usize::from(won), "{what}");
            }
        }
        // The hashes of the losers are still unused.
        let lost = (0..RUNNERS as u64).filter(|number| *number != winner);
        let again: Vec<_> = lost.map(|number| refresh(2_000 + number, 3_000)).collect();
        assert_eq!(storage.open_grant(&Arc::new(grant(3_000)), &again).await.unwrap(), Opened::Done);
        storage.revoke_grants(&GrantSelector::Id(id(3_000)), at(Duration::SECOND)).await.unwrap();
        assert_eq!(storage.purge_expired(at(Duration::SECOND), 9_999).await.unwrap(), RUNNERS, "round {round}");
        // Half of the runners had a grant and a token. The winner has three more tokens and, if it opened it, one more
        // grant.
        let rows = RUNNERS + 3 + usize::from(!redemptions(winner, round));
        assert_eq!(storage.purge_expired(at(9 * DAY), 9_999).await.unwrap(), rows, "round {round}");
    }
    assert!((1..*REPETITIONS).contains(&won_by_redemption), "only one kind of call ever won: {won_by_redemption}");
}

#[test]
fn crosswise_writes_of_two_hashes_let_one_win() {
    use rows::*;
    const ROUNDS: usize = 20_000;
    let storage = MemoryStorage::new();
    // These threads must overlap as closely as possible. With a barrier, one thread could pass long before the other.
    let arrived = AtomicU64::new(0);
    let wins = [0, 1].map(|_| AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (number, won) in (0..).zip(&wins) {
            let (storage, arrived) = (&storage, &arrived);
            scope.spawn(move || {
                for round in 0..ROUNDS as u64 {
                    let of = 2 * round + number;
                    let mut tokens = [access(3 * round, of), access(3 * round + 1, of), access(3 * round + 2, of)];
                    if number == 1 {
                        tokens.reverse();
                    }
                    let grant = Arc::new(grant(of));
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < 2 * (round + 1) {
                        std::thread::yield_now();
                    }
                    let done = poll(pin!(storage.open_grant(&grant, &tokens)), 1).expect("memory never waits");
                    won.fetch_add(usize::from(done.is_ok()), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(wins.map(AtomicUsize::into_inner).iter().sum::<usize>(), ROUNDS, "exactly one call wins in each round");
    let purged = poll(pin!(storage.purge_expired(at(9 * DAY), usize::MAX)), 1).unwrap().unwrap();
    assert_eq!(purged, 4 * ROUNDS, "each round leaves a grant and three tokens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn family_is_either_purged_or_used_whole() {
    use rows::*;
    const TOKENS: usize = 40;
    let (mut used, mut purged) = (0, 0);
    for round in 0..*REPETITIONS {
        let storage = MemoryStorage::new();
        let tokens: Vec<_> = (0..TOKENS as u64).map(|number| refresh(number, 0)).collect();
        assert_eq!(storage.open_grant(&Arc::new(grant(0)), &tokens).await.unwrap(), Opened::Done);
        let start = Arc::new(Barrier::new(4));
        let mut runners = JoinSet::new();
        // By the clocks of these two nodes the grant has ended. They purge in small steps.
        for limit in [3, 7] {
            let (storage, start) = (storage.clone(), Arc::clone(&start));
            runners.spawn(async move {
                start.wait().await;
                let mut touched = 0;
                loop {
                    let step = storage.purge_expired(at(2 * DAY), limit).await.unwrap();
                    assert!(step <= limit, "{step} of at most {limit}");
                    touched += step;
                    if step < limit {
                        return touched;
                    }
                }
            });
        }
        // This task only reads.
        let (looker, together) = (storage.clone(), Arc::clone(&start));
        runners.spawn(async move {
            together.wait().await;
            let mut is_gone = false;
            for number in (0..TOKENS as u64).chain(0..TOKENS as u64) {
                let found = looker.find(&hash(number)).await.unwrap().is_some();
                assert!(!(is_gone && found), "round {round}: token {number} exists without its family");
                is_gone = !found;
            }
            0
        });
        // This task's clock is behind: the grant is live for it, and its redemption would extend it.
        let (late, together) = (storage.clone(), Arc::clone(&start));
        let outcome = tokio::spawn(async move {
            together.wait().await;
            // The purges get a head start that differs from round to round, so both outcomes occur.
            for _ in 0..round % 20 * 200 {
                std::hint::spin_loop();
            }
            if round % 4 == 3 {
                tokio::task::yield_now().await;
            }
            let order = spend(TOKENS as u64 - 1, 0);
            let outcome = late.redeem(&order, &[access(900, 0), refresh(901, 0)]).await.unwrap();
            let is_done = matches!(outcome, RedeemOutcome::Done);
            // By the clock of the other nodes, the access token has expired.
            assert_eq!(late.find(&hash(901)).await.unwrap().is_some(), is_done, "round {round}: {outcome:?}");
            is_done
        });
        let touched: usize = runners.join_all().await.into_iter().sum();
        let rest = if outcome.await.unwrap() {
            used += 1;
            for number in 0..TOKENS as u64 {
                assert!(storage.find(&hash(number)).await.unwrap().is_some(), "round {round}: token {number} was lost");
            }
            assert!(touched <= 1, "round {round}: {touched} rows were removed, not only the access token");
            TOKENS + 3 - touched
        } else {
            purged += 1;
            assert_eq!(touched, TOKENS + 1, "round {round}: the family and nothing else");
            0
        };
        assert_eq!(storage.purge_expired(at(9 * DAY), 999).await.unwrap(), rest, "round {round}: the remaining rows");
        assert!(storage.find(&hash(0)).await.unwrap().is_none(), "round {round}");
    }
    assert!(used > 0 && purged > 0, "no race: used {used} times, purged {purged} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_calls_in_parallel_neither_deadlock_nor_lose_rows() {
    use rows::*;
    const GRANTS: u64 = 4_000;
    let storage = MemoryStorage::new();
    storage.register(Client::public("app-1").authorization_code(["https://a.example"]).build().unwrap()).await.unwrap();
    let (done, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..2 {
        let (storage, written) = (storage.clone(), Arc::clone(&written));
        writers.spawn(async move {
            for number in (0..GRANTS).filter(|number| number % 2 == writer) {
                tokio::task::yield_now().await;
                let (first, access_token) = (10 * number, 10 * number + 1);
                let tokens = [refresh(first, number), access(access_token, number)];
                assert_eq!(storage.open_grant(&Arc::new(grant(number)), &tokens).await.unwrap(), Opened::Done);
                written.fetch_add(3, Ordering::Relaxed);
                for step in 0..3 {
                    let last = first + 2 * step;
                    let successor = StoredToken { parent: Some(hash(last)), ..refresh(last + 2, number) };
                    let successors = [successor, access(last + 3, number)];
                    match storage.redeem(&spend(last, number), &successors).await.unwrap() {
                        RedeemOutcome::Done => {
                            written.fetch_add(2, Ordering::Relaxed);
                            // By now the grant may be revoked and purged. Otherwise it is unchanged.
                            if let Some(Found { token: row, grant: of, .. }) =
                                storage.find(&hash(last + 2)).await.unwrap()
                            {
                                assert_eq!((row.parent, of.id), (Some(hash(last)), id(number)));
                                let spent = storage.find(&hash(last)).await.unwrap().map(|found| found.token);
                                assert!(spent.is_none_or(|spent| spent.spent.is_some()), "grant {number}");
                            }
                        }
                        // The grant may have been revoked in between, or even purged.
                        RedeemOutcome::Dead => break,
                        RedeemOutcome::AlreadySpent => panic!("grant {number}: spent by another caller"),
                    }
                }
            }
            0
        });
    }
    let mut others = JoinSet::new();
    for other in 0..3 {
        let (storage, done) = (storage.clone(), Arc::clone(&done));
        others.spawn(async move {
            let mut touched = 0;
            let mut turn = 0_u64;
            while !done.load(Ordering::Relaxed) {
                turn += 1;
                let user = Subject::new(format!("user-{}", turn % 4)).unwrap();
                match other {
                    // Expired access tokens and revoked grants are removed.
                    0 => touched += storage.purge_expired(at(DAY), 50).await.unwrap(),
                    1 => {
                        let which = GrantSelector::Subject(user);
                        let token = hash(turn * 7_919 % (10 * GRANTS));
                        let found = storage.find(&token).await.unwrap();
                        assert!(found.is_none_or(|found| found.token.hash == token && found.token.grant_id == found.grant.id));
                        storage.revoke_access_token(&hash(turn % (10 * GRANTS)), at(DAY)).await.unwrap();
                        let listed = storage.list_grants(&which, at(Duration::ZERO), &GrantPage::first(50)).await.unwrap();
                        assert!(listed.iter().all(|grant| which.selects(grant) && grant.revoked_at.is_none()));
                    }
                    _ if turn.is_multiple_of(16) => {
                        let client = ClientId::new("app-1").unwrap();
                        storage.remove(&client, at(DAY)).await.unwrap();
                        assert!(storage.find_client("app-1").await.unwrap().is_none());
                    }
                    _ => {
                        let which = GrantSelector::SubjectAndClient(user, ClientId::new("app-0").unwrap());
                        storage.revoke_grants(&which, at(DAY)).await.unwrap();
                    }
                }
                tokio::task::yield_now().await;
            }
            touched
        });
    }
    writers.join_all().await;
    done.store(true, Ordering::Relaxed);
    let touched: usize = others.join_all().await.into_iter().sum();
    assert!(touched > 0, "no purge ever ran in parallel with a write");
    let rest = storage.purge_expired(at(9 * DAY), usize::MAX).await.unwrap();
    assert_eq!(touched + rest, written.load(Ordering::Relaxed), "each written row was removed once");
    for number in 0..10 * GRANTS {
        assert!(storage.find(&hash(number)).await.unwrap().is_none(), "token {number}");
    }
    assert_eq!(storage.purge_expired(at(99 * DAY), usize::MAX).await.unwrap(), 0);
}

/// Polls a future at most `times` times, then drops it.
fn poll_and_drop<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut future = pin!(future);
    poll(future.as_mut(), times)
}

fn poll<T>(mut future: Pin<&mut impl Future<Output = T>>, times: usize) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..times {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
    }
    None
}

#[tokio::test]
async fn slow_storage_waits_before_and_after_the_work() {
    use rows::*;
    let (storage, grant) = (MemoryStorage::new(), Arc::new(grant(1)));
    let slow = Intercepted::new(storage.clone(), Slow::default());
    let is_open = async || {
        let which = GrantSelector::Id(id(1));
        !storage.list_grants(&which, at(Duration::ZERO), &GrantPage::first(1)).await.unwrap().is_empty()
    };
    assert!(poll_and_drop(slow.open_grant(&grant, &[]), 1).is_none());
    assert!(!is_open().await, "dropped before the work");
    assert!(poll_and_drop(slow.open_grant(&grant, &[]), 2).is_none());
    assert!(is_open().await, "dropped after the work");
    assert!(poll_and_drop(slow.find(&hash(1)), 3).is_some());
}

/// Runs a future with every number of polls after which it may be dropped, on a fresh server each time, up to its
/// completion. Tells `check` whether it completed.
async fn at_every_await<S, D, C>(setup: impl AsyncFn(&Bench) -> S, drive: D, check: C) -> usize
where
    D: AsyncFn(&Bench, &S, usize) -> bool,
    C: AsyncFn(&Bench, &S, bool, &str),
{
    for polls in 0.. {
        let bench = Bench::new().await;
        let state = setup(&bench).await;
        let done = drive(&bench, &state, polls).await;
        let what = format!("after {polls} polls");
        bench.assert_nothing_is_half_written(&what).await;
        check(&bench, &state, done, &what).await;
        if done {
            return polls;
        }
        assert!(polls < 100, "the future never completes");
    }
    unreachable!()
}

// covers: B16
#[tokio::test]
async fn cancelled_redemption_leaves_all_or_nothing() {
    let polls = at_every_await(
        async |bench| {
            let approved = bench.t.authorize(&bench.app).approve_as("alice").await;
            approved.code().expose().to_owned()
        },
        async |bench, code, polls| {
            let redirect_uri = &bench.app.redirect_uri;
            poll_and_drop(
                bench.t.token_as(&bench.app, redemption(&grantor::AuthorizationCode::new(code), redirect_uri)),
                polls,
            )
            .is_some_and(|answer| answer.is_ok())
        },
        async |bench, code, done, what| {
            let code = grantor::AuthorizationCode::new(code);
            let (stored, grant) = bench.stored(&code.hash()).await.unwrap();
            assert!(grant.is_live(bench.t.clock.now()), "{what}");
            assert!(stored.spent.is_some() || !done, "{what}");
            assert_eq!(bench.live_refresh_tokens().await.len(), usize::from(stored.spent.is_some()), "{what}");
            let again = bench.t.token_as(&bench.app, redemption(&code, &bench.app.redirect_uri)).await;
            if stored.spent.is_none() {
                assert!(bench.is_live(&again.unwrap().access_token).await, "{what}");
            } else {
                // A code gets an answer only once, so a second redemption counts as a replay.
                assert!(is_invalid_grant(&again), "{what}");
                assert!(bench.live_refresh_tokens().await.is_empty(), "{what}");
            }
        },
    )
    .await;
    assert_eq!(polls, 1 + 2 * 3, "client, code, redemption: each waits twice");
}

fn redemption<'a>(code: &'a grantor::AuthorizationCode, redirect_uri: &'a str) -> TokenRequest<'a> {
    TokenRequest::authorization_code(code)
        .redirect_uri(redirect_uri)
        .parameter("code_verifier", "a-verifier-of-forty-three-characters-at-least")
}

// covers: B20
#[tokio::test]
async fn cancelled_refresh_succeeds_when_retried() {
    let polls = at_every_await(
        async |bench| bench.tokens().await.refresh_token.unwrap().expose().to_owned(),
        async |bench, token, polls| poll_and_drop(bench.refresh(token), polls).is_some_and(|answer| answer.is_ok()),
        async |bench, token, done, what| {
            let (stored, _) = bench.stored(&RefreshToken::new(token).hash()).await.unwrap();
            assert!(stored.spent.is_some() || !done, "{what}");
            assert_eq!(bench.live_refresh_tokens().await.len(), 1, "{what}: one lineage");
            bench.t.clock.advance(Duration::seconds(29));
            let again = bench.refresh(token).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(bench.t.events.count("refresh_repeated"), usize::from(stored.spent.is_some()), "{what}");
            assert!(bench.is_live(&again.access_token).await, "{what}");
            let successor = again.refresh_token.unwrap();
            assert_eq!(bench.live_refresh_tokens().await, [successor.hash()].into(), "{what}: one lineage");
            assert!(bench.refresh(successor.expose()).await.is_ok(), "{what}: the lineage continues");
        },
    )
    .await;
    assert_eq!(polls, 1 + 2 * 3, "client, token, redemption: each waits twice");
}

#[tokio::test]
async fn cancelled_repeat_of_refresh_changes_nothing() {
    let polls = at_every_await(
        async |bench| {
            let token = bench.tokens().await.refresh_token.unwrap().expose().to_owned();
            let first = bench.refresh(&token).await.unwrap().to_json();
            (token, first)
        },
        async |bench, (token, _), polls| {
            poll_and_drop(bench.refresh(token), polls).is_some_and(|answer| answer.is_ok())
        },
        async |bench, (token, first), _, what| {
            assert_eq!(bench.live_refresh_tokens().await.len(), 1, "{what}: one lineage");
            assert_eq!(&bench.refresh(token).await.unwrap().to_json(), first, "{what}");
        },
    )
    .await;
    assert_eq!(polls, 1 + 2 * 6, "client, token, both successors, the count twice: each waits twice");
}

// covers: B18
#[tokio::test]
async fn cancelled_reuse_detection_detects_again() {
    let polls = at_every_await(
        async |bench| {
            let token = bench.tokens().await.refresh_token.unwrap().expose().to_owned();
            let next = bench.refresh(&token).await.unwrap();
            bench.t.clock.advance(Duration::seconds(30));
            (token, next.access_token)
        },
        async |bench, (token, _), polls| poll_and_drop(bench.refresh(token), polls).is_some(),
        async |bench, (token, newest), done, what| {
            let (_, grant) = bench.stored(&newest.hash()).await.unwrap();
            assert!(grant.revoked_at.is_some() || !done, "{what}");
            assert_eq!(bench.is_live(newest).await, grant.revoked_at.is_none(), "{what}");
            assert!(is_invalid_grant(&bench.refresh(token).await), "{what}");
            assert!(!bench.is_live(newest).await, "{what}: the thief's tokens still work");
            assert!(bench.live_refresh_tokens().await.is_empty(), "{what}");
        },
    )
    .await;
    assert_eq!(polls, 1 + 2 * 3, "client, token, revocation: each waits twice");
}

#[tokio::test]
async fn cancelled_token_endpoint_grant_opens_whole_or_not() {
    let password = || Password::new("correct horse");
    let drives: [(&str, usize); 2] = [("client_credentials", 1), ("password", 2)];
    for (grant_type, tokens) in drives {
        let polls = at_every_await(
            async |_| password(),
            async |bench, password, polls| {
                let (client, request) = match grant_type {
                    "password" => (&bench.app, TokenRequest::password("alice", password)),
                    _ => (&bench.machine, TokenRequest::client_credentials()),
                };
                poll_and_drop(bench.t.token_as(client, request.scope("user:read")), polls)
                    .is_some_and(|answer| answer.is_ok())
            },
            async |bench, _, done, what| {
                let client = if grant_type == "password" { &bench.app } else { &bench.machine };
                let which = GrantSelector::Client(client.id.as_str().try_into().unwrap());
                let grants =
                    bench.t.storage.list_grants(&which, bench.t.clock.now(), &GrantPage::first(9)).await.unwrap();
                assert!(grants.len() <= 1 && (!done || grants.len() == 1), "{grant_type} {what}");
                for write in bench.slow.writes() {
                    assert_eq!(write.tokens.len(), tokens, "{grant_type} {what}");
                    let stored = bench.stored(&write.tokens[0].0).await;
                    assert_eq!(stored.is_some(), grants.len() == 1, "{grant_type} {what}: a grant without tokens");
                }
            },
        )
        .await;
        assert_eq!(polls, 1 + 2 * 2, "{grant_type}: client and grant, each waits twice");
    }
}

#[tokio::test]
async fn cancelled_approval_opens_whole_grant_or_none() {
    for (response_type, by_form) in [("code", false), ("token", false), ("code", true), ("token", true)] {
        let polls = at_every_await(
            async |bench| {
                let request = AuthorizationRequest::new(response_type, &bench.app.id)
                    .redirect_uri(&bench.app.redirect_uri)
                    .scope("user:read")
                    .code_challenge_s256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
                let Ok(pending) = bench.t.authorization_request(&request).await else { panic!("the request is valid") };
                Mutex::new(Some(pending))
            },
            async |_, pending, polls| {
                let pending = pending.lock().unwrap().take().unwrap();
                let alice = Subject::new("alice").unwrap();
                let interaction = pending.interaction(Some(&alice.clone().into())).await;
                let Interaction::Consent(consent) = interaction else { panic!("the user is asked") };
                if by_form {
                    let _form_token = consent.form_token("session");
                }
                poll_and_drop(consent.approve(Approval::by(alice)), polls)
                    .is_some_and(|answer| answer.error().is_none())
            },
            async |bench, _, done, what| {
                let which = GrantSelector::Subject(Subject::new("alice").unwrap());
                let grants =
                    bench.t.storage.list_grants(&which, bench.t.clock.now(), &GrantPage::first(9)).await.unwrap();
                let issued: Vec<_> = bench.slow.writes().into_iter().flat_map(|write| write.tokens).collect();
                assert!(grants.len() <= 1 && (!done || grants.len() == 1), "{response_type} {what}");
                for (hash, _) in &issued {
                    let stored = bench.stored(hash).await.is_some();
                    assert_eq!(stored, grants.len() == 1, "{response_type} {what}: a grant without its code or token");
                }
            },
        )
        .await;
        let writes = if by_form { 2 } else { 1 };
        assert_eq!(
            polls,
            1 + 2 * writes,
            "{response_type}: the used form if there is one, and the grant, each waits twice"
        );
    }
}

#[tokio::test]
async fn cancelled_reads_change_nothing() {
    let bench = Bench::new().await;
    let tokens = bench.tokens().await;
    let writes = bench.slow.writes().len();
    let api = Request::get("/api").with_header("authorization", format!("Bearer {}", tokens.access_token.expose()));
    let page = Request::get(format!(
        "/authorize?response_type=code&client_id={}&scope=user:read&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
        bench.app.id
    ));
    for polls in 0..=3 {
        assert_eq!(poll_and_drop(bench.t.server.bearer(&api), polls).is_some_and(|it| it.is_ok()), polls == 3);
        let pending = poll_and_drop(bench.t.server.authorize(&page), polls);
        assert_eq!(matches!(pending, Some(AuthorizationOutcome::Pending(_))), polls == 3);
        if let Some(AuthorizationOutcome::Pending(pending)) = pending {
            let alice = Subject::new("alice").unwrap();
            let form_token = grantor::testing::ask(pending, alice).await.form_token("session");
            for polls in 0..=3 {
                let resumed = poll_and_drop(bench.t.server.resume(&form_token, "session"), polls);
                assert_eq!(resumed.is_some_and(|resumed| resumed.is_ok()), polls == 3);
            }
        }
    }
    assert_eq!(bench.slow.writes().len(), writes);
    assert!(bench.is_live(&tokens.access_token).await);
    assert!(bench.refresh(tokens.refresh_token.unwrap().expose()).await.is_ok());
}
