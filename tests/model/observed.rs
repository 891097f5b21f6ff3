//! The observable state of a server, and its comparison with a model.

use std::collections::{BTreeMap, BTreeSet};

use grantor::GrantId;

use crate::model::Model;
use crate::operation::{Kind, Scopes};
use crate::state::{Answer, Grant, Name, Time, Token};

/// The visible properties of a live token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worth {
    pub(crate) client: usize,
    pub(crate) subject: Option<usize>,
    pub(crate) scope: Scopes,
    pub(crate) ends: Time,
}

/// A live grant in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) opened: Time,
    pub(crate) client: usize,
    pub(crate) subject: Option<usize>,
    pub(crate) scope: Scopes,
    pub(crate) used: Time,
    pub(crate) ends: Time,
}

/// The answer to an operation, with the texts of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    Code(String),
    Tokens { access: String, refresh: Option<String>, scope: Scopes, lasts: Time },
    Done,
    Count(u64),
    Refused(String),
}

/// An observation between two operations.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The introspected tokens; `None` for an inactive token.
    pub(crate) tokens: BTreeMap<Name, Option<Worth>>,
    /// The lists of all users, and of the clients that have grants of their own.
    pub(crate) grants: BTreeMap<GrantId, Listed>,
}

/// The rows of a storage after a purge. Tokens that no client received can't be observed.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// The opened grants, and whether they are neither revoked nor removed.
    pub(crate) grants: BTreeMap<usize, bool>,
    /// The issued tokens, whether their rows exist, and whether they have a seed.
    pub(crate) tokens: BTreeMap<Name, Option<bool>>,
}

impl Answered {
    /// Whether this is the expected answer. `text` is the text of a token seen before: it must be the same again;
    /// any other text must be new, which `is_new` checks.
    pub(crate) fn is(
        &self,
        expected: &Answer,
        text: impl Fn(Name) -> Option<String>,
        is_new: impl Fn(&str) -> bool,
    ) -> bool {
        let same = |seen: &str, name: Name| text(name).map_or_else(|| is_new(seen), |known| known == seen);
        match (self, expected) {
            (Self::Code(code), Answer::Code(name)) => same(code, *name),
            (
                Self::Tokens { access, refresh, scope, lasts },
                Answer::Tokens { access: its_access, refresh: its_refresh, scope: its_scope, lasts: its_lasts },
            ) => {
                let refreshes = match (refresh, its_refresh) {
                    (Some(seen), Some(name)) => same(seen, *name),
                    (seen, expected) => seen.is_none() && expected.is_none(),
                };
                same(access, *its_access) && refreshes && (scope, lasts) == (its_scope, its_lasts)
            }
            (Self::Done, Answer::Done) => true,
            (Self::Count(count), Answer::Count(expected)) => count == expected,
            (Self::Refused(code), Answer::Refused(expected)) => code == expected,
            _ => false,
        }
    }
}

impl Model {
    fn worth(&self, name: Name) -> Option<Worth> {
        let token = self.tokens.get(&name)?;
        let grant = &self.grants[&token.grant];
        let is_live = !token.revoked && token.spent.is_none() && self.now < token.ends && grant.is_live(self.now);
        is_live.then_some(Worth { client: grant.client, subject: grant.subject, scope: token.scope, ends: token.ends })
    }

    /// The first difference, if there is one.
    pub(crate) fn differs(&self, seen: &Seen) -> Option<String> {
        for (name, worth) in &seen.tokens {
            let expected = self.worth(*name);
            if *worth != expected {
                return Some(format!("the {} is worth {worth:?}, not {expected:?}", title(*name)));
            }
        }
        let mut listed: Vec<_> = seen.grants.values().cloned().collect();
        let mut expected: Vec<_> =
            self.grants.values().filter(|grant| grant.is_live(self.now)).map(listed_as).collect();
        listed.sort();
        expected.sort();
        (listed != expected).then(|| format!("the live grants are {listed:?}, not {expected:?}"))
    }

    /// The grants that differ between this model and another model, with their tokens.
    pub(crate) fn touched(&self, before: &Self) -> BTreeSet<usize> {
        let grants = self.grants.iter().filter(|(number, grant)| before.grants.get(number) != Some(grant));
        let tokens = self.tokens.iter().filter(|(name, token)| before.tokens.get(name) != Some(token));
        grants.map(|(number, _)| *number).chain(tokens.map(|(_, token)| token.grant)).collect()
    }

    /// This model after a purge that left these rows. The purge must not have removed anything useful, and a
    /// `complete` one must have removed everything useless. Both are possible for a token that no client
    /// received.
    pub(crate) fn purged(mut self, left: &Left, complete: bool) -> Result<Vec<Self>, String> {
        let before = self.clone();
        for (number, is_there) in &left.grants {
            let Some(grant) = self.grants.get_mut(number).filter(|grant| grant.revoked.is_none()) else { continue };
            must_be_right(*is_there, grant.can_be_purged(before.now), complete, || {
                format!("the grant of step {number}")
            })?;
            if !is_there {
                grant.revoked = Some(grant.ends);
            }
        }
        for (name, found) in &left.tokens {
            let Some(token) = self.tokens.get_mut(name) else {
                found.map_or(Ok(()), |_| Err(format!("the {} was removed and exists again", title(*name))))?;
                continue;
            };
            let of_no_use = before.grants[&token.grant].can_be_purged(before.now) || is_late(*name, token, before.now);
            must_be_right(found.is_some(), of_no_use, complete, || format!("the {}", title(*name)))?;
            match (&mut token.spent, found) {
                (_, None) => drop(self.tokens.remove(name)),
                (Some(spent), Some(seed)) if spent.seed => {
                    let of_no_use = spent.at <= before.now - 60_000_000;
                    must_be_right(*seed, of_no_use, complete, || format!("the seed of the {}", title(*name)))?;
                    spent.seed = *seed;
                }
                (_, Some(true)) => return Err(format!("the {} has a seed", title(*name))),
                _ => {}
            }
        }
        Ok(self.without_the_unseen(left, complete))
    }

    fn without_the_unseen(self, left: &Left, complete: bool) -> Vec<Self> {
        let is_unseen = |name: &Name, token: &Token| !left.tokens.contains_key(name) && is_late(*name, token, self.now);
        let unseen: Vec<Name> =
            self.tokens.iter().filter(|(name, token)| is_unseen(name, token)).map(|(name, _)| *name).collect();
        let mut possible = vec![self];
        for name in unseen {
            let without = possible.iter().cloned().map(|mut model| {
                model.tokens.remove(&name);
                model
            });
            let without: Vec<_> = without.collect();
            if complete {
                possible.clear();
            }
            possible.extend(without);
        }
        possible
    }
}

fn must_be_right(is_there: bool, of_no_use: bool, complete: bool, what: impl Fn() -> String) -> Result<(), String> {
    match (is_there, of_no_use) {
        (false, false) => Err(format!("the purge took {}", what())),
        (true, true) if complete => Err(format!("the purge left {}", what())),
        _ => Ok(()),
    }
}

/// An access token can go when it has expired, even if its grant is live.
fn is_late(name: Name, token: &Token, now: Time) -> bool {
    name.1 == Kind::Access && token.ends <= now
}

fn listed_as(grant: &Grant) -> Listed {
    let Grant { client, subject, scope, opened, used, ends, .. } = *grant;
    Listed { opened, client, subject, scope, used, ends }
}

pub(crate) fn title((step, kind): Name) -> String {
    let kind = match kind {
        Kind::Code => "code",
        Kind::Access => "access token",
        Kind::Refresh => "refresh token",
    };
    format!("{kind} of step {step}")
}
