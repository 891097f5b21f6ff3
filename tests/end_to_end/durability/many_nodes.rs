//! Several servers on one PostgreSQL, and clients that race for tokens across all of them.
//!
//! Sixteen tables play in parallel. A table is a group of four clients with separate grants. After each round, all
//! clients share one table. A token is contested if requests about it are in flight at several nodes at the same time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use grantor::storage::GrantSelector;
use grantor::{ClientId, GrantId, Storage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::audit::Audit;
use crate::caller::{Answer, CLIENT, Caller, Held, Pair};
use crate::place::Place;
use crate::{say, seed, seeds, sized, soon};
use end_to_end::example::Example;
use end_to_end::postgres::Postgres;

const TABLES: usize = 16;
const SEATS: usize = 4;
/// How often a grant is refreshed, each time by all clients of its table.
const REFRESHES: usize = 2;

// covers: B16, B18, B20, B23
#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_redeem_once_and_respect_revocation() {
    let Some(database) = Postgres::get() else { return };
    let seed = seed();
    say(&format!("many nodes: seed {seed}"));
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::postgres(database).await;
    let nodes: Vec<Example> = (0..sized(2, 3)).map(|_| place.serve()).collect();
    let (opened, begun) = (place.open().await, Instant::now());
    let hall = Arc::new(Hall {
        nodes: nodes.iter().map(|node| node.base.clone()).collect(),
        storage: opened.storage(),
        figures: Figures::default(),
    });
    let callers: Vec<Caller> = (0..TABLES * SEATS).map(|_| Caller::new()).collect();
    let everybody = Table::new(&hall, &callers);
    let mut grants = Grants::default();
    for _ in 0..sized(1, 12) {
        let mut playing = JoinSet::new();
        for seats in callers.chunks(SEATS) {
            let random = StdRng::seed_from_u64(random.random());
            playing.spawn(Table::new(&hall, seats).play(sized(3, 12), random));
        }
        while let Some(played) = soon("a table", playing.join_next()).await {
            grants.extend(played.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic())));
        }
        let random = StdRng::seed_from_u64(random.random());
        grants.extend(soon("everybody", Arc::clone(&everybody).play(1, random)).await);
    }
    Audit::of(&opened).await.check_lineages(&grants.all, &grants.ended);
    soon("the last race", everybody.race_against_the_end_of_all(&grants.survivors)).await;
    let audit = Audit::of(&opened).await;
    audit.check_lineages(&grants.all, &grants.all);

    let contested = hall.figures.contested();
    assert!(contested >= sized(200, 10_000), "only {contested} contested tokens");
    say(&format!(
        "many nodes: {} nodes, {} clients, {contested} contested tokens of {} grants, {} rows; {}; {:.1} s",
        nodes.len(),
        callers.len(),
        grants.all.len(),
        audit.len(),
        hall.figures,
        begun.elapsed().as_secs_f32(),
    ));
}

/// The parts that all tables share.
struct Hall {
    nodes: Vec<String>,
    /// The host app, which opens grants, and revokes grants without a token.
    storage: Arc<dyn Storage>,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    codes: AtomicUsize,
    access_tokens: AtomicUsize,
    refreshes: AtomicUsize,
    revocations: AtomicUsize,
    refreshed_in_time: AtomicUsize,
    redeemed_in_time: AtomicUsize,
}

impl Figures {
    fn contested(&self) -> usize {
        let races = [&self.codes, &self.access_tokens, &self.refreshes, &self.revocations];
        races.iter().map(|races| races.load(Ordering::SeqCst)).sum()
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { codes, access_tokens, refreshes, revocations, refreshed_in_time, redeemed_in_time } = self;
        write!(
            f,
            "raced for {codes:?} codes ({redeemed_in_time:?} redeemed), {refreshes:?} refreshes, {access_tokens:?} revoked \
             access tokens, {revocations:?} refreshes against revocation ({refreshed_in_time:?} of them in time)"
        )
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

/// All grants that were opened, the grants that ended, and the last tokens of the live grants.
#[derive(Default)]
struct Grants {
    all: BTreeSet<GrantId>,
    ended: BTreeSet<GrantId>,
    survivors: Vec<Pair>,
}

impl Grants {
    fn extend(&mut self, other: Self) {
        self.all.extend(other.all);
        self.ended.extend(other.ended);
        self.survivors.extend(other.survivors);
    }
}

/// Clients that use the same tokens.
struct Table {
    hall: Arc<Hall>,
    callers: Vec<Caller>,
}

/// How a grant is revoked.
#[derive(Debug, Clone)]
enum Revocation {
    /// A client revokes the grant with one of its tokens.
    Token(Held),
    /// The host revokes the grant.
    Grants(GrantSelector),
}

impl Table {
    fn new(hall: &Arc<Hall>, callers: &[Caller]) -> Arc<Self> {
        Arc::new(Self { hall: Arc::clone(hall), callers: callers.to_vec() })
    }

    async fn play(self: Arc<Self>, games: usize, mut random: StdRng) -> Grants {
        let mut grants = Grants::default();
        for _ in 0..games {
            for is_revoked in [false, true] {
                let code = self.open(&mut grants, &mut random).await;
                self.race_for_a_code(&code, is_revoked).await;
                grants.ended.insert(code.grant);
            }
            let code = self.open(&mut grants, &mut random).await;
            let mut pairs = vec![self.callers[0].present(self.node(0), &code).await.unwrap().pair(code.grant)];
            self.race_for_an_access_token(&pairs[0]).await;
            for _ in 0..REFRESHES {
                pairs.push(self.race_to_refresh(pairs.last().unwrap()).await);
            }
            // Some grants stay, so their lineages can be checked afterwards.
            if random.random_ratio(3, 4) {
                self.race_against_revocation(&pairs, &mut random).await;
                grants.ended.insert(code.grant);
            } else {
                grants.survivors.extend(pairs.pop());
            }
        }
        grants
    }

    async fn open(&self, grants: &mut Grants, random: &mut StdRng) -> Held {
        let code = seeds::code(&*self.hall.storage, random).await;
        grants.all.insert(code.grant);
        code
    }

    fn node(&self, number: usize) -> &str {
        &self.hall.nodes[number % self.hall.nodes.len()]
    }

    /// Lets all clients present one token at once, at all nodes.
    fn all_present(self: &Arc<Self>, token: &Held) -> JoinSet<Answer> {
        let mut racers = JoinSet::new();
        for seat in 0..self.callers.len() {
            let (table, token) = (Arc::clone(self), token.clone());
            racers.spawn(async move { table.callers[seat].present(table.node(seat), &token).await.unwrap() });
        }
        racers
    }

    /// At most one client redeems the code. The other clients prove that they hold the code too, so its grant ends. If
    /// the host revokes the grant meanwhile, possibly no client succeeds.
    async fn race_for_a_code(self: &Arc<Self>, code: &Held, is_revoked: bool) {
        let mut racers = self.all_present(code);
        if is_revoked {
            let subject = GrantSelector::Subject(seeds::subject_of(code.grant));
            self.hall.storage.revoke_grants(&subject, seeds::now()).await.unwrap();
        }
        let mut pairs = Vec::new();
        while let Some(answer) = racers.join_next().await {
            match answer.unwrap() {
                answer if answer.status == 200 => pairs.push(answer.pair(code.grant)),
                answer => assert!(answer.is_invalid_grant(), "{answer:?}"),
            }
        }
        // Without a revocation, only the first redemption can stop the others.
        assert!(pairs.len() <= 1 && (is_revoked || pairs.len() == 1), "redeemed {} times: {code:?}", pairs.len());
        for pair in &pairs {
            self.must_be_dead(&[&pair.access, &pair.refresh]).await;
            count(&self.hall.figures.redeemed_in_time);
        }
        // A purge may have deleted the grant in the meantime.
        let found = self.hall.storage.find(&code.hash()).await.unwrap();
        assert!(
            found.is_none_or(|found| found.grant.revoked_at.is_some()),
            "{code:?} was replayed, but its grant lives"
        );
        count(&self.hall.figures.codes);
    }

    /// One client revokes an access token while other clients use it. Afterwards, every node refuses only this token.
    async fn race_for_an_access_token(self: &Arc<Self>, pair: &Pair) {
        let mut racers = JoinSet::new();
        for seat in 1..self.callers.len() {
            let (table, token) = (Arc::clone(self), pair.access.clone());
            racers.spawn(async move { table.callers[seat].me(table.node(seat), &token).await });
        }
        let revoked = self.callers[0].revoke(self.node(0), &pair.access).await;
        assert_eq!(revoked.status, 200, "{revoked:?}");
        self.must_be_dead(&[&pair.access]).await;
        while let Some(status) = racers.join_next().await {
            let status = status.unwrap();
            assert!(matches!(status, 200 | 401), "{status}");
        }
        self.must_be_alive(&pair.refresh).await;
        count(&self.hall.figures.access_tokens);
    }

    /// All clients refresh the same token at once. All get the same successors, which work at every node.
    async fn race_to_refresh(self: &Arc<Self>, pair: &Pair) -> Pair {
        let answers = self.all_present(&pair.refresh).join_all().await;
        let pairs: Vec<Pair> = answers.iter().map(|answer| answer.pair(pair.refresh.grant)).collect();
        assert!(pairs.iter().all(|other| *other == pairs[0]), "more than one lineage: {pairs:?}");
        assert!(pairs[0].refresh != pair.refresh && pairs[0].access != pair.access);
        self.must_be_alive(&pairs[0].access).await;
        self.must_be_alive(&pairs[0].refresh).await;
        count(&self.hall.figures.refreshes);
        pairs[0].clone()
    }

    /// Some clients revoke the grant while other clients refresh. After a revocation has returned, every node refuses
    /// all tokens of the grant.
    async fn race_against_revocation(self: &Arc<Self>, pairs: &[Pair], random: &mut StdRng) {
        let (pair, known) = (pairs.last().unwrap(), Arc::new(pairs.to_vec()));
        let mut racers: JoinSet<Option<Answer>> = JoinSet::new();
        let revokers = random.random_range(1..=2);
        let first = random.random_range(0..=self.callers.len() - revokers);
        for seat in 0..self.callers.len() {
            let (table, token, known) = (Arc::clone(self), pair.refresh.clone(), Arc::clone(&known));
            if (first..first + revokers).contains(&seat) {
                let how = Revocation::any(pairs, random);
                racers.spawn(async move {
                    table.revoke(seat, how).await;
                    let tokens: Vec<&Held> = known.iter().flat_map(|pair| [&pair.access, &pair.refresh]).collect();
                    table.must_be_dead(&tokens).await;
                    None
                });
            } else {
                racers.spawn(async move { Some(table.callers[seat].present(table.node(seat), &token).await.unwrap()) });
            }
        }
        let mut successors: Option<Pair> = None;
        for answer in racers.join_all().await.into_iter().flatten() {
            if answer.status == 200 {
                let own = answer.pair(pair.refresh.grant);
                assert_eq!(successors.get_or_insert_with(|| own.clone()), &own, "more than one lineage");
            } else {
                assert!(answer.is_invalid_grant(), "{answer:?}");
            }
        }
        let last = successors.as_ref().unwrap_or(pair);
        self.must_be_dead(&[&last.access, &last.refresh]).await;
        for answer in self.all_present(&last.refresh).join_all().await {
            assert!(answer.is_invalid_grant(), "refreshed after the revocation: {answer:?}");
        }
        if successors.is_some() {
            count(&self.hall.figures.refreshed_in_time);
        }
        count(&self.hall.figures.revocations);
    }

    async fn revoke(&self, seat: usize, how: Revocation) {
        match how {
            Revocation::Token(token) => {
                let revoked = self.callers[seat].revoke(self.node(seat), &token).await;
                assert_eq!(revoked.status, 200, "{revoked:?}");
            }
            Revocation::Grants(selector) => {
                self.hall.storage.revoke_grants(&selector, seeds::now()).await.unwrap();
            }
        }
    }

    /// All grants of the client are revoked at once while each grant is being refreshed.
    async fn race_against_the_end_of_all(self: &Arc<Self>, survivors: &[Pair]) {
        assert!(!survivors.is_empty());
        let mut racers = JoinSet::new();
        for (number, pair) in survivors.iter().cloned().enumerate() {
            let (table, seat) = (Arc::clone(self), number % self.callers.len());
            racers.spawn(async move {
                let answer = table.callers[seat].present(table.node(seat), &pair.refresh).await.unwrap();
                (pair, answer)
            });
        }
        let all = GrantSelector::Client(ClientId::new(CLIENT).unwrap());
        self.hall.storage.revoke_grants(&all, seeds::now()).await.unwrap();
        for (pair, answer) in racers.join_all().await {
            self.must_be_dead(&[&pair.access, &pair.refresh]).await;
            if answer.status == 200 {
                let successors = answer.pair(pair.refresh.grant);
                self.must_be_dead(&[&successors.access, &successors.refresh]).await;
                count(&self.hall.figures.refreshed_in_time);
            } else {
                assert!(answer.is_invalid_grant(), "{answer:?}");
            }
            count(&self.hall.figures.revocations);
        }
    }

    /// Asserts that every node refuses the tokens.
    async fn must_be_dead(&self, tokens: &[&Held]) {
        for token in tokens {
            for (node, caller) in self.hall.nodes.iter().zip(self.callers.iter().cycle()) {
                assert!(!caller.is_alive(node, token).await, "{node} still accepts {token:?}");
            }
        }
    }

    /// Asserts that every node accepts the token.
    async fn must_be_alive(&self, token: &Held) {
        for (node, caller) in self.hall.nodes.iter().zip(self.callers.iter().cycle()) {
            assert!(caller.is_alive(node, token).await, "{node} refuses {token:?}");
        }
    }
}

impl Revocation {
    /// Ends the grant of these tokens in one of the possible ways.
    fn any(pairs: &[Pair], random: &mut StdRng) -> Self {
        let id = pairs[0].refresh.grant;
        let subject = seeds::subject_of(id);
        match random.random_range(0..6) {
            0 => Self::Token(pairs.last().unwrap().refresh.clone()),
            // A client that lost a response has only an old token.
            1 => Self::Token(pairs[0].refresh.clone()),
            2 => Self::Grants(GrantSelector::Id(id)),
            3 => Self::Grants(GrantSelector::SubjectAndId(subject, id)),
            4 => Self::Grants(GrantSelector::Subject(subject)),
            _ => Self::Grants(GrantSelector::SubjectAndClient(subject, ClientId::new(CLIENT).unwrap())),
        }
    }
}
