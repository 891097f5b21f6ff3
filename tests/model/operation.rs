//! Operations on a server, histories of them, and how histories are generated and shrunk.
//!
//! An operation names a token by the number of later tokens of its kind, so a history stays meaningful after some
//! operations were removed.

use std::fmt;

use grantor::testing::Fault;
use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The number of clients: see [`Lifetimes::of`](crate::state::Lifetimes::of).
pub(crate) const CLIENTS: usize = 3;
/// The confidential client, which may also request tokens for itself.
pub(crate) const CONFIDENTIAL: usize = 1;
/// The number of users.
pub(crate) const SUBJECTS: usize = 2;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A set of the server's scope tokens, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scopes(pub(crate) u8);

impl Scopes {
    pub(crate) const NAMES: [&str; 3] = ["user:read", "user:write", "offline_access"];
    pub(crate) const OFFLINE: Self = Self(4);
    pub(crate) const ALL: Self = Self(7);

    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| name)
    }

    pub(crate) fn text(self) -> String {
        self.names().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn read(text: &str) -> Self {
        let bit = |token| Self::NAMES.iter().position(|name| *name == token).expect("a scope token that is offered");
        Self(text.split(' ').fold(0, |all, token| all | 1 << bit(token)))
    }

    pub(crate) const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

/// Microseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) i64);

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", time::Duration::microseconds(self.0))
    }
}

/// Settings of a whole history.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent")]
pub(crate) struct Setup {
    /// Whether confidential clients keep their refresh tokens.
    pub(crate) confidential_keep: bool,
    /// Whether refresh tokens need the scope `offline_access`.
    pub(crate) offline_only: bool,
    /// Whether tokens last for seconds only, until the client is changed.
    pub(crate) brief: bool,
    /// Whether the confidential client may soon present a used code again without ending its grant.
    pub(crate) tolerant: bool,
    /// Whether the refresh rate has a low limit.
    pub(crate) few_refreshes: bool,
}

/// One operation, during which the storage may fail at its n-th call.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) operation: Operation,
    pub(crate) fault: Option<(usize, Fault)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    /// A client requests a scope, and a user approves the part in `approves`.
    Approve {
        client: usize,
        subject: usize,
        asks: Scopes,
        approves: Scopes,
    },
    /// A client requests a scope, and the user denies.
    Deny {
        client: usize,
        asks: Scopes,
    },
    /// The confidential client requests a token for itself.
    ClientCredentials {
        asks: Scopes,
    },
    /// A client presents an unused code, or a used code again.
    Redeem {
        code: usize,
        again: bool,
        by: By,
        proof: Proof,
    },
    /// A client presents an unused refresh token, or a used refresh token again.
    Refresh {
        token: usize,
        again: bool,
        by: By,
        asks: Option<Scopes>,
    },
    /// A client revokes a token (RFC 7009).
    RevokeToken {
        kind: Kind,
        token: usize,
        by: By,
    },
    /// The host revokes grants.
    RevokeGrants(Which),
    /// An administrator changes a client.
    Change {
        client: usize,
        change: Change,
    },
    /// The confidential client gets one more secret; the old ones last for this time.
    Rotate(Span),
    /// Time passes. The clock of another node may be behind, so time may go back.
    Wait(Span),
    Purge {
        limit: usize,
    },
}

/// Which client presents a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The client that the token was issued to.
    Owner,
    /// The same client, with the oldest of its secrets.
    OwnerWithOldSecret,
    Another,
}

/// The parameters that a client sends besides a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Right,
    NoVerifier,
    VerifierOfAnother,
    OtherRedirectUri,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Code,
    Access,
    Refresh,
}

/// Which grants are revoked; a single one is counted from the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Grant(usize),
    SubjectAndGrant(usize, usize),
    Subject(usize),
    Client(usize),
    SubjectAndClient(usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Scope(Scopes),
    /// Which of the code and refresh token grant types the client may use. There is at least one.
    Grants {
        code: bool,
        refresh: bool,
    },
    /// Whether the client's tokens last only for seconds.
    Brief(bool),
    Remove,
    Register,
}

impl Operation {
    /// The same choice for the newest token.
    fn of_newest(&self) -> Self {
        let mut newest = self.clone();
        match &mut newest {
            Self::Redeem { code: back, .. }
            | Self::Refresh { token: back, .. }
            | Self::RevokeToken { token: back, .. }
            | Self::RevokeGrants(Which::Grant(back) | Which::SubjectAndGrant(_, back)) => *back = 0,
            _ => {}
        }
        newest
    }
}

/// A policy, and operations under it.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.operation)?;
        self.fault.map_or(Ok(()), |(call, how)| write!(f, " while call {call} of the storage is {how:?}"))
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.setup)?;
        self.steps.iter().enumerate().try_for_each(|(number, step)| write!(f, "\n{number:4} {step:?}"))
    }
}

impl History {
    /// Shrinks a failing history step by step. Proptest has tried each step once. But a step can become superfluous
    /// after a different step got simpler, and proptest does not add up waiting times.
    pub(crate) fn smallest(mut self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut at = 0;
        while at < self.steps.len() {
            let smaller = [Some(self.without(at)), self.waiting_later(at), self.with_newest(at)];
            match smaller.into_iter().flatten().find(&fails) {
                Some(smaller) => (self, at) = (smaller, 0),
                None => at += 1,
            }
        }
        self
    }

    fn without(&self, at: usize) -> Self {
        let mut less = self.clone();
        less.steps.remove(at);
        less
    }

    /// Returns the history without a waiting step, whose time is added to the next one.
    fn waiting_later(&self, at: usize) -> Option<Self> {
        let Operation::Wait(Span(time)) = self.steps[at].operation else { return None };
        let mut less = self.without(at);
        let mut later = less.steps[at..].iter_mut().map(|step| &mut step.operation);
        *later.find_map(|later| if let Operation::Wait(Span(later)) = later { Some(later) } else { None })? += time;
        Some(less)
    }

    fn with_newest(&self, at: usize) -> Option<Self> {
        let mut simpler = self.clone();
        simpler.steps[at].operation = self.steps[at].operation.of_newest();
        (simpler.steps[at].operation != self.steps[at].operation).then_some(simpler)
    }
}

/// Histories of up to `steps` steps.
pub(crate) fn histories(steps: usize) -> impl Strategy<Value = History> {
    let setup = (weighted(0.3), weighted(0.2), weighted(0.4), weighted(0.5), weighted(0.2)).prop_map(
        |(confidential_keep, offline_only, brief, tolerant, few_refreshes)| Setup {
            confidential_keep,
            offline_only,
            brief,
            tolerant,
            few_refreshes,
        },
    );
    (setup, vec(step(), 1..=steps)).prop_map(|(setup, steps)| History { setup, steps })
}

fn step() -> impl Strategy<Value = Step> {
    let how = select(vec![Fault::Failed, Fault::Unavailable, Fault::LostAnswer, Fault::LostAnswer]);
    // Only a repeated refresh makes more than four calls.
    let call = prop_oneof![9 => 1..=4_usize, 1 => 5..=6_usize];
    let fault = prop_oneof![14 => Just(None), 1 => (call, how).prop_map(Some)];
    (operation(), fault).prop_map(|(operation, fault)| Step { operation, fault })
}

fn operation() -> impl Strategy<Value = Operation> {
    let asks = || prop_oneof![1 => scopes(), 2 => Just(Scopes::ALL)];
    let approve = (client(), 0..SUBJECTS, asks(), asks());
    let redeem = (back(), weighted(0.15), by(), proof());
    let refresh = (back(), weighted(0.3), by(), prop_oneof![3 => Just(None), 1 => scopes().prop_map(Some)]);
    let revoked = select(vec![Kind::Access, Kind::Access, Kind::Refresh, Kind::Code]);
    prop_oneof![
        12 => approve.prop_map(|(client, subject, asks, approves)| Operation::Approve { client, subject, asks, approves }),
        1 => (client(), scopes()).prop_map(|(client, asks)| Operation::Deny { client, asks }),
        2 => scopes().prop_map(|asks| Operation::ClientCredentials { asks }),
        18 => redeem.prop_map(|(code, again, by, proof)| Operation::Redeem { code, again, by, proof }),
        30 => refresh.prop_map(|(token, again, by, asks)| Operation::Refresh { token, again, by, asks }),
        3 => (revoked, back(), by()).prop_map(|(kind, token, by)| Operation::RevokeToken { kind, token, by }),
        2 => which().prop_map(Operation::RevokeGrants),
        3 => (client(), change()).prop_map(|(client, change)| Operation::Change { client, change }),
        1 => select(vec![Span(0), Span(MINUTE), Span(HOUR)]).prop_map(Operation::Rotate),
        17 => wait().prop_map(Operation::Wait),
        5 => prop_oneof![1..8_usize, Just(1_000)].prop_map(|limit| Operation::Purge { limit }),
    ]
}

fn client() -> impl Strategy<Value = usize> {
    select(vec![0, 1, 2, 0, 1])
}

fn scopes() -> impl Strategy<Value = Scopes> {
    (1..=Scopes::ALL.0).prop_map(Scopes)
}

fn back() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 3 => 0..4_usize, 1 => 0..40_usize]
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![16 => Just(By::Owner), 3 => Just(By::OwnerWithOldSecret), 1 => Just(By::Another)]
}

fn proof() -> impl Strategy<Value = Proof> {
    let wrong = select(vec![Proof::NoVerifier, Proof::VerifierOfAnother, Proof::OtherRedirectUri]);
    prop_oneof![12 => Just(Proof::Right), 1 => wrong]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        back().prop_map(Which::Grant),
        (0..SUBJECTS, back()).prop_map(|(subject, grant)| Which::SubjectAndGrant(subject, grant)),
        (0..SUBJECTS).prop_map(Which::Subject),
        (0..CLIENTS).prop_map(Which::Client),
        (0..SUBJECTS, 0..CLIENTS).prop_map(|(subject, client)| Which::SubjectAndClient(subject, client)),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let grants = select(vec![(true, true), (true, true), (true, false), (false, true)]);
    prop_oneof![
        2 => prop_oneof![scopes(), Just(Scopes::ALL)].prop_map(Change::Scope),
        3 => grants.prop_map(|(code, refresh)| Change::Grants { code, refresh }),
        3 => any::<bool>().prop_map(Change::Brief),
        1 => Just(Change::Remove),
        5 => Just(Change::Register),
    ]
}

/// Sums of these times reach the ends of all lifetimes to the microsecond.
fn wait() -> impl Strategy<Value = Span> {
    let moments = [1, SECOND / 2, SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 20 * SECOND - 1, 30 * SECOND];
    let while_away = [30 * SECOND - 1, MINUTE, 5 * MINUTE, 10 * MINUTE - 1, HOUR, 3 * HOUR];
    let back = [-1, -SECOND, -10 * SECOND, -30 * SECOND, -MINUTE];
    prop_oneof![12 => select(moments.to_vec()), 3 => select(while_away.to_vec()), 1 => select(back.to_vec())]
        .prop_map(Span)
}
