//! An authorization request that is in order and waits for the user's decision.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::carried::Carried;
use super::demands::Demands;
use super::error::StaleForm;
use super::form::Form;
use super::response::{Outcome, Route};
use super::steps::AskedUser;
use super::user_session::UserSession;
use super::{AuthorizationEndpoint, AuthorizationResponse, ResponseType, Validated, Visitor, Wishes};
use crate::client::{Client, RegisteredBy};
use crate::error::{Error, Refusal};
use crate::event::{ConsentBasis, EventKind};
use crate::issue::{OpenGrant, may_refresh, open_grant, open_grant_with_code};
use crate::pkce::CodeChallenge;
use crate::record::{CodeBinding, GrantType};
use crate::scope::{DescribedScope, Scope};
use crate::span::within_span;

/// A request that passed every check. [`interaction`](Self::interaction) says what has to happen next: login, a choice of
/// account, consent, or nothing.
///
/// It is neither `Clone` nor `Serialize`: one request gets one decision. It travels through a consent form as a
/// [`form_token`](super::Consent::form_token), and through a login as a [`return_target`](Self::return_target).
#[derive(Debug)]
#[must_use = "the browser is waiting: see what interaction() says, or deny"]
pub struct PendingAuthorization {
    pub(super) endpoint: Arc<AuthorizationEndpoint>,
    pub(super) carried: Carried,
    pub(super) client: Arc<Client>,
    pub(super) route: Route,
    pub(super) response_type: ResponseType,
    pub(super) challenge: Option<CodeChallenge>,
    pub(super) scope: Scope,
    pub(super) demands: Demands,
    /// Of the request that is answered at the moment.
    visitor: Visitor,
}

/// A resource owner's consent.
#[must_use = "an approval does nothing until it is given to approve()"]
pub struct Approval {
    pub(crate) user: UserSession,
    scope: Option<Vec<Box<str>>>,
    host_data: Option<Arc<Value>>,
}

impl Approval {
    /// Consent by a user to everything that was asked for. A [`Subject`](crate::Subject) is enough, unless the request limits
    /// the age of the login.
    pub fn by(user: impl Into<UserSession>) -> Self {
        Self { user: user.into(), scope: None, host_data: None }
    }

    /// Limits it to these scope tokens. Tokens that were not asked for are ignored: consent can only narrow. If nothing
    /// is left, the request is denied.
    pub fn scope<T: AsRef<str>>(mut self, tokens: impl IntoIterator<Item = T>) -> Self {
        self.scope = Some(tokens.into_iter().map(|token| token.as_ref().into()).collect());
        self
    }

    /// Attaches data to the grant that the host gets back at every bearer check.
    pub fn host_data(mut self, data: Value) -> Self {
        self.host_data = Some(Arc::new(data));
        self
    }
}

impl fmt::Debug for Approval {
    /// Without the host's data, which may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approval").field("user", &self.user).field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl PendingAuthorization {
    pub(super) fn new(
        endpoint: Arc<AuthorizationEndpoint>,
        carried: Carried,
        validated: Validated,
        visitor: Visitor,
    ) -> Self {
        let Validated { client, route, wishes } = validated;
        let Wishes { response_type, challenge, scope, demands } = wishes;
        Self { endpoint, carried, client, route, response_type, challenge, scope, demands, visitor }
    }

    /// A parameter of the request as the client sent it, decoded: one that the library knows, or one that was declared by
    /// [`Builder::authorization_parameter`](crate::Builder::authorization_parameter). `None` if it was not sent or was empty.
    /// It is the same before and after login, and when a consent form comes back. Text from outside: escape it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.carried.parameters.get(name)
    }

    /// Whom the client expects to log in (`login_hint`), to be filled into the login form. Whether such an account exists is
    /// nothing that the client or an anonymous user may learn.
    #[must_use]
    pub fn login_hint(&self) -> Option<&str> {
        self.parameter("login_hint")
    }

    /// The authentication context classes that the client wishes for, the most wanted first (`acr_values`).
    pub fn acr_values(&self) -> impl Iterator<Item = &str> {
        self.parameter("acr_values").unwrap_or_default().split(' ').filter(|value| !value.is_empty())
    }

    /// How old the login may be (`max_age`).
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.demands.max_age().map(Duration::seconds)
    }

    /// The client that asks.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// All that it asks for.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What it asks for, with descriptions, in the order in which the server declared its scopes.
    pub fn scopes(&self) -> impl Iterator<Item = DescribedScope<'_>> {
        self.endpoint.server.scopes.describe(&self.scope)
    }

    /// Where the browser goes after the decision: a host, or the scheme of a native app. `None` if the code will be shown
    /// on a page instead. To be displayed, escaped.
    #[must_use]
    pub fn redirect_host(&self) -> Option<&str> {
        self.route.target.host()
    }

    /// The host that consent on record is bound to: that of a client which can change its redirect URIs without an administrator.
    pub(super) fn host_to_remember(&self) -> Option<&str> {
        let is_vouched_for = self.client.registered_by() == RegisteredBy::Administrator;
        self.redirect_host().filter(|_| !is_vouched_for)
    }

    /// How long the client can keep its access without asking again: until its refresh tokens end, or, if it gets none,
    /// its access token.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        let server = &self.endpoint.server;
        let lifetimes = server.policy.lifetimes(&self.client);
        let refreshes = self.response_type == ResponseType::Code && may_refresh(server, &self.client, &self.scope);
        if refreshes { lifetimes.refresh_token_absolute } else { lifetimes.access_token }
    }

    /// Opens a grant, unless the user has already decided by this form.
    pub(super) async fn open_grant(
        mut self: Box<Self>,
        approval: Approval,
        asked: &AskedUser,
        basis: ConsentBasis,
        form: Option<&Form>,
    ) -> AuthorizationResponse {
        let challenge = self.challenge.take();
        let server = &self.endpoint.server;
        let now = server.now();
        let Approval { user, scope: selected, host_data } = approval;
        if let Err(error) = self.check_user(&user, asked) {
            return self.failed(error, now);
        }
        // Before anything is decided, so that a failure from here on leaves a form that is used and no grant.
        if let Some(form) = form
            && let Err(error) = form.use_up(server, now).await
        {
            return self.failed(error, now);
        }
        let subject = user.subject;
        let granted = match selected {
            None => Some(self.scope.clone()),
            Some(tokens) => self.scope.retain(|token| tokens.iter().any(|selected| &**selected == token)),
        };
        let Some(granted) = granted else {
            let (client_id, subject) = (self.client.id(), Some(&subject));
            server.observe_from(self.visitor.peer, now, EventKind::AuthorizationDenied { client_id, subject });
            return self.respond(Outcome::Error(Refusal::NothingApproved.into()));
        };
        let mut approved = OpenGrant::new(granted).subject(subject);
        approved.host_data = host_data;
        approved.consent_skipped = matches!(basis, ConsentBasis::FirstParty | ConsentBasis::Confirmed);
        approved.consent_host = self.host_to_remember().map(Into::into);
        let outcome = match self.response_type {
            ResponseType::Code => {
                let binding = self.binding(challenge);
                let issued = open_grant_with_code(server, &self.client, approved, binding, now).await;
                issued.map(|(code, grant)| (Outcome::Code(code), grant))
            }
            ResponseType::Token => {
                // It can't be refreshed (RFC 6749 §4.2.2): the order of an approval is not refreshable.
                let grant_type = GrantType::built_in(GrantType::IMPLICIT);
                let issued =
                    open_grant(server, &self.client, &grant_type, Box::new(approved), self.visitor.peer, now).await;
                issued.map(|issued| (Outcome::Token(Box::new(issued.response)), issued.grant))
            }
        };
        match outcome {
            Ok((outcome, grant)) => {
                server.observe_from(
                    self.visitor.peer,
                    now,
                    EventKind::AuthorizationApproved { grant: &grant, consent: basis },
                );
                self.respond(outcome)
            }
            Err(error) => self.failed(error, now),
        }
    }

    /// The user said no.
    pub fn deny(self) -> AuthorizationResponse {
        let server = &self.endpoint.server;
        within_span("authorize", || {
            server.observe_from(
                self.visitor.peer,
                server.now(),
                EventKind::AuthorizationDenied { client_id: self.client.id(), subject: None },
            );
        });
        self.respond(Outcome::Error(Refusal::DeniedByUser.into()))
    }

    /// The user said no by this form.
    pub(super) async fn deny_once(self: Box<Self>, form: &Form) -> AuthorizationResponse {
        let now = self.endpoint.server.now();
        match form.use_up(&self.endpoint.server, now).await {
            Ok(()) => self.deny(),
            Err(error) => self.failed(error, now),
        }
    }

    /// The host can't find out what the user wants: tells the client, which would learn nothing from an error page
    /// (RFC 6749 §4.1.2.1, `server_error` and `temporarily_unavailable`). The user has done nothing yet, so
    /// [`Policy::error_redirects`](crate::Policy::error_redirects) applies.
    pub fn fail(self, error: impl Into<Error>) -> AuthorizationResponse {
        let ask_first = self.endpoint.asks_before_redirecting(&self.client);
        let now = self.endpoint.server.now();
        within_span("authorize", || AuthorizationResponse { ask_first, ..self.failed(error.into(), now) })
    }

    fn failed(self, error: Error, now: OffsetDateTime) -> AuthorizationResponse {
        self.endpoint.observe_refusal(Some(self.client.id()), &error, self.visitor.peer, now);
        let shown = match error.refusal() {
            // `invalid_grant` is no error of this endpoint, and the client is not told why (RFC 6749 §4.2.2.1).
            Some(Refusal::SubjectSuspended | Refusal::SubjectGone) => Refusal::DeniedByUser.into(),
            _ => error,
        };
        self.respond(Outcome::Error(shown))
    }

    /// What the code will have to be redeemed with.
    fn binding(&self, challenge: Option<CodeChallenge>) -> CodeBinding {
        let target = &self.route.target;
        CodeBinding::new(target.text(), target.was_sent(), challenge)
    }

    fn respond(self, outcome: Outcome) -> AuthorizationResponse {
        let stale = match &outcome {
            Outcome::Error(error) => StaleForm::of(error, None),
            Outcome::Code(_) | Outcome::Token(_) => None,
        };
        let stale = stale.map(|form| form.with_return_target(self.return_target()));
        let Self { endpoint, client, route, visitor, .. } = self;
        let languages = visitor.languages;
        AuthorizationResponse { endpoint, client, route, languages, outcome, stale, ask_first: false }
    }
}
