//! Runs a history against a real server and the model at the same time.

use std::collections::{BTreeMap, BTreeSet};

use grantor::storage::{GrantPage, GrantSelector};
use grantor::testing::Fault;
use grantor::{AccessToken, BearerRequest, ClientRegistry, Grant, GrantId, Introspection, Storage};
use time::OffsetDateTime;

use crate::model::Model;
use crate::observed::{Answered, Left, Listed, Seen, Worth, title};
use crate::operation::{By, CLIENTS, CONFIDENTIAL, History, Kind, Operation, SUBJECTS, Scopes, Step, Which};
use crate::planted::Bug;
use crate::server::{Held, PresentedToken, Server, client_id, code_of, subject};
use crate::state::{About, Answer, Name};

/// Counts of events.
pub(crate) type Tally = BTreeMap<&'static str, usize>;

/// How much is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Care {
    /// The number of steps between full checks. After the other steps, only tokens of changed grants are checked.
    pub(crate) all_every: usize,
}

struct Run<S> {
    server: Server<S>,
    /// The possible models. Never empty.
    models: Vec<Model>,
    held: BTreeMap<Name, Held>,
    /// Grants by the step that opened them, with its time.
    grants: BTreeMap<usize, (GrantId, OffsetDateTime)>,
    tally: Tally,
}

/// Runs a history on an empty storage. Returns the counts of events, or the first difference.
pub(crate) async fn run<S: Storage + ClientRegistry + grantor::EphemeralStore + Clone + 'static>(
    storage: S,
    history: &History,
    bug: Option<Bug>,
    care: Care,
) -> Result<Tally, String> {
    let server = Server::new(storage, history.setup, bug).await;
    let (held, grants, tally) = (BTreeMap::new(), BTreeMap::new(), Tally::new());
    let mut run = Run { server, models: vec![Model::new(history.setup)], held, grants, tally };
    let last = history.steps.len() - 1;
    for (number, step) in history.steps.iter().enumerate() {
        let thorough = number == last || number % care.all_every == care.all_every - 1;
        run.step(number, step, thorough).await.map_err(|what| format!("step {number}: {step:?}: {what}"))?;
    }
    Ok(run.tally)
}

impl<S: Storage + ClientRegistry + grantor::EphemeralStore + Clone + 'static> Run<S> {
    async fn step(&mut self, number: usize, step: &Step, thorough: bool) -> Result<(), String> {
        let before = self.models.clone();
        let about = self.about(&step.operation);
        if about.is_some() || !needs_about(&step.operation) {
            let (answered, fault) = self.perform(number, step, about).await;
            if let Operation::Purge { limit } = step.operation {
                let fault = step.fault.filter(|_| fault.is_some());
                self.judge_purge(&answered, limit, fault).await?;
            } else {
                self.judge(number, &step.operation, about, &answered, fault)?;
            }
        }
        let mut seen = Seen { grants: self.list(number).await?, ..Seen::default() };
        let touched = self.touched(&before, about);
        for (name, held) in &self.held {
            if (thorough || touched.contains(&held.grant))
                && let Some(worth) = self.worth(*name, held, thorough).await?
            {
                seen.tokens.insert(*name, worth);
            }
        }
        self.refute(|model| model.differs(&seen))
    }

    /// The subject of an operation: the token or grant, counted from the newest, and the client that presents it.
    fn about(&self, operation: &Operation) -> Option<About> {
        let (name, by) = match *operation {
            Operation::Redeem { code, again, by, .. } => (self.newest_but(Kind::Code, Some(again), code)?, by),
            Operation::Refresh { token, again, by, .. } => (self.newest_but(Kind::Refresh, Some(again), token)?, by),
            Operation::RevokeToken { kind, token, by } => (self.newest_but(kind, None, token)?, by),
            Operation::RevokeGrants(Which::Grant(back) | Which::SubjectAndGrant(_, back)) => {
                let at = back % self.grants.len().max(1);
                ((*self.grants.keys().rev().nth(at)?, Kind::Code), By::Owner)
            }
            _ => return None,
        };
        let owner = self.held.get(&name).map_or(0, |held| held.client);
        let client = if by == By::Another { (owner + 1) % CLIENTS } else { owner };
        Some(About { name, client, old_secret: by == By::OwnerWithOldSecret })
    }

    /// Returns a used token, an unused token, or either. At most `back` tokens of the kind were issued after it.
    fn newest_but(&self, kind: Kind, used: Option<bool>, back: usize) -> Option<Name> {
        let of_kind = self.held.iter().filter(|(name, _)| name.1 == kind);
        let names: Vec<Name> =
            of_kind.filter(|(_, held)| used.is_none_or(|used| held.used == used)).map(|(name, _)| *name).collect();
        names.iter().rev().nth(back % names.len().max(1)).copied()
    }

    /// The answer, and the failure of the storage if there was one.
    async fn perform(&mut self, number: usize, step: &Step, about: Option<About>) -> (Answered, Option<Fault>) {
        let calls = self.server.faults.calls();
        if let Some((call, how)) = step.fault {
            self.server.faults.fail(call, how);
        }
        let presented = about.and_then(|about| {
            let text = self.held.get(&about.name)?.text.as_str();
            Some(PresentedToken { name: about.name, text, client: about.client, old_secret: about.old_secret })
        });
        let grant = about.and_then(|about| Some(self.grants.get(&about.name.0)?.0));
        let answered = self.server.perform(number, &step.operation, presented, grant).await;
        let Some((call, how)) = step.fault else { return (answered, None) };
        let has_failed = self.server.faults.calls() >= calls + call;
        // A failure that was not reached is not left for the next operation.
        self.server.faults.clear();
        (answered, has_failed.then_some(how))
    }

    /// Keeps the models that expect the answer. If the storage failed, no model expects a success; the operation was
    /// not done, or may be done if only the answer was lost.
    fn judge(
        &mut self,
        number: usize,
        operation: &Operation,
        about: Option<About>,
        answered: &Answered,
        fault: Option<Fault>,
    ) -> Result<(), String> {
        let mut possible: Vec<(Model, Option<Answer>)> = Vec::new();
        let mut expected = Vec::new();
        for before in std::mem::take(&mut self.models) {
            let mut after = before.clone();
            let answer = after.apply(number, operation, about);
            match fault {
                None if self.fits(answered, &answer) => possible.push((after, Some(answer))),
                None => expected.push(format!("{answer:?}")),
                Some(how) if *answered == Answered::Refused(code_of(how).to_owned()) => {
                    if how == Fault::LostAnswer && after != before {
                        possible.push((after, None));
                    }
                    possible.push((before, None));
                }
                Some(how) => expected.push(code_of(how).to_owned()),
            }
        }
        let Some((_, answer)) = possible.first().cloned() else {
            return Err(format!("the answer is {answered:?}, not {}", expected.join(" or ")));
        };
        possible.retain(|(_, other)| *other == answer);
        self.models = possible.into_iter().map(|(model, _)| model).collect();
        self.count(operation, answered, answer.as_ref(), number, fault);
        if let Some(answer) = answer {
            self.hold(about, answered, &answer);
        }
        Ok(())
    }

    fn fits(&self, answered: &Answered, answer: &Answer) -> bool {
        let text = |name| self.held.get(&name).map(|held| held.text.clone());
        answered.is(answer, text, |text| self.held.values().all(|held| held.text != text))
    }

    /// Stores the tokens of an answer.
    fn hold(&mut self, about: Option<About>, answered: &Answered, answer: &Answer) {
        let named = match (answered, answer) {
            (Answered::Code(code), Answer::Code(name)) => vec![(name, code)],
            (
                Answered::Tokens { access, refresh, .. },
                Answer::Tokens { access: its_access, refresh: its_refresh, .. },
            ) => its_refresh.iter().zip(refresh).chain([(its_access, access)]).collect(),
            _ => return,
        };
        if let Some(presented) = about.and_then(|about| self.held.get_mut(&about.name)) {
            presented.used = true;
        }
        for (name, text) in named {
            let grant = self.models[0].tokens[name].grant;
            let client = self.models[0].grants[&grant].client;
            let used = self.held.get(name).is_some_and(|held| held.used);
            self.held.insert(*name, Held { text: text.clone(), client, grant, used });
        }
    }

    /// A purge calls the storage once for grants and tokens, then once for ephemeral entries.
    async fn judge_purge(
        &mut self,
        answered: &Answered,
        limit: usize,
        fault: Option<(usize, Fault)>,
    ) -> Result<(), String> {
        let complete = match (answered, fault) {
            (Answered::Count(count), None) if *count <= limit as u64 => *count < limit as u64,
            (Answered::Refused(code), Some((_, how))) if code == code_of(how) => false,
            _ => return Err(format!("the answer is {answered:?}")),
        };
        *self.tally.entry("purge").or_default() += 1;
        let left = self.left().await;
        let (mut models, mut wrong) = (Vec::new(), Vec::new());
        for model in std::mem::take(&mut self.models) {
            match model.clone().purged(&left, complete) {
                Ok(possible) if matches!(fault, None | Some((_, Fault::LostAnswer) | (2.., _))) => {
                    models.extend(possible);
                }
                Ok(possible) if possible.contains(&model) => models.push(model),
                Ok(_) => wrong.push("a purge that failed took something".to_owned()),
                Err(what) => wrong.push(what),
            }
        }
        self.models = models;
        if self.models.is_empty() { Err(wrong.join(" or ")) } else { Ok(()) }
    }

    async fn left(&self) -> Left {
        let mut left = Left::default();
        for (number, (id, opened)) in &self.grants {
            let grants =
                self.server.storage.list_grants(&GrantSelector::Id(*id), *opened, &GrantPage::first(1)).await.unwrap();
            left.grants.insert(*number, !grants.is_empty());
        }
        for (name, held) in &self.held {
            let found = self.server.storage.find(&AccessToken::new(held.text.as_str()).hash()).await.unwrap();
            let has_seed = found.map(|found| found.token.spent.as_ref().is_some_and(|spent| spent.seed.is_some()));
            left.tokens.insert(*name, has_seed);
        }
        left
    }

    /// The listed grants of all users and of the confidential client. A new grant belongs to this step.
    async fn list(&mut self, number: usize) -> Result<BTreeMap<GrantId, Listed>, String> {
        let mut listed = BTreeMap::new();
        let users = (0..SUBJECTS).map(|user| GrantSelector::Subject(subject(user)));
        for which in users.chain([GrantSelector::Client(client_id(CONFIDENTIAL))]) {
            let grants = self.pages(&which).await?;
            if !grants.iter().all(|grant| which.selects(grant))
                || !grants.is_sorted_by(|a, b| a.opened_at >= b.opened_at)
            {
                return Err(format!("the list of {which:?} is {grants:?}"));
            }
            listed.extend(grants.iter().map(|grant| (grant.id, self.listed(grant))));
            for grant in grants {
                if self.grants.values().all(|(id, _)| *id != grant.id) {
                    self.grants.insert(number, (grant.id, grant.opened_at));
                }
            }
        }
        Ok(listed)
    }

    async fn pages(&self, which: &GrantSelector) -> Result<Vec<std::sync::Arc<Grant>>, String> {
        const LIMIT: usize = 3;
        let (mut grants, mut page) = (Vec::new(), GrantPage::first(LIMIT));
        loop {
            let part = self.server.steady.list_grants(which, &page).await.map_err(|error| error.to_string())?;
            let is_last = part.len() < LIMIT;
            grants.extend(part);
            match grants.last() {
                Some(last) if !is_last => page = GrantPage::after(last, LIMIT),
                _ => return Ok(grants),
            }
        }
    }

    fn listed(&self, grant: &Grant) -> Listed {
        let time = |at| self.server.since_start(at);
        Listed {
            opened: time(grant.opened_at),
            client: number_of(grant.client_id.as_str()),
            subject: grant.subject.as_ref().map(|own| (0..SUBJECTS).position(|user| *own == subject(user)).unwrap()),
            scope: Scopes::read(grant.scope.as_str()),
            used: time(grant.last_used_at),
            ends: time(grant.expires_at),
        }
    }

    /// The result of introspecting a token; `None` if no client may ask.
    async fn worth(&self, name: Name, held: &Held, thorough: bool) -> Result<Option<Option<Worth>>, String> {
        let is = |what: &str| format!("the {} {what}", title(name));
        if name.1 == Kind::Access {
            let worth = self.bearer(&held.text, thorough).await.map_err(|what| is(&what))?;
            if thorough && self.introspected(&held.text, false).await? != Some(worth.clone()) {
                return Err(is(&format!("is worth {worth:?} to the bearer check, but not to introspection")));
            }
            return Ok(Some(worth));
        }
        if thorough
            && self
                .server
                .steady
                .bearer_request(&BearerRequest::of(&AccessToken::new(held.text.as_str())))
                .await
                .is_ok()
        {
            return Err(is("is accepted as an access token"));
        }
        if thorough && self.introspected(&held.text, false).await? != Some(None) {
            return Err(is("is visible to a resource server"));
        }
        match name.1 {
            Kind::Refresh if held.client == CONFIDENTIAL => self.introspected(&held.text, true).await,
            _ => Ok(None),
        }
    }

    async fn bearer(&self, text: &str, thorough: bool) -> Result<Option<Worth>, String> {
        let (token, mut worth, mut granted) = (AccessToken::new(text), None, Vec::new());
        for name in Scopes::NAMES {
            let bearer = match self.server.steady.bearer_request(&BearerRequest::of(&token)).await {
                Ok(bearer) => bearer,
                Err(error) if error.code() == Some(grantor::ErrorCode::INVALID_TOKEN) => return Ok(None),
                Err(error) => return Err(format!("is refused: {error}")),
            };
            let Ok(access) = bearer.require(name) else { continue };
            granted.push(name);
            worth = Some(Worth {
                client: number_of(access.client_id().as_str()),
                subject: access.subject().map(|own| (0..SUBJECTS).position(|user| *own == subject(user)).unwrap()),
                scope: Scopes::read(access.scope().as_str()),
                ends: self.server.since_start(access.expires_at()),
            });
            if !thorough {
                return Ok(worth);
            }
        }
        let named = worth.as_ref().map(|worth| worth.scope.names().collect::<Vec<_>>());
        if named.as_ref() == Some(&granted) { Ok(worth) } else { Err(format!("of {named:?} has {granted:?}")) }
    }

    /// `None` if the caller is not registered any more.
    async fn introspected(&self, text: &str, by_owner: bool) -> Result<Option<Option<Worth>>, String> {
        match self.server.introspect(text, by_owner).await {
            Ok(Introspection::Inactive) => Ok(Some(None)),
            Ok(Introspection::Active(active)) => {
                let Listed { client, subject, .. } = self.listed(&active.grant);
                let scope = Scopes::read(active.token.scope.as_str());
                let ends = self.server.since_start(active.token.expires_at);
                Ok(Some(Some(Worth { client, subject, scope, ends })))
            }
            Err(error) if by_owner && error.code() == grantor::ErrorCode::INVALID_CLIENT => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Drops the models that contradict the answer; an error if none is left.
    fn refute(&mut self, wrong: impl Fn(&Model) -> Option<String>) -> Result<(), String> {
        let told: Vec<_> = self.models.iter().map(wrong).collect();
        let mut verdicts = told.iter();
        self.models.retain(|_| verdicts.next().is_some_and(Option::is_none));
        let told: Vec<_> = told.into_iter().flatten().collect();
        if self.models.is_empty() { Err(told.join("; or else ")) } else { Ok(()) }
    }

    /// The grants that changed in at least one model.
    fn touched(&self, before: &[Model], about: Option<About>) -> BTreeSet<usize> {
        let changed = self.models.iter().flat_map(|model| before.iter().flat_map(|before| model.touched(before)));
        changed.chain(about.and_then(|about| Some(self.held.get(&about.name)?.grant))).collect()
    }

    fn count(
        &mut self,
        operation: &Operation,
        answered: &Answered,
        answer: Option<&Answer>,
        number: usize,
        fault: Option<Fault>,
    ) {
        let is_again = matches!(answer, Some(Answer::Tokens { access, .. }) if access.0 != number);
        let what = match (operation, answered) {
            _ if fault == Some(Fault::LostAnswer) => "an answer was lost",
            _ if fault.is_some() => "the storage failed",
            (Operation::Approve { .. }, Answered::Code(_)) => "approved",
            (Operation::Approve { .. } | Operation::Deny { .. }, _) => "not approved",
            (Operation::ClientCredentials { .. }, Answered::Tokens { .. }) => "client credentials",
            (Operation::Redeem { .. }, Answered::Tokens { .. }) => "redeemed",
            (Operation::Redeem { .. }, _) => "redemption refused",
            (Operation::Refresh { .. }, Answered::Tokens { .. }) if is_again => "refresh repeated",
            (Operation::Refresh { .. }, Answered::Tokens { .. }) => "refreshed",
            (Operation::Refresh { .. }, _) => "refresh refused",
            (Operation::RevokeToken { .. }, Answered::Done) => "token revoked",
            (Operation::RevokeGrants(_), Answered::Count(1..)) => "grants revoked",
            (Operation::Change { .. } | Operation::Rotate(_), Answered::Done) => "client changed",
            (Operation::Wait(_), _) => "time passed",
            _ => "something else refused",
        };
        *self.tally.entry(what).or_default() += 1;
    }
}

/// Whether the operation needs an existing token or grant.
fn needs_about(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Redeem { .. }
            | Operation::Refresh { .. }
            | Operation::RevokeToken { .. }
            | Operation::RevokeGrants(Which::Grant(_) | Which::SubjectAndGrant(..))
    )
}

/// The number of a client whose identifier this is.
fn number_of(id: &str) -> usize {
    id.strip_prefix("client-").and_then(|number| number.parse().ok()).expect("one of the clients")
}
