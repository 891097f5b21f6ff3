//! The introspection endpoint (RFC 7662).

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::client::Client;
use crate::client::auth::{AuthenticatedClient, PARAMETERS_ABOUT_A_TOKEN, authenticate};
use crate::client::request::{ClientRequest, endpoint};
use crate::error::{Error, Refusal};
use crate::event::EventKind;
use crate::http::{Request, Response};
use crate::lookup::find_any;
use crate::record::{Grant, StoredToken, TokenKind};
use crate::server_context::ServerContext;
use crate::storage::Found;
use crate::token::refuse;

/// A request at the introspection endpoint (RFC 7662 §2.1), before anything was checked.
///
/// ```
/// use grantor::{ClientSecret, IntrospectionRequest};
///
/// let secret = ClientSecret::new("s3cr3t");
/// let request = IntrospectionRequest::of("mF_9.B5f-4.1JqM").client_secret_basic("my-api", &secret);
/// ```
pub type IntrospectionRequest<'a> = ClientRequest<'a, endpoint::Introspection>;

impl<'a> IntrospectionRequest<'a> {
    /// Asks about a token of whatever kind.
    pub fn of(token: &'a str) -> Self {
        Self::empty().parameter("token", token)
    }
}

/// What a caller is told about a token.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "RFC 7662 §2.2: a token is active or it is not")]
pub enum Introspection {
    /// It is unknown, expired, revoked, spent, a code, or none of the caller's business, in the library's eyes or the host's:
    /// which of them is not said.
    Inactive,
    /// It is good for this caller.
    Active(Box<ActiveToken>),
}

/// A live token with its grant.
#[non_exhaustive]
pub struct ActiveToken {
    /// Its record.
    pub token: Arc<StoredToken>,
    /// Its grant.
    pub grant: Arc<Grant>,
    /// Members that the host added; see [`Builder::introspection`](crate::Builder::introspection).
    pub extra: Map<String, Value>,
}

impl fmt::Debug for ActiveToken {
    /// Without the host's members, which may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveToken").field("token", &self.token).field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// What the host adds to what a caller is told about a live token; `None` if the token is none of the caller's business. A
/// member that the library sets is not replaced.
pub(crate) type IntrospectionHook = dyn Fn(&Client, &StoredToken, &Grant) -> Option<Map<String, Value>> + Send + Sync;

/// Serves introspection requests.
pub(crate) struct IntrospectionEndpoint {
    server: Arc<ServerContext>,
    hook: Option<Box<IntrospectionHook>>,
}

impl IntrospectionEndpoint {
    pub(crate) fn new(server: Arc<ServerContext>, hook: Option<Box<IntrospectionHook>>) -> Self {
        Self { server, hook }
    }

    /// The HTTP form.
    pub(crate) async fn respond(&self, request: &Request) -> Response {
        let server = &self.server;
        let result = match IntrospectionRequest::read(request, server.policy.max_body, &PARAMETERS_ABOUT_A_TOKEN, false)
        {
            Ok(request) => self.introspect(&request).await,
            Err(refusal) => {
                let error = refusal.into();
                server.observe(server.now(), EventKind::IntrospectionRefused { client_id: None, error: &error });
                Err(error)
            }
        };
        match result {
            Ok(introspection) => Response::json(200, introspection.to_json(&server.issuer)),
            Err(error) => refuse(&error, &server.issuer),
        }
    }

    /// The typed form.
    pub(crate) async fn introspect(&self, request: &IntrospectionRequest<'_>) -> Result<Introspection, Error> {
        let now = self.server.now();
        let mut caller = None;
        let result = self.answer(request, now, &mut caller).await;
        if let Err(error) = &result {
            let client_id = caller.as_deref().map(Client::id);
            self.server.observe(now, EventKind::IntrospectionRefused { client_id, error });
        }
        result
    }

    /// The caller comes before the token, so that the endpoint can't be used to try tokens out (RFC 7662 §4).
    async fn answer(
        &self,
        request: &IntrospectionRequest<'_>,
        now: OffsetDateTime,
        caller: &mut Option<AuthenticatedClient>,
    ) -> Result<Introspection, Error> {
        request.params.check(&PARAMETERS_ABOUT_A_TOKEN)?;
        let caller = caller.insert(authenticate(&self.server, request, now).await?);
        Error::check_enforced(caller.parts().unenforced_member())?;
        // An identifier proves nothing, so there is nothing it could be entitled to.
        if !caller.is_confidential() {
            return Err(Refusal::IntrospectionNotAllowed.into());
        }
        let introspection = self.inspect(caller, request.params.require("token")?, now).await?;
        let (client_id, grant) = (caller.id(), introspection.active().map(|active| &*active.grant));
        self.server.observe(now, EventKind::TokenIntrospected { client_id, grant });
        Ok(introspection)
    }

    /// The hint is not looked at: every token is found by one look-up, whatever it is.
    async fn inspect(&self, caller: &Client, token: &str, now: OffsetDateTime) -> Result<Introspection, Error> {
        let Some(Found { token, grant }) = find_any(&self.server, token).await? else {
            return Ok(Introspection::Inactive);
        };
        let is_usable = is_live(&token, &grant, now) && token.unenforced_member(&grant).is_none();
        if !is_usable || !is_entitled(caller, &token, &grant) {
            return Ok(Introspection::Inactive);
        }
        let extra = match &self.hook {
            Some(hook) => hook(caller, &token, &grant),
            None => Some(Map::new()),
        };
        Ok(match extra {
            Some(extra) => Introspection::Active(Box::new(ActiveToken { token, grant, extra })),
            None => Introspection::Inactive,
        })
    }
}

impl fmt::Debug for IntrospectionEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntrospectionEndpoint")
    }
}

fn is_live(token: &StoredToken, grant: &Grant, now: OffsetDateTime) -> bool {
    token.spent.is_none() && token.is_live(grant, now)
}

/// A resource server is told about access tokens: to take a refresh token for one would be a mistake. Other clients are
/// told about their own tokens.
fn is_entitled(caller: &Client, token: &StoredToken, grant: &Grant) -> bool {
    grant.client_id == *caller.id() || caller.is_resource_server() && token.kind == TokenKind::AccessToken
}

impl Introspection {
    /// The token, if it is active.
    #[must_use]
    pub fn active(&self) -> Option<&ActiveToken> {
        match self {
            Self::Inactive => None,
            Self::Active(token) => Some(token),
        }
    }

    /// The JSON document of RFC 7662 §2.2.
    fn to_json(&self, issuer: &str) -> Vec<u8> {
        let Self::Active(active) = self else { return br#"{"active":false}"#.to_vec() };
        let ActiveToken { token, grant, extra } = &**active;
        let mut members = extra.clone();
        let mut insert = |name: &str, value: Value| members.insert(name.to_owned(), value);
        insert("active", true.into());
        insert("scope", token.scope.as_str().into());
        insert("client_id", grant.client_id.as_str().into());
        insert("iss", issuer.into());
        insert("iat", token.issued_at.unix_timestamp().into());
        insert("exp", token.expires_at.unix_timestamp().into());
        if let Some(subject) = &grant.subject {
            insert("sub", subject.as_str().into());
        } else {
            // No member of the host's may make a machine look like a user (RFC 9700 §4.15).
            members.remove("sub");
            members.remove("username");
        }
        if token.kind == TokenKind::AccessToken {
            members.insert("token_type".to_owned(), grant.token_type().into());
        } else {
            // Nor may one make a refresh token look like a token for an API.
            members.remove("token_type");
        }
        Value::Object(members).to_string().into_bytes()
    }
}
