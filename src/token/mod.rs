//! The token endpoint (RFC 6749 §3.2).

mod request;
mod response;

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

pub use self::request::TokenRequest;
pub(crate) use self::response::refuse;
use crate::client::auth::{self, AuthenticatedClient, Caller};
use crate::error::{Error, Refusal, StorageError};
use crate::event::EventKind;
use crate::grant_type::{
    AuthorizationCodeGrant, ClientCredentialsGrant, Decision, GrantContext, GrantHandler, Order, PasswordGrant,
    RefreshTokenGrant, Replayed,
};
use crate::http::{Request, Response};
pub use crate::issue::TokenResponse;
use crate::issue::{self, Issued, Repetition};
use crate::policy::RefreshTokens;
use crate::record::GrantType;
use crate::server_context::ServerContext;

/// The maximum number of decisions about one request. A handler decides again after it lost a race for a token, because
/// the storage then shows the token as spent.
const MAX_DECISIONS: usize = 2;

/// The token endpoint with its grant handlers.
pub(crate) struct TokenEndpoint {
    server: Arc<ServerContext>,
    handlers: Vec<Box<dyn GrantHandler>>,
    /// All known parameters, which may occur only once.
    known_parameters: Vec<&'static str>,
}

/// The facts about a request that are known so far, for the observer.
#[derive(Default)]
struct Progress<'a> {
    caller: Caller,
    grant_type: Option<&'a str>,
}

impl TokenEndpoint {
    /// Returns an endpoint with the built-in handlers that the policy enables, and with the handlers of the host app.
    pub(crate) fn new(server: Arc<ServerContext>, issues_codes: bool, extensions: Vec<Box<dyn GrantHandler>>) -> Self {
        let mut handlers: Vec<Box<dyn GrantHandler>> = Vec::new();
        if issues_codes {
            handlers.push(Box::new(AuthorizationCodeGrant));
        }
        handlers.push(Box::new(ClientCredentialsGrant));
        if server.policy.refresh_tokens != RefreshTokens::Never {
            handlers.push(Box::new(RefreshTokenGrant));
        }
        if server.policy.allowed_dangers().allow_password_grant {
            handlers.push(Box::new(PasswordGrant));
        }
        handlers.extend(extensions);

        let mut known_parameters = vec!["grant_type", "scope", "resource"];
        known_parameters.extend(auth::PARAMETERS);
        known_parameters.extend(handlers.iter().flat_map(|handler| handler.parameters()));
        known_parameters.sort_unstable();
        known_parameters.dedup();
        Self { server, handlers, known_parameters }
    }

    /// Returns the grant types of the endpoint.
    pub(crate) fn grant_types(&self) -> impl Iterator<Item = &GrantType> {
        self.handlers.iter().map(|handler| handler.grant_type())
    }

    /// Returns whether the endpoint knows a parameter of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.known_parameters.contains(&name)
    }

    /// Serves an HTTP request.
    pub(crate) async fn respond(&self, request: &Request) -> Response {
        let result = match &self.read(request) {
            Ok(request) => self.issue(request).await,
            Err(refusal) => {
                let error = Error::from(*refusal);
                let refused = EventKind::TokenRefused {
                    client_id: None,
                    presented_client_id: None,
                    grant_type: None,
                    error: &error,
                };
                self.server.observe_from(request.peer(), self.server.now(), refused);
                Err(error)
            }
        };
        match result {
            Ok(response) => response.into_response(),
            Err(error) => refuse(&error, &self.server.issuer),
        }
    }

    fn read<'a>(&self, request: &'a Request) -> Result<TokenRequest<'a>, Refusal> {
        let policy = &self.server.policy;
        let query_allowed = policy.allowed_dangers().allow_token_parameters_in_query;
        TokenRequest::read(request, policy.max_body, &self.known_parameters, query_allowed)
    }

    /// Serves a typed request.
    pub(crate) async fn issue(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, Error> {
        let now = self.server.now();
        let mut progress = Progress::default();
        let result = self.answer(request, now, &mut progress).await;
        if let Err(error) = &result {
            let Progress { caller, grant_type } = &progress;
            let refused = EventKind::TokenRefused {
                client_id: caller.client_id(),
                presented_client_id: caller.presented_client_id(),
                grant_type: *grant_type,
                error,
            };
            self.server.observe_from(request.context.peer(), now, refused);
        }
        result.map(|issued| issued.response)
    }

    /// Checks a request. The order matters: the first fault decides the error response.
    async fn answer<'a>(
        &'a self,
        request: &TokenRequest<'_>,
        now: OffsetDateTime,
        progress: &mut Progress<'a>,
    ) -> Result<Issued, Error> {
        request.params.check(&self.known_parameters)?;
        let grant_type = request.params.require("grant_type")?;
        let client = progress.caller.authenticate(&self.server, request, now).await?;
        may_use_query(client, request.from_query)?;
        let handler = self.handler(grant_type)?;
        progress.grant_type = Some(handler.grant_type().as_str());
        may_use_grant_type(client, handler)?;
        self.server.tell_of_unoffered_scopes(client, now);
        let (server, params, request) = (&*self.server, &request.params, request.context);
        // Before the handler looks at a credential, so that the error says nothing about it.
        let resource = server.resources.named(&params.get_all("resource")?)?;
        self.carry_out(handler, GrantContext { server, client, params, resource, now, request }).await
    }

    /// Lets the handler decide, and carries out its decision.
    async fn carry_out(&self, handler: &dyn GrantHandler, mut context: GrantContext<'_>) -> Result<Issued, Error> {
        let (server, client, peer) = (context.server, context.client, context.peer());
        let grant_type = handler.grant_type().as_str();
        for _ in 0..MAX_DECISIONS {
            let Decision(order) = handler.decide(&context).await?;
            let now = context.now;
            let issued = match order {
                Order::Open(order) => {
                    let order = Box::new(order.at(server, context.resource.as_ref())?);
                    issue::open_grant(server, client, handler.grant_type(), order, peer, now).await?
                }
                Order::Redeem(order) => {
                    let Some(issued) = issue::redeem(server, client, order, peer, now).await? else {
                        // The redemption that won may have been slow, so it can be much later than this request.
                        // Measured from an earlier time, it would look like a clock that is ahead.
                        context.now = now.max(server.now());
                        continue;
                    };
                    issued
                }
                Order::Repeat(order) => {
                    let repeated = match issue::repeat(server, client, &order, peer, now).await? {
                        Repetition::Answered(repeated) => *repeated,
                        Repetition::Theft => return Err(self.end(&Replayed::new(&order.presented), peer, now).await),
                    };
                    let (count, from) = (repeated.count, repeated.from);
                    let event = EventKind::RefreshRepeated { grant: &repeated.issued.grant, count, from };
                    server.observe_from(peer, now, event);
                    return Ok(repeated.issued);
                }
                Order::CodeRepeated(grant) => {
                    server.observe_from(peer, now, EventKind::CodeRepeated { grant: &grant });
                    return Err(Refusal::CodeRepeated.into());
                }
                Order::Replayed(replayed) => return Err(self.end(&replayed, peer, now).await),
            };
            let (grant, scope) = (&issued.grant, &issued.response.scope);
            let refresh_token = issued.response.refresh_token.is_some();
            server.observe_from(peer, now, EventKind::TokensIssued { grant, grant_type, scope, refresh_token });
            return Ok(issued);
        }
        Err(StorageError::new("the storage reported a token as spent, but then returned it as unspent").into())
    }

    /// Revokes the grant of a token that two parties hold. Returns the error for the party that presented it.
    async fn end(&self, replayed: &Replayed, peer: Option<IpAddr>, now: OffsetDateTime) -> Error {
        let grant = &*replayed.grant;
        if let Err(error) = issue::revoke_grant(&self.server, grant, now).await {
            return error;
        }
        let event = match replayed.refusal {
            Refusal::CodeReplayed => EventKind::CodeReplayed { grant },
            _ => EventKind::RefreshTokenReused { grant },
        };
        self.server.observe_from(peer, now, event);
        replayed.refusal.into()
    }

    fn handler(&self, grant_type: &str) -> Result<&dyn GrantHandler, Refusal> {
        let mut handlers = self.handlers.iter().map(|handler| &**handler);
        handlers.find(|handler| handler.grant_type().as_str() == grant_type).ok_or(Refusal::UnsupportedGrantType)
    }
}

impl std::fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.grant_types()).finish()
    }
}

fn may_use_grant_type(client: &AuthenticatedClient, handler: &dyn GrantHandler) -> Result<(), Refusal> {
    let allowed = client.allows_grant_type(handler.grant_type().as_str());
    if allowed { Ok(()) } else { Err(Refusal::GrantTypeNotAllowed) }
}

fn may_use_query(client: &AuthenticatedClient, from_query: Option<&'static str>) -> Result<(), Refusal> {
    match from_query {
        Some(name) if !client.may_use_query() => Err(Refusal::ParameterInQuery(name)),
        _ => Ok(()),
    }
}
