//! Grants that are opened while others open, look or exchange.

use grantor::record::Grant;
use grantor::storage::{Exchange, GrantSelector};
use std::sync::Arc;

use crate::world::{Store, access, all, beside, explore, grant, refresh, spend, successors};

const FIRST: &str = "the first wins";
const SECOND: &str = "the second wins";

fn outcome(won: [bool; 2]) -> &'static str {
    match won {
        [true, false] => FIRST,
        [false, true] => SECOND,
        _ => panic!("exactly one wins: {won:?}"),
    }
}

/// Opens a grant with two tokens in competition.
fn open(storage: &Store, number: u8, tokens: [u8; 2]) -> shuttle::thread::JoinHandle<bool> {
    beside(storage, move |storage| {
        let grant = grant(number, 100);
        let opened = storage.open(&grant, &[access(tokens[0], &grant, 50), refresh(tokens[1], &grant, 100)]).is_ok();
        if opened {
            assert!(tokens.iter().all(|token| storage.works(*token, 1)), "what is opened is there");
        }
        opened
    })
}

fn belongs(storage: &Store, token: u8, grant: &Arc<Grant>) -> bool {
    storage.find(token).is_some_and(|(_, found)| found.id == grant.id)
}

#[test]
fn of_two_grants_with_crosswise_the_same_tokens_one_is_opened_and_the_other_leaves_nothing() {
    explore(&[FIRST, SECOND], || {
        let storage = Store::default();
        let won: [bool; 2] = all([open(&storage, 1, [10, 11]), open(&storage, 2, [11, 10])]).try_into().unwrap();
        let outcome = outcome(won);
        for (number, won) in [(1, won[0]), (2, won[1])] {
            let grant = grant(number, 100);
            assert_eq!([10, 11].map(|token| belongs(&storage, token, &grant)), [won; 2]);
            assert_eq!(storage.revoke(&GrantSelector::Id(grant.id), 1), u64::from(won));
        }
        assert_eq!(storage.purge_all(1), 3);
        outcome
    });
}

#[test]
fn of_two_grants_that_share_one_token_one_is_opened_and_the_others_tokens_are_free() {
    explore(&[FIRST, SECOND], || {
        let storage = Store::default();
        let won: [bool; 2] = all([open(&storage, 1, [10, 11]), open(&storage, 2, [11, 12])]).try_into().unwrap();
        let outcome = outcome(won);
        assert_eq!([10, 11, 12].map(|token| storage.has(token)), [won[0], true, won[1]]);
        let free = if won[0] { 12 } else { 10 };
        let third = grant(3, 100);
        storage.open(&third, &[access(free, &third, 100)]).unwrap();
        assert!(storage.has(free));
        assert_eq!(storage.purge_all(100), 5);
        outcome
    });
}

#[test]
fn of_two_grants_with_the_same_identifier_one_is_opened_and_the_other_leaves_nothing() {
    explore(&[FIRST, SECOND], || {
        let storage = Store::default();
        let won: [bool; 2] = all([open(&storage, 1, [10, 11]), open(&storage, 1, [12, 13])]).try_into().unwrap();
        let outcome = outcome(won);
        assert_eq!([10, 11, 12, 13].map(|token| storage.has(token)), [won[0], won[0], won[1], won[1]]);
        let another = grant(2, 100);
        let free = if won[0] { [12, 13] } else { [10, 11] };
        storage.open(&another, &free.map(|token| access(token, &another, 100))).unwrap();
        assert_eq!(storage.purge_all(100), 6);
        outcome
    });
}

#[test]
fn who_finds_one_token_of_a_new_grant_finds_all_of_them_and_the_grant_by_its_owner() {
    explore(&["nothing yet", "all"], || {
        let storage = Store::default();
        let look = |tokens: [u8; 3]| {
            beside(&storage, move |storage| {
                let found = tokens.map(|token| storage.has(token));
                assert!(found.is_sorted(), "what is there stays there: {found:?}");
                if found[0] {
                    assert_eq!(storage.list(&GrantSelector::Subject(crate::world::alice()), 1), [grant(1, 100).id]);
                }
                if found[0] { "all" } else { "nothing yet" }
            })
        };
        let looks = [look([10, 11, 10]), look([11, 10, 11])];
        assert!(open(&storage, 1, [10, 11]).join().unwrap());
        all(looks)[0]
    });
}

#[test]
fn of_a_new_grant_and_an_exchange_that_want_the_same_token_one_happens_and_the_other_not_at_all() {
    explore(&[FIRST, SECOND], || {
        let old = grant(2, 100);
        let storage = Store::with(&old, &[refresh(1, &old, 100)]);
        let exchange = beside(&storage, |storage| {
            let old = grant(2, 100);
            match storage.exchange(&spend(1, &old, 1, 1, 200), &successors(11, 12, 1, &old, 200)) {
                Ok(answer) => assert_eq!(answer, Exchange::Done),
                Err(_) => return false,
            }
            storage.works(11, 1) && storage.works(12, 1)
        });
        let won = [open(&storage, 1, [10, 11]).join().unwrap(), exchange.join().unwrap()];
        let outcome = outcome(won);
        assert_eq!([10, 11, 12].map(|token| storage.has(token)), [won[0], true, won[1]]);
        let (token, found) = storage.find(1).unwrap();
        assert_eq!(token.spent.is_some(), won[1]);
        assert_eq!(found.expires_at == old.expires_at, won[0], "nothing was moved if nothing was done");
        assert_eq!(storage.purge_all(200), if won[0] { 5 } else { 4 });
        outcome
    });
}
