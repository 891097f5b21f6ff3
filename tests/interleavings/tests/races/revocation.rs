//! Revocation beside whoever writes at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use grantor::record::ClientId;
use grantor::storage::{Exchange, GrantSelector};

use crate::world::{Store, access, alice, all, beside, explore, grant, refresh, spend, successors};

const EXCHANGED: &str = "exchanged, then revoked";
const REVOKED: &str = "revoked at once";

fn app() -> ClientId {
    ClientId::new("app").unwrap()
}

/// All ways to revoke the grant 1.
fn selectors() -> [GrantSelector; 5] {
    let id = grant(1, 100).id;
    [
        GrantSelector::Id(id),
        GrantSelector::SubjectAndId(alice(), id),
        // By owner from here on.
        GrantSelector::Subject(alice()),
        GrantSelector::Client(app()),
        GrantSelector::SubjectAndClient(alice(), app()),
    ]
}

/// Refreshes twice; how often that was done. Whatever is answered, nothing is half there.
fn refresh_twice(storage: &Store) -> usize {
    let grant = grant(1, 100);
    let mut done = 0;
    for (old, new) in [(1, [10, 11]), (11, [12, 13])] {
        let answer = storage.exchange(&spend(old, &grant, old, 1, 200), &successors(new[0], new[1], old, &grant, 200));
        let is_done = answer.unwrap() == Exchange::Done;
        done += usize::from(is_done);
        assert_eq!(new.map(|number| storage.has(number)), [is_done; 2]);
    }
    done
}

fn exchange_beside(revoke: impl FnOnce(&Store) + Send + 'static) -> &'static str {
    let grant = grant(1, 100);
    let storage = Store::with(&grant, &[refresh(1, &grant, 100), access(2, &grant, 100)]);
    let exchanges = beside(&storage, refresh_twice);
    let revocation = beside(&storage, |storage| {
        revoke(storage);
        let working: Vec<u8> = [1, 2, 10, 11, 12, 13].into_iter().filter(|number| storage.works(*number, 2)).collect();
        assert!(working.is_empty(), "after the revocation {working:?} work");
    });
    let watch = beside(&storage, |storage| {
        let works = [1, 2, 1].map(|number| storage.works(number, 2));
        assert!(works.is_sorted_by_key(|works| !works), "revoked for good: {works:?}");
    });
    let done = exchanges.join().unwrap();
    all([revocation, watch]);
    assert!([1, 2, 10, 11, 12, 13].iter().all(|number| !storage.works(*number, 2)), "and for good");
    assert_eq!(storage.purge_all(2), 3 + 2 * done);
    if done == 0 { REVOKED } else { EXCHANGED }
}

#[test]
fn after_a_revocation_no_token_works_not_even_one_that_was_being_exchanged() {
    for which in selectors() {
        explore(&[EXCHANGED, REVOKED], move || {
            let which = which.clone();
            exchange_beside(move |storage| assert_eq!(storage.revoke(&which, 2), 1))
        });
    }
}

#[test]
fn after_a_client_was_removed_no_token_of_it_works_not_even_one_that_was_being_exchanged() {
    explore(&[EXCHANGED, REVOKED], || exchange_beside(|storage| storage.remove_client(2)));
}

#[test]
fn a_grant_is_revoked_once_and_the_first_time_stays() {
    explore(&["the first", "the second"], || {
        let grant = grant(1, 100);
        let storage = Store::with(&grant, &[access(2, &grant, 100)]);
        let revoke = |which: GrantSelector, now| beside(&storage, move |storage| storage.revoke(&which, now));
        let revoked = all([revoke(GrantSelector::Id(grant.id), 2), revoke(GrantSelector::Subject(alice()), 3)]);
        let (_, found) = storage.find(2).unwrap();
        let first = if revoked == [1, 0] { 2 } else { 3 };
        assert_eq!(revoked.iter().sum::<u64>(), 1);
        assert_eq!(found.revoked_at, Some(crate::world::at(first)));
        assert_eq!(storage.purge_all(3), 2);
        if first == 2 { "the first" } else { "the second" }
    });
}

#[test]
fn a_grant_that_was_open_before_its_owners_are_revoked_is_dead_after() {
    for which in selectors().into_iter().skip(2) {
        explore(&["before", "beside, and dead", "beside or after, and alive"], move || {
            let storage = Store::default();
            let is_open = Arc::new(AtomicBool::new(false));
            let opening = beside(&storage, {
                let is_open = Arc::clone(&is_open);
                move |storage| {
                    let grant = grant(1, 100);
                    storage.open(&grant, &[access(10, &grant, 100), refresh(11, &grant, 100)]).unwrap();
                    is_open.store(true, SeqCst);
                }
            });
            let which = which.clone();
            let (was_open, revoked) = beside(&storage, move |storage| {
                let was_open = is_open.load(SeqCst);
                let revoked = storage.revoke(&which, 2);
                if was_open || revoked == 1 {
                    assert!(!storage.works(10, 2) && !storage.works(11, 2));
                }
                (was_open, revoked)
            })
            .join()
            .unwrap();
            opening.join().unwrap();
            assert_eq!([10, 11].map(|number| storage.works(number, 2)), [revoked == 0; 2], "all or none");
            assert!(revoked == 1 || !was_open);
            match (was_open, revoked) {
                (true, _) => "before",
                (false, 1) => "beside, and dead",
                _ => "beside or after, and alive",
            }
        });
    }
}

/// The list of an owner comes in parts, two from each shard. What joins it or goes from it meanwhile takes no other along.
#[test]
fn no_grant_of_an_owner_is_passed_over_while_others_come_and_go() {
    explore(&["revoked"], || {
        let storage = Store::default();
        for number in 1..=8 {
            // Grant 4 has ended and is purged meanwhile.
            let grant = grant(number, if number == 4 { 1 } else { 100 });
            storage.open(&grant, &[access(number, &grant, 100)]).unwrap();
        }
        let others = [
            beside(&storage, |storage| {
                let grant = grant(20, 100);
                storage.open(&grant, &[access(20, &grant, 100)]).unwrap();
            }),
            beside(&storage, |storage| assert_eq!(storage.purge(1, 9), 2)),
            beside(&storage, |storage| {
                let listed = storage.list(&GrantSelector::Subject(alice()), 1);
                assert!(listed.is_sorted_by(|one, next| one > next), "in order, none twice: {listed:?}");
            }),
        ];
        storage.revoke(&GrantSelector::Subject(alice()), 2);
        assert!((1..=8).all(|number| !storage.works(number, 0)));
        all(others);
        "revoked"
    });
}

#[test]
fn a_revoked_access_token_stays_so_whatever_its_grant_does() {
    explore(&["revoked"], || {
        let grant = grant(1, 100);
        let storage = Store::with(&grant, &[refresh(1, &grant, 100), access(2, &grant, 100)]);
        let others = [
            beside(&storage, |storage| assert_eq!(refresh_twice(storage), 2)),
            beside(&storage, |storage| {
                let works = [2, 2, 2].map(|number| storage.works(number, 0));
                assert!(works.is_sorted_by_key(|works| !works), "{works:?}");
            }),
        ];
        storage.revoke_access(2, 2);
        assert!(!storage.works(2, 0) && storage.works(1, 0), "this one alone");
        all(others);
        assert!(!storage.works(2, 0) && storage.works(12, 0));
        "revoked"
    });
}
