//! Any four calls at once, drawn by chance. What they answer and leave behind is what they would have answered and left behind one
//! after the other, in an order that nobody who waited for an answer can tell from the real one: they are linearizable. The
//! same storage, used by one thread, says what that would have been.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use grantor::record::{ClientId, Grant};
use grantor::storage::GrantSelector;
use shuttle::rand::{Rng, thread_rng};

use crate::world::{Store, access, alice, all, beside, explore, grant, hash, refresh, spend, successors};

/// Every token that there can be.
const TOKENS: std::ops::Range<u8> = 1..22;

/// How many calls meet.
const CALLS: usize = 4;

#[derive(Debug, Clone)]
enum Call {
    Open { number: u8, tokens: [u8; 2] },
    Find(u8),
    Exchange { token: u8, attempt: u8, new: [u8; 2], now: i64 },
    Revoke(GrantSelector),
    RevokeAccess(u8),
    List(GrantSelector),
    Purge { limit: usize },
}

impl Call {
    fn any(attempt: u8) -> Self {
        let mut random = thread_rng();
        let mut one_of = |numbers: &[u8]| numbers[random.gen_range(0..numbers.len())];
        match one_of(&[0, 1, 2, 2, 2, 3, 4, 5, 6]) {
            0 => Self::Open { number: one_of(&[1, 2, 4, 5]), tokens: [one_of(&[10, 11, 20]), one_of(&[12, 21])] },
            1 => Self::Find(one_of(&[1, 2, 3, 6, 10, 12])),
            2 => {
                let (token, now) = (one_of(&[1, 1, 2]), i64::from(one_of(&[6, 7, 8])));
                Self::Exchange { token, attempt, new: [one_of(&[10, 14, 16]), one_of(&[12, 15, 17])], now }
            }
            3 => Self::Revoke(selector(one_of(&[0, 1, 2, 3]))),
            4 => Self::RevokeAccess(one_of(&[3, 10])),
            5 => Self::List(selector(one_of(&[0, 1, 2, 3]))),
            _ => Self::Purge { limit: usize::from(one_of(&[1, 9])) },
        }
    }

    const fn stores_tokens(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Exchange { .. })
    }

    /// What is answered, errors included.
    fn make(&self, storage: &Store) -> String {
        let first = grant(1, 100);
        match self {
            Self::Open { number, tokens } => {
                let grant = grant(*number, 100);
                let tokens = [access(tokens[0], &grant, 50), refresh(tokens[1], &grant, 100)];
                format!("{:?}", storage.open(&grant, &tokens).is_ok())
            }
            Self::Find(number) => format!("{:?}", storage.find(*number)),
            Self::Exchange { token, attempt, new, now } => {
                let spend = spend(*token, &first, *attempt, *now, 100 + now);
                format!("{:?}", storage.exchange(&spend, &successors(new[0], new[1], *token, &first, 100)).ok())
            }
            Self::Revoke(which) => storage.revoke(which, 8).to_string(),
            Self::RevokeAccess(number) => format!("{:?}", storage.revoke_access(*number, 8)),
            Self::List(which) => format!("{:?}", storage.list(which, 8)),
            Self::Purge { limit } => storage.purge(5, *limit).to_string(),
        }
    }
}

/// Owners have one grant that lives when it begins, and get no other: to revoke or list several is not one step.
fn selector(number: u8) -> GrantSelector {
    match number {
        0 => GrantSelector::Id(grant(1, 100).id),
        1 => GrantSelector::SubjectAndId(alice(), grant(4, 100).id),
        2 => GrantSelector::Subject(alice()),
        _ => GrantSelector::Client(ClientId::new("app").unwrap()),
    }
}

/// A living grant with two refresh tokens and an access token, and one that can be purged.
fn begin() -> Store {
    let living = grant(1, 100);
    let storage = Store::with(&living, &[refresh(1, &living, 100), refresh(2, &living, 100), access(3, &living, 50)]);
    let dead = Grant { subject: None, client_id: ClientId::new("other").unwrap(), ..(*grant(2, 5)).clone() };
    let dead = Arc::new(dead);
    storage.open(&dead, &[access(6, &dead, 5), refresh(7, &dead, 5)]).unwrap();
    storage
}

/// All that is stored, as one can see it, and then how many rows a purge at the end of all times finds.
fn end(storage: &Store) -> String {
    let found: Vec<_> = TOKENS.map(|number| storage.find(number)).collect();
    format!("{found:?} {}", storage.purge_all(10_000))
}

/// A call with its answer, and when it began and returned.
struct Made {
    call: Call,
    began: usize,
    returned: usize,
    answer: String,
}

/// All orders in which no call comes before one that had returned when it began.
fn orders(made: &[Made]) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in made {
        orders = orders.iter().flat_map(|order| next(made, order)).collect();
    }
    orders
}

fn next<'a>(made: &'a [Made], order: &'a [usize]) -> impl Iterator<Item = Vec<usize>> + 'a {
    let is_left = |place: &usize| !order.contains(place);
    let can_be_next = move |place: &usize| {
        let mut left = (0..made.len()).filter(is_left);
        is_left(place) && left.all(|other| made[other].returned > made[*place].began)
    };
    (0..made.len()).filter(can_be_next).map(move |place| [order, &[place]].concat())
}

/// Whether one after the other, in this order, they answer and leave behind the same.
///
/// With one exception: of three that want tokens with the same hashes, one may lose to another that loses itself to the third,
/// although there would have been room for two. Nothing is written by who loses, and of hashes that are random no two are the same.
fn explains(order: &[usize], made: &[Made], end_of_it: &str) -> bool {
    let storage = begin();
    let has_lost = |made: &&Made| ["false", "None"].contains(&&*made.answer) && made.call.stores_tokens();
    let may_lose_to_a_loser = made.iter().filter(has_lost).count() > 1;
    let mut made = order.iter().map(|place| &made[*place]);
    made.all(|made| (may_lose_to_a_loser && has_lost(&made)) || made.call.make(&storage) == made.answer)
        && end(&storage) == end_of_it
}

/// No two purges, which may leave to each other what is due; and no grant of Alice's but the first, if she is revoked or
/// listed as an owner.
fn is_one_step_each(calls: &[Call]) -> bool {
    let by_owner = |call: &Call| match call {
        Call::Revoke(which) | Call::List(which) => {
            matches!(which, GrantSelector::Subject(_) | GrantSelector::Client(_))
        }
        _ => false,
    };
    let opens = calls.iter().any(|call| matches!(call, Call::Open { .. }));
    calls.iter().filter(|call| matches!(call, Call::Purge { .. })).count() <= 1
        && !(opens && calls.iter().any(by_owner))
}

fn draw() -> Vec<Call> {
    loop {
        let calls: Vec<Call> = (0..CALLS).map(|place| Call::any(place as u8)).collect();
        if is_one_step_each(&calls) {
            return calls;
        }
    }
}

#[test]
fn any_four_calls_at_once_are_as_if_one_came_after_the_other() {
    explore(&["explained"], || {
        let (storage, clock) = (begin(), Arc::new(AtomicUsize::new(0)));
        let made: Vec<Made> = all(draw().into_iter().map(|call| {
            let clock = Arc::clone(&clock);
            beside(&storage, move |storage| {
                let began = clock.fetch_add(1, SeqCst);
                let answer = call.make(storage);
                Made { call, began, returned: clock.fetch_add(1, SeqCst), answer }
            })
        }));
        let end = end(&storage);
        let is_explained = orders(&made).iter().any(|order| explains(order, &made, &end));
        let calls =
            || made.iter().map(|made| format!("{:?} {}-{}: {}", made.call, made.began, made.returned, made.answer));
        assert!(is_explained, "no order explains\n{}\n{end}", calls().collect::<Vec<_>>().join("\n"));
        "explained"
    });
}

/// Without a look at the answers, so that nothing but the locks slows them down: more of them, and all kinds.
#[test]
fn no_calls_wait_for_each_other_for_ever() {
    explore(&["all returned"], || {
        let storage = begin();
        let threads = (0..CALLS as u8).map(|place| {
            let calls: [Call; 3] = std::array::from_fn(|_| Call::any(place));
            beside(&storage, move |storage| calls.iter().for_each(|call| drop(call.make(storage))))
        });
        all(threads);
        assert!(storage.purge_all(10_000) > 0 && !TOKENS.into_iter().any(|number| storage.has(number)));
        let fresh = grant(9, 100);
        storage
            .open(&fresh, &TOKENS.map(|number| access(number, &fresh, 100)).collect::<Vec<_>>())
            .expect("all are free");
        assert_eq!(storage.find(1).map(|(token, _)| token.hash), Some(hash(1)));
        "all returned"
    });
}
