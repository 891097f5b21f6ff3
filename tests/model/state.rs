//! The parts of a model: plain records of clients, grants and tokens, with their names and answers.

use crate::operation::{CONFIDENTIAL, Kind, Scopes};

/// Microseconds since the history began.
pub(crate) type Time = i64;

pub(crate) const SECOND: Time = 1_000_000;

/// A token is identified by the step that issued it, a grant by the step that opened it.
pub(crate) type Name = (usize, Kind);

/// The subject of an operation: a token, or a grant by its first token; and the client that presents it, with its
/// oldest or newest secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    pub(crate) name: Name,
    pub(crate) client: usize,
    pub(crate) old_secret: bool,
}

/// The expected answer to an operation.
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
    /// An OAuth error code, or an error of a registry.
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
    /// The lifetimes of a client; the last client has no grace window.
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
    /// The end of each secret of the client, the oldest first.
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
    /// The scope that its request asked for.
    pub(crate) asked: Scopes,
    /// The position of a refresh token in its family.
    pub(crate) number: i64,
    pub(crate) ends: Time,
    pub(crate) revoked: bool,
    pub(crate) spent: Option<Spent>,
    /// The token that was redeemed for this token.
    pub(crate) parent: Option<Name>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spent {
    pub(crate) at: Time,
    /// The step that spent the token. It also names the successors.
    pub(crate) by: usize,
    /// For a refresh token, whether its successors can be repeated. For a code, see `Setup::tolerant`.
    pub(crate) seed: bool,
    /// How often the successors were repeated.
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
