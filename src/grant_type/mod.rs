//! Grant types. A [`GrantHandler`] turns a request at the token endpoint into a [`Decision`].
//!
//! Built-in grant types and those of the host app (RFC 6749 §4.5) implement the same trait and get the same
//! [`GrantContext`]. A handler only decides. The token endpoint makes the tokens and writes to the storage.

mod authorization_code;
mod client_credentials;
mod password;
mod refresh_token;

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

pub(crate) use self::authorization_code::AuthorizationCodeGrant;
pub(crate) use self::client_credentials::ClientCredentialsGrant;
pub(crate) use self::password::PasswordGrant;
pub(crate) use self::refresh_token::RefreshTokenGrant;
use crate::authenticator::{Authenticator, ClientSecrets};
use crate::client::auth::AuthenticatedClient;
use crate::error::{Error, Refusal};
use crate::http::RequestContext;
pub use crate::issue::{OpenGrant, ResponseMembers};
use crate::issue::{RedeemToken, RepeatRefresh};
pub use crate::lookup::{LiveGrant, PresentedToken};
use crate::lookup::{VerifiedToken, find_presented};
use crate::params::Params;
use crate::policy::Policy;
use crate::record::{Grant, GrantType, TokenKind};
use crate::resource::DeclaredResource;
use crate::scope::Scope;
use crate::secret::{Secret, SingleUse, Token};
use crate::server_context::ServerContext;

/// A handler of one grant type at the token endpoint.
///
/// The server calls [`decide`](Self::decide) after it has parsed the request, authenticated the client, and checked
/// that the client is registered for the grant type.
///
/// After the decision, the server asks the authenticator for the [status](crate::Authenticator::subject_status) of the
/// subject, and the [`TokenCustomizer`](crate::TokenCustomizer) for its changes. Both can still refuse the request, so
/// `decide` should only read. Credentials that work once, such as vouchers, are part of the decision: see
/// [`OpenGrant::once`].
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write the methods
/// as `async fn` with the signatures that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `GrantHandler` turns a token request into a `Decision`")]
pub trait GrantHandler: Send + Sync {
    /// Returns the grant type that the handler serves. The name of an extension is an absolute URI.
    fn grant_type(&self) -> &GrantType;

    /// Returns the parameters that the handler reads, except `grant_type`, `scope`, `resource` and those of client
    /// authentication.
    /// A request that repeats one of them is refused before any other check. Only `resource` and `audience` may be
    /// repeated (RFC 8707 §2, RFC 8693 §2.1).
    fn parameters(&self) -> &'static [&'static str];

    /// Decides about a request.
    ///
    /// ```text
    /// async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error>
    /// ```
    ///
    /// # Errors
    /// The request is refused, or it could not be checked. [`Error::refused`] makes an error with a custom code and
    /// text.
    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error>;
}

#[async_trait]
impl<T: GrantHandler + ?Sized> GrantHandler for Arc<T> {
    fn grant_type(&self) -> &GrantType {
        (**self).grant_type()
    }

    fn parameters(&self) -> &'static [&'static str] {
        (**self).parameters()
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        (**self).decide(context).await
    }
}

/// The outcome of [`GrantHandler::decide`], which the token endpoint carries out.
#[derive(Debug)]
#[must_use = "a decision does nothing until it is returned"]
pub struct Decision(pub(crate) Order);

impl Decision {
    /// Decides to open a new grant and issue its first tokens.
    pub fn open(order: OpenGrant) -> Self {
        Self(Order::Open(Box::new(order)))
    }
}

/// The action for a decision. Only the built-in grant types can redeem tokens of the server.
#[derive(Debug)]
pub(crate) enum Order {
    /// Open a new grant. Boxed, to keep the futures that it passes through small.
    Open(Box<OpenGrant>),
    /// Redeem a code or refresh token of an existing grant.
    Redeem(Box<RedeemToken>),
    /// Repeat the response to a refresh.
    Repeat(RepeatRefresh),
    /// Refuse with `invalid_grant` and keep the grant. The code was redeemed so recently that the client has probably
    /// lost the response.
    CodeRepeated(Arc<Grant>),
    /// Revoke the grant and refuse with `invalid_grant`. The token was spent before, and the client has proven
    /// possession.
    Replayed(Replayed),
}

/// A proven replay of a spent token.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) grant: Arc<Grant>,
    pub(crate) refusal: Refusal,
}

impl Replayed {
    /// Call it only if the client that the token was issued to has proven every binding of the token.
    pub(crate) fn new<K: SingleUse>(presented: &VerifiedToken<K>) -> Self {
        let refusal = match K::KIND {
            TokenKind::AuthorizationCode => Refusal::CodeReplayed,
            _ => Refusal::RefreshTokenReused,
        };
        Self { grant: Arc::clone(presented.grant()), refusal }
    }
}

/// The request about which a [`GrantHandler`] decides.
#[derive(Debug)]
pub struct GrantContext<'a> {
    pub(crate) server: &'a ServerContext,
    pub(crate) client: &'a AuthenticatedClient,
    pub(crate) params: &'a Params<'a>,
    /// The resource that the request names.
    pub(crate) resource: Option<Arc<DeclaredResource>>,
    pub(crate) now: OffsetDateTime,
    pub(crate) request: RequestContext<'a>,
}

impl GrantContext<'_> {
    /// Returns the authenticated client.
    #[must_use]
    pub const fn client(&self) -> &AuthenticatedClient {
        self.client
    }

    /// Returns the parameters of the request.
    #[must_use]
    pub const fn params(&self) -> &Params<'_> {
        self.params
    }

    /// Returns the time of the request.
    #[must_use]
    pub const fn now(&self) -> OffsetDateTime {
        self.now
    }

    /// Returns the address of the peer, if the host app passed one.
    #[must_use]
    pub const fn peer(&self) -> Option<IpAddr> {
        self.request.peer()
    }

    /// Returns the headers of the request and the certificate of the client, for proofs that are not parameters.
    #[must_use]
    pub const fn request(&self) -> RequestContext<'_> {
        self.request
    }

    /// Returns the policy of the server.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.server.policy
    }

    /// Returns the authenticator of the host app.
    #[must_use]
    pub fn authenticator(&self) -> &dyn Authenticator {
        self.server.authenticator.as_deref().unwrap_or(&ClientSecrets)
    }

    /// Returns the requested scope or the default scope (RFC 6749 §3.3), if the client may have it with the consent of
    /// a user or another authority. See [`Client::allowed_scope`](crate::Client::allowed_scope).
    ///
    /// # Errors
    /// The scope is malformed, unknown, not allowed for the client, or missing without a default.
    pub fn scope(&self) -> Result<Scope, Refusal> {
        self.server.scope_for(self.client, self.params.get("scope")?)
    }

    /// Returns the requested scope or the default scope, if the client may have it on its own authority, without a
    /// user. See [`Client::own_scope`](crate::Client::own_scope).
    ///
    /// # Errors
    /// The scope is malformed, unknown, not allowed for the client itself, or missing without a default.
    pub fn own_scope(&self) -> Result<Scope, Refusal> {
        self.server.own_scope_for(self.client, self.params.get("scope")?)
    }

    /// Returns the identifier of the resource that the request names (RFC 8707), as it was declared. The server has
    /// checked that it has this resource. A new grant is for it, or for the default resource of the server if the
    /// request names none.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref().map(|resource| &*resource.identifier)
    }

    /// Returns the token in the storage. It may be spent, expired or revoked, or belong to another client.
    ///
    /// # Errors
    /// There is no such token of this kind, or the storage failed.
    pub async fn find<K: Token>(&self, token: Secret<K>) -> Result<PresentedToken<K>, Error> {
        Ok(find_presented(self.server, token).await?.ok_or(Refusal::UnknownToken)?)
    }
}
