//! A valid authorization request that waits for the decision of the user.

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
use crate::record::{CodeBinding, GrantId, GrantType};
use crate::resource::{DeclaredResource, usable_scope};
use crate::scope::{DescribedScope, Scope};
use crate::span::within_span;

/// An authorization request that passed every check. Call [`interaction`](Self::interaction) for the next step: login,
/// a choice of account, consent, or none of them.
///
/// It is neither `Clone` nor `Serialize`, because a request gets one decision. A consent form carries it as a
/// [`form_token`](super::Consent::form_token), and a login carries it as a [`return_target`](Self::return_target).
#[derive(Debug)]
#[must_use = "the browser is waiting: call interaction() or deny()"]
pub struct PendingAuthorization {
    pub(super) endpoint: Arc<AuthorizationEndpoint>,
    pub(super) carried: Carried,
    pub(super) client: Arc<Client>,
    pub(super) route: Route,
    pub(super) response_type: ResponseType,
    pub(super) challenge: Option<CodeChallenge>,
    pub(super) scope: Scope,
    pub(super) resources: Box<[Arc<DeclaredResource>]>,
    pub(super) demands: Demands,
    /// The browser of the present HTTP request.
    visitor: Visitor,
}

/// The consent of a user.
#[must_use = "an approval does nothing until it is given to approve()"]
pub struct Approval {
    pub(crate) user: UserSession,
    scope: Option<Vec<Box<str>>>,
    host_data: Option<Arc<Value>>,
}

impl Approval {
    /// Returns the consent of a user to the whole request. You can pass a [`Subject`](crate::Subject) unless the
    /// request limits the age of the login.
    pub fn by(user: impl Into<UserSession>) -> Self {
        Self { user: user.into(), scope: None, host_data: None }
    }

    /// Limits the consent to these scope tokens. Tokens that the request does not contain are ignored. If none is left,
    /// the request is denied.
    pub fn scope<T: AsRef<str>>(mut self, tokens: impl IntoIterator<Item = T>) -> Self {
        self.scope = Some(tokens.into_iter().map(|token| token.as_ref().into()).collect());
        self
    }

    /// Attaches data to the grant. Every bearer check returns it to the host app.
    pub fn host_data(mut self, data: Value) -> Self {
        self.host_data = Some(Arc::new(data));
        self
    }
}

impl fmt::Debug for Approval {
    /// Leaves out the data of the host app, which may be secret.
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
        let Wishes { response_type, challenge, scope, resources, demands } = wishes;
        Self { endpoint, carried, client, route, response_type, challenge, scope, resources, demands, visitor }
    }

    /// Returns a decoded parameter of the request. It knows the parameters of the library and those declared by
    /// [`Builder::authorization_parameter`](crate::Builder::authorization_parameter). Returns `None` if the parameter
    /// is missing or empty. The value stays the same through login and consent. It is untrusted text: escape it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.carried.parameters.get(name)
    }

    /// Returns the user name that the client suggests for the login form (`login_hint`). Do not reveal to the client or
    /// to an anonymous user whether such an account exists.
    #[must_use]
    pub fn login_hint(&self) -> Option<&str> {
        self.parameter("login_hint")
    }

    /// Returns the authentication context classes that the client prefers, in its order of preference (`acr_values`).
    pub fn acr_values(&self) -> impl Iterator<Item = &str> {
        self.parameter("acr_values").unwrap_or_default().split(' ').filter(|value| !value.is_empty())
    }

    /// Returns the maximum age of the login (`max_age`).
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.demands.max_age().map(Duration::seconds)
    }

    /// Returns the client of the request.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the requested scope.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the requested scope tokens with their descriptions, in the order in which the server declares its
    /// scopes.
    pub fn scopes(&self) -> impl Iterator<Item = DescribedScope<'_>> {
        self.endpoint.server.scopes.describe(&self.scope)
    }

    /// Returns the identifiers of the resources that the tokens are for (RFC 8707), as they were declared: those that
    /// the request names, or the default resource of the server. Show them if the server has several. Empty if the
    /// server has no resources.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(|resource| &*resource.identifier)
    }

    /// Returns the destination of the browser after the decision, for display: a host, or the scheme of a native app.
    /// Escape it. Returns `None` if a page will show the code instead.
    #[must_use]
    pub fn redirect_host(&self) -> Option<&str> {
        self.route.target.host()
    }

    /// Returns the host that an earlier consent is bound to. It is `None` for a client that an administrator
    /// registered.
    pub(super) fn host_to_remember(&self) -> Option<&str> {
        let is_vouched_for = self.client.registered_by() == RegisteredBy::Administrator;
        self.redirect_host().filter(|_| !is_vouched_for)
    }

    /// Returns how long the client keeps its access without asking again: the absolute lifetime of its refresh tokens,
    /// or the lifetime of its access token if it gets no refresh token.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        let server = &self.endpoint.server;
        let lifetimes = server.policy.lifetimes(&self.client);
        let refreshes = self.response_type == ResponseType::Code && may_refresh(server, &self.client, &self.scope);
        if refreshes { lifetimes.refresh_token_absolute } else { lifetimes.access_token }
    }

    /// Opens a grant, unless the user has already decided with this form.
    pub(super) async fn open_grant(
        mut self: Box<Self>,
        approval: Approval,
        asked: &AskedUser,
        basis: ConsentBasis,
        consent_grant: Option<GrantId>,
        form: Option<&Form>,
    ) -> AuthorizationResponse {
        let challenge = self.challenge.take();
        let server = &self.endpoint.server;
        let now = server.now();
        let Approval { user, scope: selected, host_data } = approval;
        if let Err(error) = self.check_user(&user, asked) {
            return self.failed(error, now);
        }
        // The form is used up first, so that a later failure can't leave a usable form beside a grant.
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
        // Without a scope for its resources, the grant could give no token.
        let is_usable = |granted: &Scope| usable_scope(&server.resources, &self.resources, granted.clone()).is_ok();
        let Some(granted) = granted.filter(is_usable) else {
            let (client_id, subject) = (self.client.id(), Some(&subject));
            server.observe_from(self.visitor.peer, now, EventKind::AuthorizationDenied { client_id, subject });
            return self.respond(Outcome::Error(Refusal::NothingApproved.into()));
        };
        let mut approved = OpenGrant::new(granted).subject(subject);
        approved.host_data = host_data;
        approved.resources = self.resources.to_vec();
        approved.consent_skipped = matches!(basis, ConsentBasis::FirstParty | ConsentBasis::Confirmed);
        approved.consent_host = self.host_to_remember().map(Into::into);
        approved.consent_grant = consent_grant;
        let outcome = match self.response_type {
            ResponseType::Code => {
                let binding = self.binding(challenge);
                let issued = open_grant_with_code(server, &self.client, approved, binding, now).await;
                issued.map(|(code, grant)| (Outcome::Code(code), grant))
            }
            ResponseType::Token => {
                // The implicit grant has no refresh token (RFC 6749 §4.2.2): `OpenGrant` is not refreshable by default.
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

    /// Denies the request: reports to the client that the user denied it.
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

    /// Denies the request, unless the user has already decided with this form.
    pub(super) async fn deny_once(self: Box<Self>, form: &Form) -> AuthorizationResponse {
        let now = self.endpoint.server.now();
        match form.use_up(&self.endpoint.server, now).await {
            Ok(()) => self.deny(),
            Err(error) => self.failed(error, now),
        }
    }

    /// Ends the request with an error of the host app, such as a failed database, and reports it to the client (RFC
    /// 6749 §4.1.2.1, `server_error` and `temporarily_unavailable`). Use it instead of an error page, from which the
    /// client would learn nothing. [`Policy::error_redirects`](crate::Policy::error_redirects) applies, because the
    /// user has done nothing yet.
    pub fn fail(self, error: impl Into<Error>) -> AuthorizationResponse {
        let ask_first = self.endpoint.asks_before_redirecting(&self.client);
        let now = self.endpoint.server.now();
        within_span("authorize", || AuthorizationResponse { ask_first, ..self.failed(error.into(), now) })
    }

    fn failed(self, error: Error, now: OffsetDateTime) -> AuthorizationResponse {
        self.endpoint.observe_refusal(Some(self.client.id()), &error, self.visitor.peer, now);
        let shown = match error.refusal() {
            // This endpoint has no `invalid_grant` (RFC 6749 §4.2.2.1), and the client must not learn the status of the
            // subject.
            Some(Refusal::SubjectSuspended | Refusal::SubjectGone) => Refusal::DeniedByUser.into(),
            _ => error,
        };
        self.respond(Outcome::Error(shown))
    }

    /// Returns the values that a redemption of the code must match.
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
