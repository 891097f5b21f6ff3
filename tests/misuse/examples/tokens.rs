//! Only the server issues tokens. A client redeems its own tokens, once, and an API reads a token only after it
//! required a scope.

use std::sync::Arc;

use grantor::grant_type::{GrantContext, LiveGrant, OpenGrant, PresentedToken};
use grantor::secret::{SecretKind, TokenHash, kind};
use grantor::{
    Access, AccessToken, AuthorizationServer, BearerError, BearerRequest, Grant, Password, RefreshToken, Request,
};

// refused: E0624
/// Tokens are generated in one place, with the server's entropy.
fn mint_a_token() -> AccessToken {
    AccessToken::from_bytes(&[7; 32])
}

// refused: E0616
/// A found token keeps the grant that it was stored with.
fn swap_grant_of_presented(mut presented: PresentedToken<kind::RefreshToken>, other: Arc<Grant>) {
    presented.grant = other;
}

// refused: E0308
/// A grant can be derived from a live token, not from a token that was only found.
fn derive_from_a_token_that_was_found(order: OpenGrant, token: PresentedToken<kind::AccessToken>) -> OpenGrant {
    order.child_of(token)
}

// refused: E0616
/// Only a check of its access token proves that a grant is live.
fn swap_grant_of_live_grant(mut live: LiveGrant, other: Arc<Grant>) {
    live.grant = other;
}

// refused: E0624
/// Only the built-in grant types decide whether a token belongs to the client, and redeem it.
async fn redeem_in_a_handler(context: &GrantContext<'_>, token: PresentedToken<kind::RefreshToken>) -> bool {
    token.must_belong_to(context.client()).is_ok()
}

// refused: E0616
/// A handler decides; it does not write to the storage.
fn storage_of_a_handler(context: &GrantContext<'_>) {
    let _ = &context.server;
}

// refused: E0599
/// An API reads nothing of a token before it required a scope.
async fn read_bearer_before_require(oauth: &AuthorizationServer, request: &Request) -> Result<String, BearerError> {
    Ok(oauth.bearer(request).await?.user()?.to_string())
}

// refused: E0616
/// The fields of a bearer token are private.
async fn read_fields_of_bearer(oauth: &AuthorizationServer, request: &Request) -> Result<String, BearerError> {
    Ok(oauth.bearer(request).await?.0.client_id().to_string())
}

// refused: E0616
/// `user()` gives the resource owner, and refuses the token of a machine.
fn read_fields_of_access(access: &Access) -> bool {
    access.now.unix_timestamp() > 0
}

// refused: E0308
/// A refresh token is no bearer token for an API.
async fn refresh_token_as_access_token(oauth: &AuthorizationServer, token: &RefreshToken) -> bool {
    oauth.bearer_request(&BearerRequest::of(token)).await.is_ok()
}

// refused: E0599
/// A password is not stored, hashed or not.
fn password_as_token(password: &Password) -> TokenHash {
    password.hash()
}

struct OwnKind;

// refused: E0277
/// The library defines all kinds of secret, and each is redacted.
impl SecretKind for OwnKind {
    const NAME: &'static str = "OwnKind";
}

fn main() {}
