//! Only the server mints tokens. A client spends one token of its own, once, and an API reads a token only after it required a scope.

use std::sync::Arc;

use grantor::grants::{Decision, ExchangeToken, GrantContext, Owned, Presented, RepeatRefresh, Replayed};
use grantor::secret::{SecretKind, TokenHash, kind};
use grantor::{
    Access, AccessToken, AuthorizationServer, BearerError, BearerRequest, Client, Grant, Password, RefreshToken,
    Refusal, Request, Scope,
};

// refused: E0624
/// Tokens are minted in one place, with the server's entropy.
fn mint_a_token() -> AccessToken {
    AccessToken::from_bytes(&[7; 32])
}

// refused: E0616
/// A token that was found keeps the grant it was stored with.
fn swap_grant_of_presented(mut presented: Presented<kind::RefreshToken>, other: Arc<Grant>) {
    presented.grant = other;
}

// refused: E0423
/// A handler cannot claim that a token belongs to the client.
fn forge_owner(presented: Presented<kind::RefreshToken>) -> Owned<kind::RefreshToken> {
    Owned(presented)
}

// refused: E0308
/// A token is owned by a client that was authenticated, not by one that was looked up.
fn own_by_a_looked_up_client(
    token: Presented<kind::RefreshToken>,
    client: &Client,
) -> Result<Owned<kind::RefreshToken>, Refusal> {
    token.must_belong_to(client)
}

// refused: E0308
/// A token is spent only for the client it was issued to.
fn spend_without_owner(presented: Presented<kind::RefreshToken>, scope: Scope) -> Decision {
    Decision::Exchange(ExchangeToken::new(presented, scope))
}

// refused: E0382
/// One proof of ownership serves one decision.
fn spend_twice(token: Owned<kind::RefreshToken>, scope: Scope) -> [ExchangeToken; 2] {
    [ExchangeToken::new(token, scope.clone()), ExchangeToken::new(token, scope)]
}

// refused: E0277
/// An access token is used, not spent.
fn spend_an_access_token(token: Owned<kind::AccessToken>, scope: Scope) -> Decision {
    Decision::Exchange(ExchangeToken::new(token, scope))
}

// refused: E0616
/// An order to spend a token keeps the grant of that token.
fn swap_grant_of_exchange(mut order: ExchangeToken, other: Arc<Grant>) {
    order.grant = other;
}

// refused: E0308
/// The answer to a refresh is repeated only to the client that had it.
fn repeat_without_owner(presented: Presented<kind::RefreshToken>, scope: Scope) -> Decision {
    Decision::Repeat(RepeatRefresh::new(presented, scope))
}

// refused: E0308
/// A replay by another client ends no grant.
fn revoke_without_owner(presented: &Presented<kind::AuthorizationCode>) -> Decision {
    Decision::Replayed(Replayed::new(presented))
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
    Ok(oauth.bearer(request).await?.grant.client_id.to_string())
}

// refused: E0616
/// `user()` gives the resource owner, and refuses the token of a machine.
fn read_fields_of_access(access: &Access) -> bool {
    access.grant.subject.is_some()
}

// refused: E0308
/// A refresh token opens no API.
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
/// The kinds of secret are those of the library, each redacted.
impl SecretKind for OwnKind {
    const NAME: &'static str = "OwnKind";
}

fn main() {}
