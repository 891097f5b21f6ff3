//! The authorization endpoint (RFC 6749 §3.1): from the request to the decision of the user.

mod arrival;
mod carried;
mod codec;
mod consent_form;
mod demands;
mod error;
mod form;
mod form_token;
mod interaction;
mod pages;
mod parameters;
mod pending;
mod progress;
mod redirect;
mod request;
mod response;
mod return_target;
mod seal;
#[cfg(feature = "jwt")]
mod signed_arrival;
mod steps;
mod user_session;

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use self::carried::{Carried, Source};
#[doc(no_inline)]
pub use self::consent_form::ConsentForm;
use self::demands::Demands;
#[doc(no_inline)]
pub use self::error::AuthorizationError;
pub use self::error::StaleForm;
#[doc(no_inline)]
pub use self::interaction::Interaction;
pub use self::pages::{ConfirmRedirectPage, DefaultPages, ErrorCause, ErrorPage, OutOfBandPage, PageTemplates, escape};
use self::pages::{PageOf, PageSet};
use self::parameters::RESOURCE;
pub(crate) use self::parameters::is_known_parameter;
#[doc(no_inline)]
pub use self::pending::{Approval, PendingAuthorization};
use self::redirect::RedirectTarget;
#[doc(no_inline)]
pub use self::request::AuthorizationRequest;
#[doc(no_inline)]
pub use self::response::AuthorizationResponse;
use self::response::{ResponseMode, Route};
#[doc(no_inline)]
pub use self::steps::{Consent, Login, Proceed, SelectAccount};
pub use self::steps::{ConsentReason, LoginReason};
#[doc(no_inline)]
pub use self::user_session::UserSession;
use crate::capability::{AuthorizationView, Capability, ServerView};
use crate::client::{Client, RegisteredBy};
use crate::error::{Error, Refusal};
use crate::event::EventKind;
use crate::http::{Languages, Request, Response};
use crate::params::Params;
use crate::pkce::CodeChallenge;
use crate::policy::{ErrorRedirects, Policy};
use crate::record::{ClientId, GrantType, is_client_id, is_printable};
use crate::resource::{DeclaredResource, usable_scope};
use crate::scope::Scope;
use crate::server_context::ServerContext;
use crate::server_key::{DerivedKey, Label};

/// The result of the first checks of an authorization request: a response to send, or a request to decide.
#[derive(Debug)]
#[must_use = "the browser is waiting for a response"]
#[expect(clippy::exhaustive_enums, reason = "a host app must handle both, and there will be no third")]
pub enum AuthorizationOutcome {
    /// Send this response. The request needs no decision.
    Respond(Response),
    /// The request is valid. Call [`interaction`](PendingAuthorization::interaction) for the next step.
    Pending(PendingAuthorization),
}

/// Serves authorization requests. Each pending request keeps a reference to it.
pub(crate) struct AuthorizationEndpoint {
    server: Arc<ServerContext>,
    pages: PageSet,
    /// The capabilities. Each of them checks every request.
    capabilities: Vec<Arc<dyn Capability>>,
    form_key: DerivedKey,
    return_key: DerivedKey,
    user_key: DerivedKey,
    /// The parameters that are read and carried: the known ones and the declared ones.
    parameter_names: Vec<&'static str>,
    /// The beginning of every return target.
    return_prefix: String,
}

/// The response types of RFC 6749.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseType {
    Code,
    Token,
}

/// The parameters of a request before they are validated.
struct Presented<'a> {
    params: &'a Params<'a>,
    source: Source,
    /// A fault that is reported as soon as the redirect URI is confirmed.
    fault: Option<Refusal>,
}

/// A request that passed every check.
#[derive(Debug)]
struct Validated {
    client: Arc<Client>,
    route: Route,
    wishes: Wishes,
}

/// The wishes of a valid request.
#[derive(Debug)]
struct Wishes {
    response_type: ResponseType,
    challenge: Option<CodeChallenge>,
    scope: Scope,
    resources: Box<[Arc<DeclaredResource>]>,
    demands: Demands,
}

/// The facts about the browser of a request that pages and the observer get.
#[derive(Debug, Clone, Default)]
struct Visitor {
    peer: Option<IpAddr>,
    languages: Languages,
}

impl Visitor {
    fn of(request: &Request) -> Self {
        Self { peer: request.peer(), languages: request.languages() }
    }
}

/// An error, by the place where it is reported.
enum Failure {
    /// On a page, because the client or its redirect URI is not confirmed, or because the server failed (RFC 6749
    /// §4.1.2.1).
    Page(Box<FailurePage>),
    /// To the client, by redirect.
    Redirect(Box<(Arc<Client>, Route, Error)>),
}

/// The content of an error page.
struct FailurePage {
    client: Named,
    error: Error,
    /// The value of the request that matches no registration, in the form for a page. Only the page gets it.
    presented: Option<String>,
    /// The address where the browser can start the request again.
    return_target: Option<String>,
    /// Whether the request was a consent form of the host app, so the client did not cause the error.
    is_our_form: bool,
}

/// The client of a request that gets a page, as far as it is known.
enum Named {
    None,
    /// The request names the client, but its redirect URI did not pass. Anyone can make such a request, so only the
    /// observer gets the client.
    Claimed(Arc<Client>),
    /// The redirect URI of the request is registered for the client.
    Checked(Arc<Client>),
}

impl Named {
    /// Returns the client for the observer.
    fn client_id(&self) -> Option<&ClientId> {
        match self {
            Self::None => None,
            Self::Claimed(client) | Self::Checked(client) => Some(client.id()),
        }
    }

    /// Returns the client for a page.
    fn for_page(&self) -> Option<&Client> {
        match self {
            Self::None | Self::Claimed(_) => None,
            Self::Checked(client) => Some(client),
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::page(Named::None, error)
    }
}

impl Failure {
    fn page(client: Named, error: impl Into<Error>) -> Self {
        let error = error.into();
        Self::Page(Box::new(FailurePage { client, error, presented: None, return_target: None, is_our_form: false }))
    }

    /// Shows the value on the page if it is the reason for the refusal.
    fn presenting(mut self, value: Option<&str>) -> Self {
        if let Self::Page(page) = &mut self
            && let Some(Refusal::UnregisteredClient | Refusal::UnregisteredRedirectUri) = page.error.refusal()
        {
            page.presented = value.map(pages::presented);
        }
        self
    }

    fn with_return_target(mut self, target: Option<String>) -> Self {
        if let Self::Page(page) = &mut self {
            page.return_target = target;
        }
        self
    }

    fn of_our_form(mut self) -> Self {
        if let Self::Page(page) = &mut self {
            page.is_our_form = true;
        }
        self
    }
}

impl AuthorizationEndpoint {
    /// `declared` are the parameters that the host app and the capabilities declared. `url` is the URL of the endpoint.
    pub(crate) fn new(
        server: Arc<ServerContext>,
        pages: Arc<dyn PageTemplates>,
        capabilities: Vec<Arc<dyn Capability>>,
        declared: &[&'static str],
        url: &str,
    ) -> Self {
        Self {
            pages: PageSet(pages),
            capabilities,
            form_key: server.key(Label::FormToken),
            return_key: server.key(Label::ReturnTarget),
            user_key: server.key(Label::FormUser),
            parameter_names: [&parameters::KNOWN[..], declared].concat(),
            return_prefix: return_target::prefix(url),
            server,
        }
    }

    /// Responds to an HTTP request.
    pub(crate) async fn respond(self: &Arc<Self>, request: &Request) -> AuthorizationOutcome {
        match AuthorizationRequest::read(request, &self.server.policy, &self.parameter_names) {
            Ok(request) => match self.authorize(&request).await {
                Ok(pending) => AuthorizationOutcome::Pending(pending),
                Err(error) => AuthorizationOutcome::Respond(error.into()),
            },
            Err(refusal) => {
                let visitor = Visitor::of(request);
                AuthorizationOutcome::Respond(self.refuse(refusal.into(), &visitor, self.server.now()).into())
            }
        }
    }

    /// Responds to a typed request.
    pub(crate) async fn authorize(
        self: &Arc<Self>,
        request: &AuthorizationRequest<'_>,
    ) -> Result<PendingAuthorization, AuthorizationError> {
        let begun = self.begin(request).await;
        begun.map_err(|failure| self.refuse(failure, &request.visitor, self.server.now()))
    }

    /// Runs the checks in a fixed order; the first failure determines the response. Errors go to a page until the
    /// redirect URI is confirmed to belong to the client.
    async fn validate(&self, request: &Presented<'_>) -> Result<Validated, Failure> {
        let params = request.params;
        let (id, redirect_uri) = (params.require("client_id")?, params.get("redirect_uri")?);
        let client = self.client(id).await?;
        self.validate_as(client, redirect_uri, request)
    }

    /// Validates a request again with the client as it is now.
    async fn validate_carried(&self, carried: &Carried) -> Result<Validated, Failure> {
        let params = &carried.parameters.as_params();
        self.validate(&Presented { params, source: carried.source, fault: None }).await
    }

    /// Runs the checks that need the client.
    fn validate_as(
        &self,
        client: Arc<Client>,
        redirect_uri: Option<&str>,
        &Presented { params, source, fault }: &Presented<'_>,
    ) -> Result<Validated, Failure> {
        let page = |refusal: Refusal| Failure::page(Named::Claimed(Arc::clone(&client)), refusal);
        // Anyone can make a plain request, so it does not redirect to a client whose requests are signed.
        if source == Source::Plain && self.demands_request_object(&client) {
            return Err(page(fault.unwrap_or(Refusal::MissingRequestObject)));
        }
        let target = RedirectTarget::of(&client, redirect_uri, &self.server.policy)
            .map_err(|refusal| page(fault.unwrap_or(refusal)).presenting(redirect_uri))?;
        let route =
            Route { target, mode: error_response_mode(params), state: valid_state(params, &self.server.policy) };
        self.server.tell_of_unoffered_scopes(&client, self.server.now());
        let wishes = match fault {
            Some(fault) => Err(fault),
            None => self.validate_for(&client, &route, params),
        };
        match wishes {
            Ok(wishes) => Ok(Validated { client, route, wishes }),
            Err(refusal) => Err(Failure::Redirect(Box::new((client, route, refusal.into())))),
        }
    }

    /// Runs the checks whose errors go to the client by redirect.
    fn validate_for(&self, client: &Client, route: &Route, params: &Params<'_>) -> Result<Wishes, Refusal> {
        let mode = response_mode(params)?;
        params.check(&self.parameter_names)?;
        check_state(params, route)?;
        let response_type = response_type(params, client, &self.server.policy)?;
        check_response_mode(response_type, mode)?;
        reject_token_out_of_band(route, response_type)?;
        let challenge = challenge(params, client, response_type, &self.server.policy)?;
        let scope = self.server.scope_for(client, params.get("scope")?)?;
        let resources = self.server.resources.for_grant(&params.get_all(RESOURCE)?)?;
        if response_type == ResponseType::Token && resources.len() > 1 {
            return Err(Refusal::SeveralResources);
        }
        let scope = usable_scope(&self.server.resources, &resources, scope)?;
        let demands = Demands::read(params)?;
        Ok(Wishes { response_type, challenge, scope, resources: resources.into(), demands })
    }

    /// Returns the pending request if the capabilities accepted it (`checked`). It is not `async`, to avoid moving the
    /// values through a future.
    fn pend(
        self: &Arc<Self>,
        checked: Result<(), Error>,
        carried: Carried,
        validated: Validated,
        visitor: Visitor,
    ) -> Result<PendingAuthorization, Failure> {
        match checked {
            Ok(()) => Ok(PendingAuthorization::new(Arc::clone(self), carried, validated, visitor)),
            Err(error) => Err(Failure::Redirect(Box::new((validated.client, validated.route, error)))),
        }
    }

    async fn check_by_capabilities(&self, carried: &Carried, validated: &Validated) -> Result<(), Error> {
        if self.capabilities.is_empty() {
            return Ok(());
        }
        let parameters: Vec<_> = carried.parameters.iter().collect();
        let view = AuthorizationView::new(&validated.client, &validated.wishes.scope, &parameters);
        for capability in &self.capabilities {
            capability.check_authorization(&view, ServerView::new(&self.server)).await?;
        }
        Ok(())
    }

    /// Returns the client that the request names (RFC 6749 §4.1.1).
    async fn client(&self, id: &str) -> Result<Arc<Client>, Failure> {
        let found = if is_client_id(id) { self.server.find_client(id).await? } else { None };
        let client = found.ok_or_else(|| Failure::from(Refusal::UnregisteredClient).presenting(Some(id)))?;
        // A critical member that this version does not enforce may restrict redirects.
        match Error::check_enforced(client.parts().unenforced_member()) {
            Ok(()) => Ok(client),
            Err(error) => Err(Failure::page(Named::Claimed(client), error)),
        }
    }

    /// Reports a refusal to the observer and converts it into a response.
    fn refuse(&self, failure: Failure, visitor: &Visitor, now: OffsetDateTime) -> AuthorizationError {
        let Visitor { peer, languages } = visitor;
        let peer = *peer;
        match failure {
            Failure::Page(page) => {
                let FailurePage { client, error, presented, return_target, is_our_form } = *page;
                self.observe_refusal(client.client_id(), &error, peer, now);
                let of = PageOf {
                    client: client.for_page(),
                    presented: presented.as_deref(),
                    return_target: return_target.as_deref(),
                    cause: is_our_form.then_some(ErrorCause::OldPage),
                };
                let page = self.pages.show_error(&error, languages, of);
                AuthorizationError::new(error, page, return_target)
            }
            Failure::Redirect(refused) => {
                let (client, route, error) = *refused;
                self.observe_refusal(Some(client.id()), &error, peer, now);
                let response =
                    self.respond_with_error(&client, &route, &error, languages, self.asks_before_redirecting(&client));
                AuthorizationError::new(error, response, None)
            }
        }
    }

    /// Sends an event to the observer. A stale form has a separate event, because neither the user nor the client made
    /// a mistake.
    fn observe_refusal(&self, client_id: Option<&ClientId>, error: &Error, peer: Option<IpAddr>, now: OffsetDateTime) {
        let kind = if error.refusal().is_some_and(Refusal::is_stale) {
            EventKind::AuthorizationStale { client_id, error }
        } else {
            EventKind::AuthorizationRefused { client_id, error }
        };
        self.server.observe_from(peer, now, kind);
    }

    /// Sends an error to the client by redirect, or shows it on a page if that is impossible.
    fn respond_with_error(
        &self,
        client: &Client,
        route: &Route,
        error: &Error,
        languages: &Languages,
        ask_first: bool,
    ) -> Response {
        let Some(host) = route.target.host() else {
            return self.pages.show_error(error, languages, PageOf::client(client));
        };
        let location = response::error_location(route, error, &self.server.encoded_issuer);
        if !ask_first {
            return Response::see_other(location);
        }
        self.pages.confirm_redirect(error, client, languages, &location, host)
    }

    /// Returns whether to ask the user before an error redirects the browser to this client (RFC 9700 §4.11.2). It
    /// applies while the user has done nothing yet.
    fn asks_before_redirecting(&self, client: &Client) -> bool {
        let always = self.server.policy.error_redirects == ErrorRedirects::AskFirst;
        always || client.registered_by() != RegisteredBy::Administrator
    }
}

impl std::fmt::Debug for AuthorizationEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizationEndpoint").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Returns the response mode for errors: that of a successful response, as far as it can be determined.
fn error_response_mode(params: &Params<'_>) -> ResponseMode {
    let wants_token = matches!(params.get("response_type"), Ok(Some("token")));
    match response_mode(params) {
        Ok(Some(ResponseMode::Fragment)) => ResponseMode::Fragment,
        _ if wants_token => ResponseMode::Fragment,
        _ => ResponseMode::Query,
    }
}

/// Returns the `state` if it is valid. It is sent back with errors, too (RFC 6749 §4.1.2.1).
fn valid_state(params: &Params<'_>, policy: &Policy) -> Option<Box<str>> {
    let state = params.get("state").ok().flatten()?;
    let is_valid = state.len() <= policy.max_state && is_printable(state);
    is_valid.then(|| state.into())
}

/// Refuses an invalid `state`. The route contains only a valid one.
fn check_state(params: &Params<'_>, route: &Route) -> Result<(), Refusal> {
    match params.get("state")? {
        Some(_) if route.state.is_none() => Err(Refusal::MalformedParameter("state")),
        _ => Ok(()),
    }
}

/// Reads `response_mode` (OAuth 2.0 Multiple Response Type Encoding Practices §2.1).
fn response_mode(params: &Params<'_>) -> Result<Option<ResponseMode>, Refusal> {
    match params.get("response_mode")? {
        None => Ok(None),
        Some("query") => Ok(Some(ResponseMode::Query)),
        Some("fragment") => Ok(Some(ResponseMode::Fragment)),
        Some(_) => Err(Refusal::UnsupportedResponseMode),
    }
}

/// Refuses a token in a query, because servers log queries and browsers send them on in `Referer`.
fn check_response_mode(response_type: ResponseType, asked: Option<ResponseMode>) -> Result<(), Refusal> {
    match (response_type, asked) {
        (ResponseType::Token, Some(ResponseMode::Query)) => Err(Refusal::UnsupportedResponseMode),
        _ => Ok(()),
    }
}

/// Reads `response_type`: `code` or `token` (RFC 6749 §3.1.1). The whole value is compared, so a list of types is
/// refused.
fn response_type(params: &Params<'_>, client: &Client, policy: &Policy) -> Result<ResponseType, Refusal> {
    let (response_type, grant_type) = match params.require("response_type")? {
        "code" => (ResponseType::Code, GrantType::AUTHORIZATION_CODE),
        "token" if policy.allowed_dangers().allow_implicit_grant => (ResponseType::Token, GrantType::IMPLICIT),
        _ => return Err(Refusal::UnsupportedResponseType),
    };
    if client.allows_grant_type(grant_type) { Ok(response_type) } else { Err(Refusal::ResponseTypeNotAllowed) }
}

/// Refuses the out-of-band redirect for a token: no page shows a token to copy.
fn reject_token_out_of_band(route: &Route, response_type: ResponseType) -> Result<(), Refusal> {
    let impossible = route.target.is_out_of_band() && response_type == ResponseType::Token;
    if impossible { Err(Refusal::OutOfBandToken) } else { Ok(()) }
}

/// Reads the PKCE challenge (RFC 7636 §4.3, §4.4.1). `response_type=token` does not require one, because it would
/// protect nothing; a challenge that is present is checked.
fn challenge(
    params: &Params<'_>,
    client: &Client,
    response_type: ResponseType,
    policy: &Policy,
) -> Result<Option<CodeChallenge>, Refusal> {
    let dangers = policy.allowed_dangers();
    let plain_allowed = dangers.allow_plain_pkce && client.may_use_plain_pkce();
    let (value, method) = (params.get("code_challenge")?, params.get("code_challenge_method")?);
    let challenge = CodeChallenge::read(value, method, plain_allowed)?;
    let may_be_missing = response_type == ResponseType::Token || dangers.pkce_optional && client.is_pkce_optional();
    if challenge.is_none() && !may_be_missing { Err(Refusal::MissingCodeChallenge) } else { Ok(challenge) }
}
