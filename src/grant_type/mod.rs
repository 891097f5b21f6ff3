//! Grant types: how a request at the token endpoint becomes a [`Decision`].
//!
//! The built-in ones and those a host adds (RFC 6749 §4.5) implement the same trait and get the same [`GrantContext`].
//! A handler decides; it neither mints tokens nor writes to the storage.

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
use crate::scope::Scope;
use crate::secret::{Secret, SingleUse, Token};
use crate::server_context::ServerContext;

/// Handles one grant type at the token endpoint.
///
/// By the time [`decide`](Self::decide) is called the request is well-formed, its client is authenticated and registered
/// for the grant type. Before the decision is carried out, the server asks the authenticator for the
/// [status](crate::Authenticator::subject_status) of the subject, and the [`TokenCustomizer`](crate::TokenCustomizer) for its changes.
/// It can still be refused then, so `decide` should do nothing but read. What can be used once, such as a voucher, goes into the
/// decision: see [`OpenGrant::once`].
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write asynchronous methods with the
/// signature that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `GrantHandler` turns a token request into a `Decision`")]
pub trait GrantHandler: Send + Sync {
    /// The grant type it handles; an extension is named by an absolute URI.
    fn grant_type(&self) -> &GrantType;

    /// The parameters it reads besides `grant_type`, `scope` and those of client authentication. A request that repeats
    /// one of them is refused before anything else happens, unless it is `resource` or `audience` (RFC 8707 §2, RFC 8693 §2.1).
    fn parameters(&self) -> &'static [&'static str];

    /// Decides what the request is to get.
    ///
    /// ```text
    /// async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error>
    /// ```
    ///
    /// # Errors
    /// Why it gets nothing. [`Error::refused`] makes an error with a code and a text of the extension's own.
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

/// The outcome of [`GrantHandler::decide`]; the token endpoint carries it out.
#[derive(Debug)]
#[must_use = "a decision does nothing until it is returned"]
pub struct Decision(pub(crate) Order);

impl Decision {
    /// Opens a new grant and issues its first tokens.
    pub fn open(order: OpenGrant) -> Self {
        Self(Order::Open(Box::new(order)))
    }
}

/// What the token endpoint does for a decision. Only the built-in grant types redeem the server's own tokens.
#[derive(Debug)]
pub(crate) enum Order {
    /// Open a new grant. Boxed, to keep the futures that it passes through small.
    Open(Box<OpenGrant>),
    /// Redeem a code or refresh token of an existing grant.
    Redeem(Box<RedeemToken>),
    /// Give the answer to a refresh again.
    Repeat(RepeatRefresh),
    /// A code was redeemed before, but so recently that the client seems to have lost the answer: refuse with `invalid_grant`.
    CodeRepeated(Arc<Grant>),
    /// The token was spent before and the client has proven possession: revoke its grant and refuse with `invalid_grant`.
    Replayed(Replayed),
}

/// A proven replay of a spent token.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) grant: Arc<Grant>,
    pub(crate) refusal: Refusal,
}

impl Replayed {
    /// Only the client that the code or refresh token was issued to, having proven every binding, may cause this.
    pub(crate) fn new<K: SingleUse>(presented: &VerifiedToken<K>) -> Self {
        let refusal = match K::KIND {
            TokenKind::AuthorizationCode => Refusal::CodeReplayed,
            _ => Refusal::RefreshTokenReused,
        };
        Self { grant: Arc::clone(presented.grant()), refusal }
    }
}

/// What a [`GrantHandler`] decides upon.
#[derive(Debug)]
pub struct GrantContext<'a> {
    pub(crate) server: &'a ServerContext,
    pub(crate) client: &'a AuthenticatedClient,
    pub(crate) params: &'a Params<'a>,
    pub(crate) now: OffsetDateTime,
    pub(crate) request: RequestContext<'a>,
}

impl GrantContext<'_> {
    /// The authenticated client.
    #[must_use]
    pub const fn client(&self) -> &AuthenticatedClient {
        self.client
    }

    /// The parameters of the request.
    #[must_use]
    pub const fn params(&self) -> &Params<'_> {
        self.params
    }

    /// The time of the request.
    #[must_use]
    pub const fn now(&self) -> OffsetDateTime {
        self.now
    }

    /// The peer, if the host vouched for one.
    #[must_use]
    pub const fn peer(&self) -> Option<IpAddr> {
        self.request.peer()
    }

    /// What is known of the request besides its parameters: its headers and the certificate of the client, for a proof that is not a
    /// parameter.
    #[must_use]
    pub const fn request(&self) -> RequestContext<'_> {
        self.request
    }

    /// The server's policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.server.policy
    }

    /// The host's authenticator.
    #[must_use]
    pub fn authenticator(&self) -> &dyn Authenticator {
        self.server.authenticator.as_deref().unwrap_or(&ClientSecrets)
    }

    /// The scope that the client may have of what it asked for, or its default (RFC 6749 §3.3), if a user has consented or the grant
    /// comes from another authority. See [`Client::allowed_scope`](crate::Client::allowed_scope).
    ///
    /// # Errors
    /// It is malformed, unknown, not the client's to ask for, or missing without a default.
    pub fn scope(&self) -> Result<Scope, Refusal> {
        self.server.scope_for(self.client, self.params.get("scope")?)
    }

    /// The same for a client that acts on its own authority, without a user. See [`Client::own_scope`](crate::Client::own_scope).
    ///
    /// # Errors
    /// It is malformed, unknown, beyond the client's own authority, or missing without a default.
    pub fn own_scope(&self) -> Result<Scope, Refusal> {
        self.server.own_scope_for(self.client, self.params.get("scope")?)
    }

    /// Finds a token. It may be spent, expired or revoked, and another client's.
    ///
    /// # Errors
    /// There is no such token of this kind, or the storage failed.
    pub async fn find<K: Token>(&self, token: Secret<K>) -> Result<PresentedToken<K>, Error> {
        Ok(find_presented(self.server, token).await?.ok_or(Refusal::UnknownToken)?)
    }
}
