//! An authorization request that is in order and waits for the user's decision.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::response::{Outcome, Route};
use super::{AuthorizationEndpoint, AuthorizationResponse, ResponseType, Validated};
use crate::client::{Client, RedirectUriClass};
use crate::error::{Error, Refusal};
use crate::event::EventKind;
use crate::issue::{OpenGrant, may_refresh, open_grant, open_grant_with_code};
use crate::pkce::CodeChallenge;
use crate::record::{CodeBinding, GrantType, Subject};
use crate::scope::Scope;
use crate::span::{in_span, within_span};
use crate::storage::{GrantSelector, Page};

/// A request that passed every check. The host logs the user in, shows what is asked for, and calls
/// [`approve`](Self::approve) or [`deny`](Self::deny).
///
/// It is neither `Clone` nor `Serialize`: one request gets one decision. To carry it through a form, seal it with
/// [`form_token`](Self::form_token) and get it back with [`resume`](crate::AuthorizationServer::resume).
#[derive(Debug)]
#[must_use = "the browser is waiting: approve, deny, or show a form with its form_token"]
pub struct PendingAuthorization {
    pub(super) endpoint: Arc<AuthorizationEndpoint>,
    pub(super) client: Arc<Client>,
    pub(super) route: Route,
    pub(super) response_type: ResponseType,
    pub(super) challenge: Option<CodeChallenge>,
    pub(super) scope: Scope,
}

/// One scope token that the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestedScope<'a> {
    /// The scope token.
    pub token: &'a str,
    /// What the host said it means.
    pub description: &'a str,
}

/// A resource owner's consent.
#[must_use = "an approval does nothing until it is given to approve()"]
pub struct Approval {
    subject: Subject,
    scope: Option<Vec<Box<str>>>,
    host_data: Option<Arc<Value>>,
}

impl Approval {
    /// Consent by `subject` to everything that was asked for.
    pub const fn by(subject: Subject) -> Self {
        Self { subject, scope: None, host_data: None }
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
        f.debug_struct("Approval").field("subject", &self.subject).field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl PendingAuthorization {
    pub(super) fn new(endpoint: Arc<AuthorizationEndpoint>, validated: Validated) -> Self {
        let Validated { client, route, response_type, challenge, scope } = validated;
        Self { endpoint, client, route, response_type, challenge, scope }
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
    pub fn scopes(&self) -> impl Iterator<Item = RequestedScope<'_>> {
        let described = self.endpoint.server.scopes.describe(&self.scope);
        described.map(|(token, description)| RequestedScope { token, description })
    }

    /// Where the browser goes after the decision: a host, or the scheme of a native app. `None` if the code will be shown
    /// on a page instead. To be displayed, escaped.
    #[must_use]
    pub fn redirect_host(&self) -> Option<&str> {
        self.route.target.host()
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

    /// Whether one live grant that `subject` gave this client on a page covers everything that is asked for, so that a
    /// host may skip the question.
    ///
    /// Always false for a client whose identity nothing proves (RFC 8252 §8.6): true only for an `https` redirect of a
    /// confidential client or, by
    /// [`Policy::https_redirect_proves_identity`](crate::Policy::https_redirect_proves_identity), of any client.
    /// The newest hundred grants are considered.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn consented(&self, subject: &Subject) -> Result<bool, Error> {
        let server = &self.endpoint.server;
        let https = self.route.target.class() == RedirectUriClass::Https;
        if !https || !self.client.is_confidential() && !server.policy.https_redirect_proves_identity {
            return Ok(false);
        }
        let which = GrantSelector::SubjectAndClient(subject.clone(), self.client.id().clone());
        let now = server.now();
        let grants = server.storage.grants(&which, now, &Page::first(100)).await?;
        Ok(grants.iter().any(|grant| {
            which.selects(grant)
                && grant.is_live(now)
                && grant.grant_type.is_approval()
                && self.scope.is_subset(&grant.scope)
        }))
    }

    /// Seals the request for a form of this session: the value of one hidden field, which
    /// [`resume`](crate::AuthorizationServer::resume) takes back. Whoever submits it from another session, or changes
    /// anything in it, gets an error page. The same session can submit it again until
    /// [`consent_lifetime`](crate::Policy::consent_lifetime) is over; each time is a decision of its own.
    ///
    /// `session` is something that only this user's session has, such as its random identifier, and that changes when
    /// the user logs in or out. A token for an empty session is never accepted.
    #[must_use]
    pub fn form_token(&self, session: impl AsRef<[u8]>) -> String {
        super::form_token::seal(self, session.as_ref())
    }

    /// The user agreed: opens a grant and sends the client its code or token.
    pub async fn approve(self, approval: Approval) -> AuthorizationResponse {
        in_span("authorize", self.open_grant(approval)).await
    }

    async fn open_grant(mut self, approval: Approval) -> AuthorizationResponse {
        let challenge = self.challenge.take();
        let server = &self.endpoint.server;
        let now = server.now();
        let Approval { subject, scope: selected, host_data } = approval;
        let granted = match selected {
            None => Some(self.scope.clone()),
            Some(tokens) => self.scope.retain(|token| tokens.iter().any(|selected| &**selected == token)),
        };
        let Some(granted) = granted else {
            let (client_id, subject) = (self.client.id(), Some(&subject));
            server.observe(now, EventKind::AuthorizationDenied { client_id, subject });
            return self.respond(Outcome::Error(Refusal::NothingApproved.into()));
        };
        let mut approved = OpenGrant::new(granted).subject(subject);
        approved.host_data = host_data;
        let outcome = match self.response_type {
            ResponseType::Code => {
                let binding = self.binding(challenge);
                let issued = open_grant_with_code(server, &self.client, approved, binding, now).await;
                issued.map(|(code, grant)| (Outcome::Code(code), grant))
            }
            ResponseType::Token => {
                // It can't be refreshed (RFC 6749 §4.2.2): the order of an approval is not refreshable.
                let grant_type = GrantType::built_in(GrantType::IMPLICIT);
                let issued = open_grant(server, &self.client, &grant_type, approved, None, now).await;
                issued.map(|issued| (Outcome::Token(Box::new(issued.response)), issued.grant))
            }
        };
        match outcome {
            Ok((outcome, grant)) => {
                server.observe(now, EventKind::AuthorizationApproved { grant: &grant });
                self.respond(outcome)
            }
            Err(error) => self.failed(error, now),
        }
    }

    /// The user said no.
    pub fn deny(self) -> AuthorizationResponse {
        let server = &self.endpoint.server;
        within_span("authorize", || {
            server.observe(server.now(), EventKind::AuthorizationDenied { client_id: self.client.id(), subject: None });
        });
        self.respond(Outcome::Error(Refusal::DeniedByUser.into()))
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
        let server = &self.endpoint.server;
        let client_id = Some(self.client.id());
        server.observe(now, EventKind::AuthorizationRefused { client_id, error: &error });
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
        AuthorizationResponse { endpoint: self.endpoint, route: self.route, outcome, ask_first: false }
    }
}
