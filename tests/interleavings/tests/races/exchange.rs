//! Exchanges beside each other and beside who looks.

use grantor::record::AttemptId;
use grantor::storage::{Exchange, Spend};

use crate::world::{Store, access, all, at, beside, explore, grant, hash, refresh, spend, successors};

const FIRST: &str = "the first wins";
const SECOND: &str = "the second wins";
const THIRD: &str = "the third wins";
const BY_PLACE: [&str; 3] = [FIRST, SECOND, THIRD];

/// What rival number `rival` gets, if it wins.
fn prize(rival: u8) -> [u8; 2] {
    [10 + 2 * rival, 11 + 2 * rival]
}

/// Exchanges the token 1 in competition. Whoever has an answer finds what the winner got, and nothing else.
fn compete(storage: &Store, rival: u8, rivals: u8) -> Exchange {
    let grant = grant(1, 100);
    let [access, refresh] = prize(rival);
    let answer =
        storage.exchange(&spend(1, &grant, rival, 1, 200), &successors(access, refresh, 1, &grant, 200)).unwrap();
    let (token, _) = storage.find(1).unwrap();
    let by = token.spent.as_ref().expect("who has an answer finds it spent").attempt;
    for other in 0..rivals {
        let won = by == AttemptId::from_bytes([other; 16]);
        assert_eq!(prize(other).map(|number| storage.has(number)), [won; 2], "{other}, as {rival} sees it");
        assert_eq!(answer == Exchange::Done && other == rival, won && other == rival, "{other} was told {answer:?}");
    }
    answer
}

fn race_of(rivals: u8) -> &'static str {
    let grant = grant(1, 100);
    let storage = Store::with(&grant, &[refresh(1, &grant, 100)]);
    let answers = all((0..rivals).map(|rival| beside(&storage, move |storage| compete(storage, rival, rivals))));
    let done: Vec<_> = (0..rivals).filter(|rival| answers[usize::from(*rival)] == Exchange::Done).collect();
    assert_eq!(done.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer, Exchange::Done | Exchange::AlreadySpent)), "{answers:?}");
    // Nobody's second thoughts: it is still as everybody saw it.
    for rival in 0..rivals {
        assert_eq!(prize(rival).map(|number| storage.has(number)), [rival == done[0]; 2]);
    }
    BY_PLACE[usize::from(done[0])]
}

#[test]
fn of_two_that_exchange_a_token_at_once_one_wins_and_both_see_what_came_of_it() {
    explore(&[FIRST, SECOND], || race_of(2));
}

#[test]
fn of_three_that_exchange_a_token_at_once_one_wins_and_all_see_what_came_of_it() {
    explore(&[FIRST, SECOND, THIRD], || race_of(3));
}

#[test]
fn an_attempt_that_is_made_twice_at_once_is_done_once_and_says_so_twice() {
    explore(&["done"], || {
        let grant = grant(1, 100);
        let storage = Store::with(&grant, &[refresh(1, &grant, 100)]);
        let attempt = || {
            beside(&storage, |storage| {
                let grant = crate::world::grant(1, 100);
                let answer = storage.exchange(&spend(1, &grant, 7, 1, 200), &successors(10, 11, 1, &grant, 200));
                assert_eq!(answer.unwrap(), Exchange::Done);
                assert!(storage.has(10) && storage.has(11));
            })
        };
        all([attempt(), attempt()]);
        assert_eq!(storage.purge_all(200), 4, "three tokens and their grant, none of them twice");
        "done"
    });
}

#[test]
fn refreshes_without_rotation_are_all_done_and_the_latest_times_stay() {
    explore(&["done"], || {
        let grant = grant(1, 100);
        let storage = Store::with(&grant, &[refresh(1, &grant, 900)]);
        let use_it = |number: u8, now: i64, end: i64| {
            beside(&storage, move |storage| {
                let grant = crate::world::grant(1, 100);
                let spend = Spend { consume: false, seed: None, ..spend(1, &grant, number, now, end) };
                assert_eq!(storage.exchange(&spend, &[access(number, &grant, end)]).unwrap(), Exchange::Done);
                let (_, grant) = storage.find(number).unwrap();
                assert!(grant.last_used_at >= at(now) && grant.expires_at >= at(end), "{grant:?}");
            })
        };
        all([use_it(10, 3, 500), use_it(11, 5, 300), use_it(13, 4, 400)]);
        let (_, grant) = storage.find(1).unwrap();
        assert_eq!((grant.last_used_at, grant.expires_at), (at(5), at(500)));
        assert_eq!(storage.purge_all(500), 5);
        "done"
    });
}

#[test]
fn who_looks_again_and_again_never_sees_times_go_back_or_a_token_unspent_again() {
    explore(&["old, then new", "new", "old"], || {
        let grant = grant(1, 100);
        let storage = Store::with(&grant, &[refresh(1, &grant, 100)]);
        let chain = beside(&storage, |storage| {
            let grant = crate::world::grant(1, 100);
            for (old, now) in [(1, 5), (2, 3), (3, 9)] {
                let new = [refresh(old + 1, &grant, 100)];
                let done = storage.exchange(&spend(old, &grant, old, now, 100 + now), &new).unwrap();
                assert_eq!(done, Exchange::Done);
                assert!(storage.find(old).unwrap().1.last_used_at >= at(now), "its own write is seen");
            }
        });
        let watch = |numbers: [u8; 4]| {
            beside(&storage, move |storage| {
                let found = numbers.map(|number| storage.find(number));
                let times: Vec<_> =
                    found.iter().flatten().map(|(_, grant)| (grant.last_used_at, grant.expires_at)).collect();
                assert!(times.is_sorted_by(|one, next| one.0 <= next.0 && one.1 <= next.1), "{times:?}");
                let spent: Vec<_> = found.iter().flatten().filter(|(token, _)| token.hash == hash(1)).collect();
                assert!(spent.is_sorted_by_key(|(token, _)| token.spent.is_some()), "spent once, spent for good");
                match times[..] {
                    [first, .., last] if first < last => "old, then new",
                    [first, ..] if first.0 == at(0) => "old",
                    _ => "new",
                }
            })
        };
        let seen = all([watch([1, 1, 1, 1]), watch([1, 2, 3, 1])]);
        chain.join().unwrap();
        let (_, grant) = storage.find(4).unwrap();
        assert_eq!((grant.last_used_at, grant.expires_at), (at(9), at(109)));
        seen[0]
    });
}
