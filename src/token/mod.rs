//! The token endpoint (RFC 6749 §3.2).

mod request;
mod response;

use std::ops::Deref;
use std::sync::Arc;

use time::OffsetDateTime;

pub use self::request::TokenRequest;
pub use self::response::TokenResponse;
pub(crate) use self::response::refuse;
use crate::client::Client;
use crate::client::auth::{self, AuthenticatedClient, authenticate};
use crate::error::{Error, Refusal, StorageError};
use crate::event::EventKind;
use crate::grants::{
    AuthorizationCodeGrant, ClientCredentialsGrant, Decision, GrantContext, GrantHandler, PasswordGrant,
    RefreshTokenGrant, authorization_code, client_credentials, refresh_token,
};
use crate::host::Host;
use crate::http::{Request, Response};
use crate::issue::{self, Issued};
use crate::policy::RefreshTokens;
use crate::record::GrantType;

/// Serves token requests.
pub(crate) struct TokenEndpoint {
    host: Arc<Host>,
    handlers: Vec<Handler>,
    /// Every parameter that may occur only once.
    known_parameters: Vec<&'static str>,
}

/// A grant handler. All are handlers by the same trait; the built-in ones are known by name only so that the future of their
/// decision, which the trait has to put into a box, needs none.
enum Handler {
    AuthorizationCode(AuthorizationCodeGrant),
    ClientCredentials(ClientCredentialsGrant),
    RefreshToken(RefreshTokenGrant),
    Password(PasswordGrant),
    Extension(Box<dyn GrantHandler>),
}

impl Deref for Handler {
    type Target = dyn GrantHandler;
    fn deref(&self) -> &Self::Target {
        match self {
            Self::AuthorizationCode(handler) => handler,
            Self::ClientCredentials(handler) => handler,
            Self::RefreshToken(handler) => handler,
            Self::Password(handler) => handler,
            Self::Extension(handler) => &**handler,
        }
    }
}

impl Handler {
    fn grant_type(&self) -> &GrantType {
        (**self).grant_type()
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        match self {
            Self::AuthorizationCode(_) => authorization_code::decide(context).await,
            Self::ClientCredentials(_) => client_credentials::decide(context),
            Self::RefreshToken(_) => refresh_token::decide(context).await,
            Self::Password(handler) => handler.decide(context).await,
            Self::Extension(handler) => handler.decide(context).await,
        }
    }
}

/// What has become known of a request so far, for the observer.
#[derive(Default)]
struct Progress<'a> {
    client: Option<AuthenticatedClient>,
    grant_type: Option<&'a str>,
}

impl TokenEndpoint {
    /// With the built-in handlers that the policy leaves on, and those the host added.
    pub(crate) fn new(host: Arc<Host>, extensions: Vec<Box<dyn GrantHandler>>) -> Self {
        let mut handlers = vec![
            Handler::AuthorizationCode(AuthorizationCodeGrant),
            Handler::ClientCredentials(ClientCredentialsGrant),
        ];
        if host.policy.refresh_tokens != RefreshTokens::Never {
            handlers.push(Handler::RefreshToken(RefreshTokenGrant));
        }
        if host.policy.allowed_dangers().allow_password_grant {
            handlers.push(Handler::Password(PasswordGrant));
        }
        handlers.extend(extensions.into_iter().map(Handler::Extension));

        let mut known_parameters = vec!["grant_type", "scope"];
        known_parameters.extend(auth::PARAMETERS);
        known_parameters.extend(handlers.iter().flat_map(|handler| handler.parameters()));
        known_parameters.sort_unstable();
        known_parameters.dedup();
        Self { host, handlers, known_parameters }
    }

    /// The grant types it serves.
    pub(crate) fn grant_types(&self) -> impl Iterator<Item = &GrantType> {
        self.handlers.iter().map(Handler::grant_type)
    }

    /// Whether a parameter of this name has a meaning here.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.known_parameters.contains(&name)
    }

    /// The HTTP form: reads the request, answers it, renders the answer.
    pub(crate) async fn respond(&self, request: &Request) -> Response {
        let result = match self.read(request) {
            Ok(request) => self.issue(&request).await,
            Err(refusal) => {
                let error = Error::from(refusal);
                let (client_id, grant_type) = (None, None);
                self.host.observe(self.host.now(), EventKind::TokenRefused { client_id, grant_type, error: &error });
                Err(error)
            }
        };
        match result {
            Ok(response) => response.into_response(),
            Err(error) => refuse(&error, &self.host.issuer),
        }
    }

    fn read<'a>(&self, request: &'a Request) -> Result<TokenRequest<'a>, Refusal> {
        let policy = &self.host.policy;
        let query_allowed = policy.allowed_dangers().allow_token_parameters_in_query;
        TokenRequest::read(request, policy.max_body, &self.known_parameters, query_allowed)
    }

    /// The typed form.
    pub(crate) async fn issue(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, Error> {
        let now = self.host.now();
        let mut progress = Progress::default();
        let result = self.answer(request, now, &mut progress).await;
        if let Err(error) = &result {
            let client_id = progress.client.as_deref().map(Client::id);
            let grant_type = progress.grant_type;
            self.host.observe(now, EventKind::TokenRefused { client_id, grant_type, error });
        }
        result.map(TokenResponse::from)
    }

    /// What is checked, and in which order: the first fault decides the answer.
    async fn answer<'a>(
        &'a self,
        request: &TokenRequest<'_>,
        now: OffsetDateTime,
        progress: &mut Progress<'a>,
    ) -> Result<Issued, Error> {
        request.params.check(&self.known_parameters)?;
        let grant_type = request.params.require("grant_type")?;
        let client = authenticate(&self.host, request, now).await?;
        let client = progress.client.insert(client);
        may_use_query(client, request.from_query)?;
        let handler = self.handler(grant_type)?;
        progress.grant_type = Some(handler.grant_type().as_str());
        may_use_grant_type(client, handler)?;
        let (host, params, peer) = (&*self.host, &request.params, request.peer);
        self.carry_out(handler, &GrantContext { host, client, params, now, peer }).await
    }

    /// Lets the handler decide and does what it decided. Whoever lost a race for a token decides again, now that the
    /// storage shows the token as spent.
    async fn carry_out(&self, handler: &Handler, context: &GrantContext<'_>) -> Result<Issued, Error> {
        let (host, client, now) = (context.host, context.client, context.now);
        let grant_type = handler.grant_type().as_str();
        for _ in 0..2 {
            let issued = match handler.decide(context).await? {
                Decision::Open(order) => issue::open_grant(host, client, handler.grant_type(), order, now).await?,
                Decision::Exchange(order) => match issue::exchange(host, client, order, now).await? {
                    Some(issued) => issued,
                    None => continue,
                },
                Decision::Repeat(order) => {
                    let issued = issue::repeat(host, order, now).await?;
                    host.observe(now, EventKind::RefreshRepeated { grant: &issued.grant });
                    return Ok(issued);
                }
                Decision::Replayed(replayed) => {
                    issue::revoke_grant(host, &replayed.grant, now).await?;
                    let grant = &*replayed.grant;
                    host.observe(
                        now,
                        match replayed.refusal {
                            Refusal::CodeReplayed => EventKind::CodeReplayed { grant },
                            _ => EventKind::RefreshTokenReused { grant },
                        },
                    );
                    return Err(replayed.refusal.into());
                }
            };
            let (grant, scope, refresh_token) = (&issued.grant, &issued.scope, issued.refresh_token.is_some());
            host.observe(now, EventKind::TokensIssued { grant, grant_type, scope, refresh_token });
            return Ok(issued);
        }
        Err(match handler {
            Handler::Extension(_) => {
                Error::Extension("a grant handler ordered a token to be spent that was spent before")
            }
            _ => StorageError::new("a token that was already spent was then found unspent").into(),
        })
    }

    fn handler(&self, grant_type: &str) -> Result<&Handler, Refusal> {
        self.handlers
            .iter()
            .find(|handler| handler.grant_type().as_str() == grant_type)
            .ok_or(Refusal::UnsupportedGrantType)
    }
}

impl std::fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.grant_types()).finish()
    }
}

fn may_use_grant_type(client: &AuthenticatedClient, handler: &Handler) -> Result<(), Refusal> {
    let allowed = client.allows_grant_type(handler.grant_type().as_str());
    if allowed { Ok(()) } else { Err(Refusal::GrantTypeNotAllowed) }
}

fn may_use_query(client: &AuthenticatedClient, from_query: Option<&'static str>) -> Result<(), Refusal> {
    match from_query {
        Some(name) if !client.may_use_query() => Err(Refusal::ParameterInQuery(name)),
        _ => Ok(()),
    }
}
