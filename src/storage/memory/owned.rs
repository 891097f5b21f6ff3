//! The families of one owner in one shard, in the order in which they were opened.

use std::collections::VecDeque;
use std::sync::Arc;

use super::family::Family;
use super::grants::Key;

type Entry = (Key, Arc<Family>);

/// Sorted by key. Time goes on, so what is new belongs to the end, and what is old goes from the front. Most users have one
/// grant, which needs no queue.
#[derive(Default)]
pub(super) enum Owned {
    #[default]
    None,
    One(Entry),
    Many(VecDeque<Entry>),
}

impl Owned {
    pub(super) fn insert(&mut self, key: Key, family: &Arc<Family>) {
        let new = (key, Arc::clone(family));
        match self {
            Self::None => *self = Self::One(new),
            Self::One(_) => {
                let Self::One(one) = std::mem::take(self) else { return };
                let both = if one.0 < key { [one, new] } else { [new, one] };
                *self = Self::Many(both.into());
            }
            Self::Many(many) => match many.back() {
                Some((last, _)) if *last > key => many.insert(many.partition_point(|(own, _)| *own < key), new),
                _ => many.push_back(new),
            },
        }
    }

    /// Removes one; whether there is none left.
    pub(super) fn remove(&mut self, key: Key) -> bool {
        match self {
            Self::None => true,
            Self::One((own, _)) => *own == key,
            Self::Many(many) => {
                if let Ok(at) = many.binary_search_by(|(own, _)| own.cmp(&key)) {
                    many.remove(at);
                }
                many.is_empty()
            }
        }
    }

    /// Newest first, from below `below` on.
    pub(super) fn newest(&self, below: Option<Key>) -> impl Iterator<Item = Entry> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many)),
        };
        let end = move |many: &VecDeque<Entry>| {
            below.map_or(many.len(), |below| many.partition_point(|(own, _)| *own < below))
        };
        let one = one.filter(|(own, _)| below.is_none_or(|below| *own < below));
        one.into_iter().chain(many.into_iter().flat_map(move |many| many.range(..end(many)).rev())).cloned()
    }
}
