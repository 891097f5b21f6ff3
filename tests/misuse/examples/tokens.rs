//! Only the server mints tokens. A client spends one token of its own, once, and an API reads a token only after it required a scope.

use grantor::grants::{Decision, ExchangeToken, GrantContext, Owned, Presented, RepeatRefresh, Replayed};
use grantor::secret::{SecretDigest, SecretKind, Token, TokenHash, TokenKind, kind};
use grantor::{
    Access, AccessToken, AuthorizationCode, AuthorizationServer, BearerError, Client, Password, RefreshToken, Refusal,
    Request, Scope, Subject, TokenRequest,
};

// refused: E0624
/// Tokens are minted in one place, with the server's entropy.
fn mint_a_token() -> AccessToken {
    AccessToken::from_bytes(&[7; 32])
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
/// The token of a machine has no user.
fn machine_as_user(access: &Access) -> &Subject {
    access.subject()
}

// refused: E0308
/// An access token does not refresh.
fn access_token_as_refresh_token(token: &AccessToken) -> TokenRequest<'_> {
    TokenRequest::refresh_token(token)
}

// refused: E0308
/// A refresh token opens no API.
async fn refresh_token_as_access_token(oauth: &AuthorizationServer, token: &RefreshToken) -> bool {
    oauth.bearer_token(token).await.is_ok()
}

// refused: E0308
/// A code opens no API.
async fn code_as_access_token(oauth: &AuthorizationServer, code: &AuthorizationCode) -> bool {
    oauth.bearer_token(code).await.is_ok()
}

// refused: E0308
/// The digest of a client secret matches no token.
fn hash_as_digest(token: &AccessToken, digest: &SecretDigest) -> bool {
    digest.matches(token)
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

// refused: E0277
/// The kinds of token are those that a storage tells apart.
impl Token for OwnKind {
    const KIND: TokenKind = TokenKind::AccessToken;
}

fn main() {}
