//! The purge beside everything else. It takes two rows of a dead grant at a time here.

use grantor::record::{Grant, StoredToken};
use grantor::storage::{Exchange, GrantSelector, Spend};

use crate::world::{Store, access, alice, all, beside, explore, grant, refresh, spend, successors};

/// A grant that is dead at 10 with three tokens, and one that lives, with evidence of a spent token. Each access token is
/// in the list of what is due by itself, a refresh token is not.
fn dead_and_alive(token: fn(u8, &Grant, i64) -> StoredToken) -> Store {
    let dead = grant(1, 10);
    let storage = Store::with(&dead, &[2, 3, 4].map(|number| token(number, &dead, 10)));
    let alive = grant(2, 100);
    storage.open(&alive, &[refresh(5, &alive, 100)]).unwrap();
    let done = storage.exchange(&spend(5, &alive, 1, 1, 100), &[refresh(6, &alive, 100)]).unwrap();
    assert_eq!(done, Exchange::Done);
    storage
}

#[test]
fn two_purges_share_the_work_and_nobody_sees_a_part_of_a_dead_grant() {
    explore(&["one did all", "both did a part"], || {
        let storage = dead_and_alive(access);
        let purge = |limit| beside(&storage, move |storage| storage.purge(10, limit));
        let purges = [purge(9), purge(3)];
        let watch = |tokens: [u8; 3]| {
            beside(&storage, move |storage| {
                let found = tokens.map(|number| storage.has(number));
                assert!(found.is_sorted_by_key(|found| !found), "gone as a whole: {found:?} of {tokens:?}");
                let (spent, _) = storage.find(5).expect("evidence of a live grant");
                assert!(spent.spent.is_some() && storage.works(6, 10));
            })
        };
        all([watch([2, 3, 4]), watch([4, 3, 2])]);
        let touched = all(purges);
        let rest = storage.purge_all(10);
        assert_eq!(touched.iter().sum::<usize>() + rest, 4, "{touched:?} and {rest}");
        assert!(storage.has(5) && storage.works(6, 10));

        let again = grant(1, 100);
        storage.open(&again, &[access(2, &again, 100)]).expect("nothing of it is left");
        if touched.contains(&0) || touched.contains(&4) { "one did all" } else { "both did a part" }
    });
}

#[test]
fn a_purge_of_one_row_closes_the_grant_and_the_next_ones_take_the_rest() {
    explore(&["left by all", "all gone"], || {
        let storage = dead_and_alive(refresh);
        let purge = || {
            beside(&storage, |storage| {
                let touched = storage.purge(10, 1);
                assert!(touched == 0 || [2, 3, 4].iter().all(|number| !storage.has(*number)));
                touched + storage.purge(10, 1)
            })
        };
        let touched: usize = all([purge(), purge()]).iter().sum();
        assert!(touched > 0 && [2, 3, 4].iter().all(|number| !storage.has(*number)));
        assert_eq!(touched + storage.purge_all(10), 4);
        if touched == 4 { "all gone" } else { "left by all" }
    });
}

/// A purge by a clock that is ahead of the exchange's: the grant ends at 10 if nobody uses it before. What comes of the exchange
/// is not due by itself, neither a seed nor an access token, so that only the grant's own end leads the purge to it.
fn exchange_beside_purge(limit: usize) -> &'static str {
    let grant = grant(1, 10);
    let storage = Store::with(&grant, &[refresh(1, &grant, 10), access(2, &grant, 5)]);
    let exchange = beside(&storage, |storage| {
        let grant = crate::world::grant(1, 10);
        let spend = Spend { seed: None, ..spend(1, &grant, 1, 9, 50) };
        let answer = storage.exchange(&spend, &[refresh(11, &grant, 50)]).unwrap();
        let is_there = answer == Exchange::Done;
        assert_eq!([1, 11].map(|number| storage.works(number, 10)), [is_there; 2], "{answer:?}");
        is_there
    });
    let purges = [(); 2].map(|()| beside(&storage, move |storage| storage.purge(10, limit)));
    let extended = exchange.join().unwrap();
    let touched: usize = all(purges).iter().sum::<usize>() + storage.purge_all(10);

    let evidence = storage.find(1).map(|(token, _)| token.spent.is_some());
    assert_eq!(evidence, extended.then_some(true), "spent, or gone with its grant");
    assert_eq!([2, 11].map(|number| storage.has(number)), [false, extended]);
    if extended {
        assert_eq!((touched, storage.purge_all(49)), (1, 0), "only the old access token goes while the grant lives");
        assert_eq!(storage.purge_all(50), 3, "and the rest when it has ended");
        "extended"
    } else {
        assert_eq!(touched, 3);
        "buried"
    }
}

#[test]
fn an_exchange_extends_a_grant_or_finds_it_dead_and_either_way_the_purge_gets_it_at_its_end() {
    for limit in [1, 9] {
        explore(&["extended", "buried"], move || exchange_beside_purge(limit));
    }
}

#[test]
fn a_revoked_grant_is_purged_whenever_its_revocation_comes() {
    explore(&["at once", "later"], || {
        let grant = grant(1, 100);
        let storage = Store::with(&grant, &[refresh(1, &grant, 100), access(2, &grant, 3)]);
        let purges = [9, 2].map(|limit| beside(&storage, move |storage| storage.purge(5, limit)));
        assert_eq!(storage.revoke(&GrantSelector::Subject(alice()), 5), 1);
        assert!(!storage.works(1, 5) && !storage.works(2, 0));
        let touched: usize = all(purges).iter().sum();
        assert_eq!(touched + storage.purge_all(5), 3);
        assert_eq!(storage.revoke(&GrantSelector::Id(grant.id), 5), 0);
        if touched == 3 { "at once" } else { "later" }
    });
}

/// The row of the old access token is free for a successor as soon as it is purged.
#[test]
fn who_comes_for_a_purged_token_never_gets_the_one_that_took_its_place() {
    explore(&["found", "gone"], || {
        let grant = grant(1, 100);
        let storage = Store::with(&grant, &[access(2, &grant, 5), refresh(1, &grant, 100)]);
        let purge = beside(&storage, |storage| storage.purge(5, 9));
        let exchange = beside(&storage, |storage| {
            let grant = crate::world::grant(1, 100);
            let done = storage.exchange(&spend(1, &grant, 1, 4, 100), &successors(10, 11, 1, &grant, 100)).unwrap();
            assert!(done == Exchange::Done && storage.has(10) && storage.has(11));
        });
        let revoke = beside(&storage, |storage| storage.revoke_access(2, 4));
        let found = [2, 2].map(|number| storage.has(number));
        assert!(found.is_sorted_by_key(|found| !found));
        all([exchange, revoke]);
        assert_eq!(purge.join().unwrap() + storage.purge_all(5), 1);
        assert!(storage.works(10, 5) && storage.works(11, 5), "no other was revoked in its place");
        let another = crate::world::grant(2, 100);
        storage.open(&another, &[access(2, &another, 100)]).expect("nothing of it is left");
        if found[0] { "found" } else { "gone" }
    });
}

#[test]
fn a_seed_goes_once_by_the_purge_or_by_the_next_exchange_and_the_evidence_stays() {
    explore(&["by the purge", "by the exchange"], || {
        let grant = grant(1, 900);
        let storage = Store::with(&grant, &[refresh(1, &grant, 900)]);
        let first = storage.exchange(&spend(1, &grant, 1, 0, 900), &successors(10, 11, 1, &grant, 900));
        assert_eq!(first.unwrap(), Exchange::Done);
        let purge = beside(&storage, |storage| storage.purge(60, 9));
        let exchange = beside(&storage, |storage| {
            let grant = crate::world::grant(1, 900);
            let second = storage.exchange(&spend(11, &grant, 2, 50, 900), &successors(12, 13, 11, &grant, 900));
            assert_eq!(second.unwrap(), Exchange::Done);
        });
        let (token, _) = storage.find(1).expect("evidence of a live grant");
        assert!(token.spent.is_some());
        exchange.join().unwrap();
        let touched = purge.join().unwrap();
        let seed = |number| storage.find(number).unwrap().0.spent.as_ref().unwrap().seed.is_some();
        assert_eq!((seed(1), seed(11)), (false, true));
        assert_eq!(storage.purge_all(109), 0);
        assert_eq!(storage.purge_all(110), 1, "the other seed when its minute is over");
        if touched == 1 { "by the purge" } else { "by the exchange" }
    });
}

/// Its family is in the list of what is due twice: by its end and by its revocation.
#[test]
fn a_purge_that_comes_late_does_not_take_a_new_grant_with_the_old_identifier() {
    explore(&["opened", "taken"], || {
        let old = grant(1, 10);
        let storage = Store::with(&old, &[access(2, &old, 10)]);
        assert_eq!(storage.revoke(&GrantSelector::Id(old.id), 5), 1);
        let purges = [9, 9].map(|limit| beside(&storage, move |storage| storage.purge(10, limit)));
        let opening = beside(&storage, |storage| {
            let new = grant(1, 100);
            storage.open(&new, &[access(3, &new, 100)]).is_ok()
        });
        let opened = opening.join().unwrap();
        let touched: usize = all(purges).iter().sum();
        assert_eq!(touched + storage.purge_all(10), 2);
        assert_eq!(storage.works(3, 10), opened);
        assert_eq!(storage.list(&GrantSelector::Subject(alice()), 10).len(), usize::from(opened));
        assert_eq!(storage.revoke(&GrantSelector::Id(old.id), 11), u64::from(opened));
        assert_eq!(storage.purge_all(100), if opened { 2 } else { 0 });
        if opened { "opened" } else { "taken" }
    });
}
