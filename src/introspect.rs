//! The introspection endpoint (RFC 7662).

#[cfg(feature = "jwt")]
mod jwt;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::client::Client;
use crate::client::auth::{Caller, PARAMETERS_ABOUT_A_TOKEN};
use crate::client::request::{ClientRequest, endpoint};
use crate::customizer::{Inspection, check_members, drop_members};
use crate::error::{Error, Refusal};
use crate::event::EventKind;
use crate::http::{Request, Response};
use crate::lookup::find_access_or_refresh_token;
use crate::record::{Grant, StoredToken, TokenKind};
use crate::server_context::ServerContext;
use crate::storage::Found;
use crate::subject_status::must_be_active;
use crate::token::refuse;

/// A request to the introspection endpoint (RFC 7662 §2.1), not checked yet.
///
/// ```
/// use grantor::{ClientSecret, IntrospectionRequest};
///
/// let secret = ClientSecret::new("s3cr3t");
/// let request = IntrospectionRequest::of("mF_9.B5f-4.1JqM").client_secret_basic("my-api", &secret);
/// ```
pub type IntrospectionRequest<'a> = ClientRequest<'a, endpoint::Introspection>;

impl<'a> IntrospectionRequest<'a> {
    /// Returns a request about an access token or a refresh token.
    pub fn of(token: &'a str) -> Self {
        Self::empty().parameter("token", token)
    }
}

/// The response to an introspection request (RFC 7662 §2.2).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "RFC 7662 §2.2: a token is active or it is not")]
pub enum Introspection {
    /// The token is unknown, expired, revoked, redeemed or a code. Or this caller may not learn about it, by the rules
    /// of the library or of the token customizer. The caller does not learn which.
    Inactive,
    /// The token is live, and this caller may learn about it.
    Active(Box<ActiveToken>),
}

/// A live token with its grant.
#[non_exhaustive]
pub struct ActiveToken {
    /// The record of the token.
    pub token: Arc<StoredToken>,
    /// The grant of the token.
    pub grant: Arc<Grant>,
    /// Members that the host app added: see [`TokenCustomizer::introspection`](crate::TokenCustomizer::introspection).
    pub extra: Map<String, Value>,
    server: Arc<ServerContext>,
}

impl fmt::Debug for ActiveToken {
    /// Omits the members of the host app, which may be sensitive.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveToken").field("token", &self.token).field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// Serves introspection requests.
pub(crate) struct IntrospectionEndpoint {
    server: Arc<ServerContext>,
}

impl IntrospectionEndpoint {
    pub(crate) const fn new(server: Arc<ServerContext>) -> Self {
        Self { server }
    }

    /// The HTTP form.
    pub(crate) async fn respond(&self, request: &Request) -> Response {
        let server = &self.server;
        let now = server.now();
        let mut caller = Caller::default();
        let result = match IntrospectionRequest::read(request, server.policy.max_body, &PARAMETERS_ABOUT_A_TOKEN, false)
        {
            Ok(request) => self.introspect_for(&request, now, &mut caller).await,
            Err(refusal) => {
                let error = refusal.into();
                let refused =
                    EventKind::IntrospectionRefused { client_id: None, presented_client_id: None, error: &error };
                server.observe_from(request.peer(), now, refused);
                Err(error)
            }
        };
        let response = match result {
            #[cfg(feature = "jwt")]
            Ok(introspection) if jwt::is_asked_for(server, request) => match caller.client() {
                Some(caller) => {
                    let signed = jwt::respond(server, &introspection, caller, now).await;
                    if let Err(error) = &signed {
                        let client_id = Some(caller.id());
                        let refused = EventKind::IntrospectionRefused { client_id, presented_client_id: None, error };
                        server.observe_from(request.peer(), now, refused);
                    }
                    signed
                }
                // A caller that has not authenticated learns nothing.
                None => Err(Refusal::IntrospectionNotAllowed.into()),
            },
            Ok(introspection) => Ok(Response::json(200, introspection.to_json())),
            Err(error) => Err(error),
        };
        response.unwrap_or_else(|error| refuse(&error, &server.issuer))
    }

    /// The typed form.
    pub(crate) async fn introspect(&self, request: &IntrospectionRequest<'_>) -> Result<Introspection, Error> {
        self.introspect_for(request, self.server.now(), &mut Caller::default()).await
    }

    /// Writes to `caller` the client of the request, as far as it is known.
    async fn introspect_for(
        &self,
        request: &IntrospectionRequest<'_>,
        now: OffsetDateTime,
        caller: &mut Caller,
    ) -> Result<Introspection, Error> {
        let result = self.answer(request, now, caller).await;
        if let Err(error) = &result {
            let (client_id, presented_client_id) = (caller.client_id(), caller.presented_client_id());
            let refused = EventKind::IntrospectionRefused { client_id, presented_client_id, error };
            self.server.observe_from(request.context.peer(), now, refused);
        }
        result
    }

    /// Authenticates the caller before looking up the token, so that attackers can't use the endpoint to try tokens
    /// (RFC 7662 §4).
    async fn answer(
        &self,
        request: &IntrospectionRequest<'_>,
        now: OffsetDateTime,
        caller: &mut Caller,
    ) -> Result<Introspection, Error> {
        request.params.check(&PARAMETERS_ABOUT_A_TOKEN)?;
        let caller = caller.authenticate(&self.server, request, now).await?;
        Error::check_enforced(caller.parts().unenforced_member())?;
        // A bare identifier proves nothing, so it gives no right to introspect.
        if !caller.is_confidential() {
            return Err(Refusal::IntrospectionNotAllowed.into());
        }
        let peer = request.context.peer();
        let introspection = self.inspect(caller, request.params.require("token")?, peer, now).await?;
        let (client_id, grant) = (caller.id(), introspection.active().map(|active| &*active.grant));
        self.server.observe_from(peer, now, EventKind::TokenIntrospected { client_id, grant });
        Ok(introspection)
    }

    /// Ignores `token_type_hint`, because one look-up finds a token of any kind.
    async fn inspect(
        &self,
        caller: &Client,
        token: &str,
        peer: Option<IpAddr>,
        now: OffsetDateTime,
    ) -> Result<Introspection, Error> {
        let Some(Found { token, grant }) = find_access_or_refresh_token(&self.server, token).await? else {
            return Ok(Introspection::Inactive);
        };
        let is_usable = is_live(&token, &grant, now) && token.unenforced_member(&grant).is_none();
        if !is_usable || !is_entitled(&self.server, caller, &token, &grant) {
            return Ok(Introspection::Inactive);
        }
        if self.server.policy.check_subject_at_use {
            match must_be_active(&self.server, grant.subject.as_ref(), peer, now).await {
                Err(Error::Refused(_)) => return Ok(Introspection::Inactive),
                checked => checked?,
            }
        }
        Ok(match self.members(&Inspection { caller, token: &token, grant: &grant, peer, now }).await? {
            Some(extra) => {
                Introspection::Active(Box::new(ActiveToken { token, grant, extra, server: Arc::clone(&self.server) }))
            }
            None => Introspection::Inactive,
        })
    }

    /// Returns the members that the token customizer adds, or `None` if the caller may not learn about the token.
    async fn members(&self, inspection: &Inspection<'_>) -> Result<Option<Map<String, Value>>, Error> {
        let Some(customizer) = &self.server.customizer else { return Ok(Some(Map::new())) };
        let Some(mut members) = customizer.introspection(inspection).await? else { return Ok(None) };
        let client_id = inspection.caller.id();
        for member in &drop_members(&mut members, |name| is_user_name_of_machine(name, inspection.grant)) {
            let dropped = EventKind::CustomizerMemberDropped { client_id, member };
            self.server.observe_from(inspection.peer, inspection.now, dropped);
        }
        check_members(&members)?;
        Ok(Some(members))
    }
}

impl fmt::Debug for IntrospectionEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntrospectionEndpoint")
    }
}

/// A machine has no user name (RFC 9700 §4.15).
fn is_user_name_of_machine(member: &str, grant: &Grant) -> bool {
    grant.subject.is_none() && member == "username"
}

fn is_live(token: &StoredToken, grant: &Grant, now: OffsetDateTime) -> bool {
    token.spent.is_none() && token.is_live(grant, now)
}

/// Returns whether a caller may learn about a token. A resource server learns about access tokens only, so that it
/// can't accept a refresh token by mistake, and only about those for its resource. Other clients learn about their own
/// tokens, and about refresh tokens only if the policy allows it.
fn is_entitled(server: &ServerContext, caller: &Client, token: &StoredToken, grant: &Grant) -> bool {
    let is_own = grant.client_id == *caller.id();
    if token.kind == TokenKind::AccessToken {
        is_own || caller.is_resource_server() && is_of_its_resource(server, caller, token)
    } else {
        is_own && server.policy.introspect_refresh_tokens
    }
}

fn is_of_its_resource(server: &ServerContext, caller: &Client, token: &StoredToken) -> bool {
    match &token.details.audience {
        // A token from before the server had resources.
        None => server.resources.all().is_empty(),
        Some(audience) => {
            let resources = &server.resources;
            resources.find(audience).is_some_and(|resource| resources.may_introspect(caller.id(), resource))
        }
    }
}

impl Introspection {
    /// Returns the token if it is active.
    #[must_use]
    pub fn active(&self) -> Option<&ActiveToken> {
        match self {
            Self::Inactive => None,
            Self::Active(token) => Some(token),
        }
    }

    /// Returns the JSON document that the endpoint sends (RFC 7662 §2.2): `{"active":false}`, or the members of an
    /// active token. A signed response has the same members. Members of the host app with
    /// [reserved](crate::customizer::RESERVED_MEMBERS) names are left out.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let Self::Active(active) = self else { return br#"{"active":false}"#.to_vec() };
        let ActiveToken { token, grant, extra, server } = &**active;
        let mut members = token.details.claims.clone();
        members.extend(extra.clone());
        // Filter the members again: the row may be from another version, and the host app can change `extra`. A member
        // must not replace one below, or make a machine look like a user (RFC 9700 §4.15) or a refresh token like an
        // access token.
        drop_members(&mut members, |name| is_user_name_of_machine(name, grant));
        let mut insert = |name: &str, value: Value| members.insert(name.to_owned(), value);
        insert("active", true.into());
        insert("scope", token.scope.as_str().into());
        insert("client_id", grant.client_id.as_str().into());
        insert("iss", server.issuer.as_str().into());
        insert("iat", token.issued_at.unix_timestamp().into());
        insert("exp", token.expires_at.unix_timestamp().into());
        if let Some(subject) = &grant.subject {
            insert("sub", subject.as_str().into());
        }
        if token.kind == TokenKind::AccessToken {
            insert("token_type", grant.token_type().into());
            if let Some(audience) = &token.details.audience {
                insert("aud", (**audience).into());
            }
        }
        Value::Object(members).to_string().into_bytes()
    }
}
