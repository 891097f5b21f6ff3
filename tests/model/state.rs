//! What a model is made of: plain records of clients, grants and tokens, and the names and answers that go with them.

use crate::operation::{CONFIDENTIAL, Kind, Scopes};

/// Microseconds since the history began.
pub(crate) type Time = i64;

pub(crate) const SECOND: Time = 1_000_000;

/// A token is known by the step that issued it, a grant by the step that opened it.
pub(crate) type Name = (usize, Kind);

/// What an operation is about: a token, or a grant by its first one; and the client that presents it, with its oldest secret or its
/// newest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) name: Name,
    pub(crate) client: usize,
    pub(crate) old_secret: bool,
}

/// What an operation should answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Code(Name),
    Tokens {
        access: Name,
        refresh: Option<Name>,
        scope: Scopes,
        lasts: Time,
    },
    Done,
    Count(u64),
    /// An OAuth error code, or what a registry says.
    Refused(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    pub(crate) code: Time,
    pub(crate) access: Time,
    pub(crate) idle: Time,
    pub(crate) absolute: Time,
    pub(crate) grace: Time,
}

impl Lifetimes {
    /// Those of a client; the last one has no grace window.
    pub(crate) fn of(client: usize, brief: bool) -> Self {
        let grace = if client == 2 { 0 } else { 30 * SECOND };
        let (code, access, idle, absolute) = if brief { (5, 20, 25, 40) } else { (60, 600, 3_600, 3 * 3_600) };
        Self { code: code * SECOND, access: access * SECOND, idle: idle * SECOND, absolute: absolute * SECOND, grace }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Client {
    pub(crate) registered: bool,
    pub(crate) scope: Scopes,
    pub(crate) may_use_codes: bool,
    pub(crate) may_refresh: bool,
    pub(crate) lifetimes: Lifetimes,
    /// When each of its secrets ends, the oldest first.
    pub(crate) secrets: Vec<Option<Time>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grant {
    pub(crate) client: usize,
    pub(crate) subject: Option<usize>,
    pub(crate) scope: Scopes,
    pub(crate) opened: Time,
    pub(crate) used: Time,
    pub(crate) ends: Time,
    pub(crate) revoked: Option<Time>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) grant: usize,
    pub(crate) scope: Scopes,
    /// What was asked for when it was issued.
    pub(crate) asked: Scopes,
    /// Of a refresh token, its place in the family.
    pub(crate) number: i64,
    pub(crate) ends: Time,
    pub(crate) revoked: bool,
    pub(crate) spent: Option<Spent>,
    /// What was spent for it.
    pub(crate) parent: Option<Name>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spent {
    pub(crate) at: Time,
    /// In which step: its successors are named after it.
    pub(crate) by: usize,
    /// Whether its successors can be had again.
    pub(crate) seed: bool,
    /// How often its successors were had again.
    pub(crate) repeats: i64,
}

impl Grant {
    pub(crate) fn is_live(&self, now: Time) -> bool {
        self.revoked.is_none() && now < self.ends
    }

    pub(crate) fn can_be_purged(&self, now: Time) -> bool {
        self.ends <= now || self.revoked.is_some_and(|at| at <= now)
    }
}

impl Client {
    pub(crate) fn new(number: usize, brief: bool) -> Self {
        Self {
            registered: true,
            scope: Scopes::ALL,
            may_use_codes: true,
            may_refresh: true,
            lifetimes: Lifetimes::of(number, brief),
            secrets: if number == CONFIDENTIAL { vec![None] } else { Vec::new() },
        }
    }
}
