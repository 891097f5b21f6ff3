//! The reference model: the state of every grant and token in plain structs. It follows the documentation of the
//! library, not its code. If a failure of the storage leaves two possible states, there are two models until one of
//! them is refuted.

use std::collections::BTreeMap;

use crate::operation::{CLIENTS, CONFIDENTIAL};
use crate::operation::{Change, Kind, Operation, Proof, Scopes, Setup, Span, Which};
use crate::state::{About, Answer, Client, Grant, Lifetimes, Name, SECOND, Spent, Time, Token};

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "the switches are independent")]
pub(crate) struct Model {
    pub(crate) now: Time,
    offline_only: bool,
    confidential_keep: bool,
    tolerant: bool,
    few_refreshes: bool,
    brief: bool,
    clients: Vec<Client>,
    pub(crate) grants: BTreeMap<usize, Grant>,
    pub(crate) tokens: BTreeMap<Name, Token>,
}

const INVALID_GRANT: &str = "invalid_grant";

/// The low limit: the number of refreshes that are allowed at once, and the longest time until one more is allowed.
pub(crate) const FEW: (i64, Time) = (2, 20 * SECOND);

impl Model {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            now: 0,
            offline_only: setup.offline_only,
            confidential_keep: setup.confidential_keep,
            tolerant: setup.tolerant,
            few_refreshes: setup.few_refreshes,
            brief: setup.brief,
            clients: (0..CLIENTS).map(|number| Client::new(number, setup.brief)).collect(),
            grants: BTreeMap::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// Applies an operation and returns the expected answer. (The effect of a purge is observed, not predicted.)
    pub(crate) fn apply(&mut self, step: usize, operation: &Operation, about: Option<About>) -> Answer {
        let answer = match (operation, about) {
            (Operation::Approve { client, subject, asks, approves }, _) => self
                .asks(*client, *asks, true)
                .and_then(|()| self.approve(step, *client, *subject, asks.and(*approves))),
            (Operation::Deny { client, asks }, _) => self.asks(*client, *asks, true).and(Err("access_denied")),
            (Operation::ClientCredentials { asks }, _) => {
                let allowed =
                    self.authenticate(CONFIDENTIAL, false).and_then(|()| self.asks(CONFIDENTIAL, *asks, false));
                allowed.map(|()| self.client_credentials(step, *asks))
            }
            (Operation::Redeem { proof, .. }, Some(about)) => self.redeem(step, about, *proof),
            (Operation::Refresh { asks, .. }, Some(about)) => self.refresh(step, about, *asks),
            (Operation::RevokeToken { .. }, Some(about)) => self.revoke_token(about),
            (Operation::RevokeGrants(which), about) => Ok(Answer::Count(self.revoke(*which, about.map(|a| a.name.0)))),
            (Operation::Change { client, change }, _) => self.change(*client, *change),
            (Operation::Rotate(overlap), _) => self.rotate(*overlap),
            (Operation::Wait(Span(time)), _) => {
                self.now += time;
                Ok(Answer::Done)
            }
            _ => unreachable!("{operation:?} is about a token, or not foretold"),
        };
        answer.unwrap_or_else(Answer::Refused)
    }

    fn authenticate(&self, client: usize, old_secret: bool) -> Result<(), &'static str> {
        let client = &self.clients[client];
        let secret = if old_secret { client.secrets.first() } else { client.secrets.last() };
        let is_right = secret.is_none_or(|end| end.is_none_or(|end| self.now < end));
        if client.registered && is_right { Ok(()) } else { Err("invalid_client") }
    }

    fn asks(&self, client: usize, scope: Scopes, for_code: bool) -> Result<(), &'static str> {
        let client = &self.clients[client];
        if !client.registered {
            Err("invalid_client")
        } else if for_code && !client.may_use_codes {
            Err("unauthorized_client")
        } else if scope.is_within(client.scope) {
            Ok(())
        } else {
            Err("invalid_scope")
        }
    }

    fn approve(&mut self, step: usize, client: usize, subject: usize, scope: Scopes) -> Result<Answer, &'static str> {
        if scope == Scopes(0) {
            return Err("access_denied");
        }
        let ends = self.now + self.clients[client].lifetimes.code;
        self.open(step, client, Some(subject), scope, ends);
        Ok(Answer::Code(self.issue((step, Kind::Code), step, scope, ends, None)))
    }

    fn client_credentials(&mut self, step: usize, scope: Scopes) -> Answer {
        let lasts = self.clients[CONFIDENTIAL].lifetimes.access;
        self.open(step, CONFIDENTIAL, None, scope, self.now + lasts);
        let access = self.issue((step, Kind::Access), step, scope, self.now + lasts, None);
        Answer::Tokens { access, refresh: None, scope, lasts }
    }

    fn open(&mut self, step: usize, client: usize, subject: Option<usize>, scope: Scopes, ends: Time) {
        let (opened, used) = (self.now, self.now);
        self.grants.insert(step, Grant { client, subject, scope, opened, used, ends, revoked: None });
    }

    fn issue(&mut self, name: Name, grant: usize, scope: Scopes, ends: Time, parent: Option<Name>) -> Name {
        let token = Token { grant, scope, asked: scope, number: 1, ends, revoked: false, spent: None, parent };
        self.tokens.insert(name, token);
        name
    }

    /// A single-use token that its own client presents, with a live grant.
    fn usable(&self, about: About) -> Result<(Token, Grant), &'static str> {
        let token = self.tokens.get(&about.name).ok_or(INVALID_GRANT)?;
        let grant = &self.grants[&token.grant];
        let is_usable = grant.client == about.client && grant.is_live(self.now);
        if is_usable { Ok((token.clone(), grant.clone())) } else { Err(INVALID_GRANT) }
    }

    fn redeem(&mut self, step: usize, about: About, proof: Proof) -> Result<Answer, &'static str> {
        self.authenticate(about.client, about.old_secret)?;
        if !self.clients[about.client].may_use_codes {
            return Err("unauthorized_client");
        }
        let (code, grant) = self.usable(about)?;
        if let Some(spent) = code.spent.as_ref().filter(|_| proof == Proof::Right) {
            // A public client has only proven PKCE.
            let is_retry = about.client == CONFIDENTIAL && spent.seed && (self.now - spent.at).abs() < 10 * SECOND;
            return if self.tolerant && is_retry { Err(INVALID_GRANT) } else { self.end(code.grant) };
        }
        if proof != Proof::Right || self.now >= code.ends {
            return Err(INVALID_GRANT);
        }
        self.redeem_token(step, about.name, &code, &grant, grant.scope)
    }

    fn refresh(&mut self, step: usize, about: About, asks: Option<Scopes>) -> Result<Answer, &'static str> {
        self.authenticate(about.client, about.old_secret)?;
        let Client { may_refresh, lifetimes, .. } = self.clients[about.client];
        if !may_refresh {
            return Err("unauthorized_client");
        }
        // The requested scope is compared with the grant alone, regardless of the state of the token.
        let granted = self.tokens.get(&about.name).map(|token| &self.grants[&token.grant]);
        let granted = granted.filter(|grant| grant.client == about.client).ok_or(INVALID_GRANT)?.scope;
        let scope = asks.unwrap_or(granted);
        if !scope.is_within(granted) {
            return Err("invalid_scope");
        }
        let (token, grant) = self.usable(about)?;
        if let Some(spent) = &token.spent {
            let grace = lifetimes.grace.min(lifetimes.access).min(lifetimes.idle);
            let age = self.now - spent.at;
            if grace > 0 && age <= -grace {
                return Err(INVALID_GRANT);
            }
            if grace == 0 || age >= grace || !spent.seed {
                return self.end(token.grant);
            }
        } else if self.now >= token.ends {
            return Err(INVALID_GRANT);
        }
        // A token that is not rotated has no separate idle limit.
        let idle = (grant.used + lifetimes.idle).min(grant.opened + lifetimes.absolute);
        if self.now >= idle {
            return Err(INVALID_GRANT);
        }
        self.must_not_be_too_many(token.number, &grant)?;
        if token.spent.is_some() {
            return self.again(about.name, &token, &grant, scope);
        }
        self.redeem_token(step, about.name, &token, &grant, scope)
    }

    /// Allows two refreshes, and one more every twenty seconds, or in each access token lifetime if that is shorter.
    fn must_not_be_too_many(&self, refreshes: i64, grant: &Grant) -> Result<(), &'static str> {
        let interval = self.clients[grant.client].lifetimes.access.min(FEW.1);
        let allowed = FEW.0 + (self.now - grant.opened).max(0) / interval;
        if self.few_refreshes && refreshes > allowed { Err("temporarily_unavailable") } else { Ok(()) }
    }

    /// The part of a grant's scope that the client may still have.
    fn left(&self, grant: &Grant) -> Scopes {
        grant.scope.and(self.clients[grant.client].scope)
    }

    /// Repeats the answer of a refresh, if the tokens in this answer are still live and unused.
    fn again(&mut self, name: Name, token: &Token, grant: &Grant, asks: Scopes) -> Result<Answer, &'static str> {
        let Some(Spent { by: step, repeats, .. }) = token.spent else { unreachable!("a spent token") };
        let (access, refresh, possible) = ((step, Kind::Access), (step, Kind::Refresh), asks.and(self.left(grant)));
        // The client that revoked the access token of the first answer has this answer. So the repeat comes from a
        // different holder.
        if self.tokens.get(&access).is_some_and(|access| access.revoked) {
            return self.end(token.grant);
        }
        let live = |name| self.tokens.get(name).filter(|t| !t.revoked && t.spent.is_none() && self.now < t.ends);
        let (Some(of_access), Some(_)) = (live(&access), live(&refresh)) else { return Err(INVALID_GRANT) };
        let (scope, lasts) = (of_access.scope, of_access.ends - self.now);
        if !of_access.asked.is_within(asks) || !scope.is_within(possible) || lasts < SECOND {
            return Err(INVALID_GRANT);
        }
        // The first repeat does not count.
        self.must_not_be_too_many(token.number + repeats, grant)?;
        self.tokens.get_mut(&name).unwrap().spent.as_mut().unwrap().repeats += 1;
        Ok(Answer::Tokens { access, refresh: Some(refresh), scope, lasts })
    }

    /// Revokes the grant, because a spent token was presented.
    fn end(&mut self, grant: usize) -> Result<Answer, &'static str> {
        self.revoke(Which::Grant(0), Some(grant));
        Err(INVALID_GRANT)
    }

    fn redeem_token(
        &mut self,
        step: usize,
        name: Name,
        token: &Token,
        grant: &Grant,
        asks: Scopes,
    ) -> Result<Answer, &'static str> {
        let left = self.left(grant);
        let scope = asks.and(left);
        let Client { lifetimes, may_refresh, .. } = self.clients[grant.client];
        let keeps = self.confidential_keep && grant.client == CONFIDENTIAL;
        let (absolute, is_refresh) = (grant.opened + lifetimes.absolute, name.1 == Kind::Refresh);
        let (idle, lasts) = ((self.now + lifetimes.idle).min(absolute), lifetimes.access.min(absolute - self.now));
        if lasts < SECOND || scope == Scopes(0) {
            return Err(INVALID_GRANT);
        }
        let access = self.issue((step, Kind::Access), token.grant, scope, self.now + lasts, Some(name));
        self.tokens.get_mut(&access).unwrap().asked = asks;
        let stays = is_refresh && keeps;
        let gets_one = !stays && may_refresh && (!self.offline_only || Scopes::OFFLINE.is_within(left));
        let ends = if keeps { absolute } else { idle };
        let refresh = gets_one.then(|| self.issue((step, Kind::Refresh), token.grant, grant.scope, ends, Some(name)));
        if let Some(refresh) = refresh.filter(|_| is_refresh) {
            self.tokens.get_mut(&refresh).unwrap().number = token.number + 1;
        }
        if !stays {
            // The seed of a code is only a mark. The use of a successor erases it.
            let marks_use = self.tolerant && (!keeps || !gets_one);
            let seed = if is_refresh { lifetimes.grace > 0 } else { marks_use };
            self.tokens.get_mut(&name).unwrap().spent = Some(Spent { at: self.now, by: step, seed, repeats: 0 });
            // The use of a token proves that it was received.
            let before = token.parent.and_then(|parent| self.tokens.get_mut(&parent)?.spent.as_mut());
            if let Some(spent) = before {
                spent.seed = false;
            }
        }
        let kept = self.grants.get_mut(&token.grant).unwrap();
        kept.used = kept.used.max(self.now);
        let ends = self.now + lasts;
        // A redeemed grant ends later than its code.
        let after = kept.ends + Time::from(!is_refresh);
        kept.ends = after.max(ends).max(if stays || gets_one { idle } else { ends });
        Ok(Answer::Tokens { access, refresh, scope, lasts })
    }

    fn revoke_token(&mut self, about: About) -> Result<Answer, &'static str> {
        self.authenticate(about.client, about.old_secret)?;
        let Some(token) = self.tokens.get_mut(&about.name).filter(|_| about.name.1 != Kind::Code) else {
            return Ok(Answer::Done);
        };
        let (grant, is_access) = (token.grant, about.name.1 == Kind::Access);
        if self.grants[&grant].client != about.client {
            // Anyone can claim to be a public client, so it does not learn that the token exists.
            return if about.client == CONFIDENTIAL { Err("unauthorized_client") } else { Ok(Answer::Done) };
        }
        token.revoked |= is_access;
        if !is_access {
            self.revoke(Which::Grant(0), Some(grant));
        }
        Ok(Answer::Done)
    }

    fn revoke(&mut self, which: Which, single: Option<usize>) -> u64 {
        let is_meant = |(number, grant): &(&usize, &mut Grant)| match which {
            Which::Grant(_) => single == Some(**number),
            Which::SubjectAndGrant(subject, _) => single == Some(**number) && grant.subject == Some(subject),
            Which::Subject(subject) => grant.subject == Some(subject),
            Which::Client(client) => grant.client == client,
            Which::SubjectAndClient(subject, client) => grant.subject == Some(subject) && grant.client == client,
        };
        let meant = self.grants.iter_mut().filter(is_meant).filter(|(_, grant)| grant.revoked.is_none());
        meant.map(|(_, grant)| grant.revoked = Some(self.now)).count() as u64
    }

    fn change(&mut self, number: usize, change: Change) -> Result<Answer, &'static str> {
        let client = &mut self.clients[number];
        match change {
            Change::Register if client.registered => return Err("taken"),
            Change::Register => *client = Client::new(number, self.brief),
            Change::Remove => {
                client.registered = false;
                self.revoke(Which::Client(number), None);
            }
            _ if !client.registered => return Err("unknown"),
            Change::Scope(scope) => client.scope = scope,
            Change::Grants { code, refresh } => (client.may_use_codes, client.may_refresh) = (code, refresh),
            Change::Brief(brief) => client.lifetimes = Lifetimes::of(number, brief),
        }
        Ok(Answer::Done)
    }

    fn rotate(&mut self, Span(overlap): Span) -> Result<Answer, &'static str> {
        let (client, end) = (&mut self.clients[CONFIDENTIAL], self.now + overlap);
        if !client.registered {
            return Err("unknown");
        }
        client.secrets.iter_mut().for_each(|old| *old = Some(old.map_or(end, |old| old.min(end))));
        client.secrets.push(None);
        Ok(Answer::Done)
    }
}
