//! A result that decides something cannot be thrown away: each of these is `#[must_use]`.
#![deny(unused_must_use)]

use grantor::error::AuthenticatorError;
use grantor::grants::{Decision, GrantContext, OpenGrant, Owned, Replayed};
use grantor::secret::{SecretDigest, kind};
use grantor::storage::{Spend, Storage};
use grantor::{
    Approval, Authenticator, AuthorizationServer, BearerError, ClientAttempt, ClientSecret, CodeChallenge,
    CodeVerifier, Error, MemoryStorage, PendingAuthorization, RefreshToken, Request, Response, Scope, StorageError,
    Subject,
};

fn of_the_builder() {
    // refused: unused_must_use
    AuthorizationServer::builder("https://id.example").storage(MemoryStorage::new());
}

async fn of_the_endpoints(oauth: &AuthorizationServer, request: &Request) {
    // refused: unused_must_use
    oauth.authorize(request).await;
    // refused: unused_must_use
    oauth.token(request).await;
}

async fn of_a_form_token(oauth: &AuthorizationServer, form_token: &str) -> Result<(), Response> {
    // refused: unused_must_use
    oauth.resume(form_token, "a session").await?;
    Ok(())
}

async fn of_a_bearer_token(oauth: &AuthorizationServer, request: &Request) -> Result<(), BearerError> {
    // refused: unused_must_use
    oauth.bearer(request).await?;
    Ok(())
}

async fn of_a_decision(mine: PendingAuthorization, yours: PendingAuthorization, approval: Approval, user: Subject) {
    // refused: unused_must_use
    mine.deny();
    // refused: unused_must_use
    yours.approve(approval).await;
    // refused: unused_must_use
    Approval::by(user).scope(["user:read"]);
}

fn of_a_comparison(digest: &SecretDigest, secret: &ClientSecret, challenge: &CodeChallenge, verifier: &CodeVerifier) {
    // refused: unused_must_use
    digest.matches(secret);
    // refused: unused_must_use
    challenge.is_met_by(verifier);
}

async fn of_a_lookup(context: &GrantContext<'_>, token: RefreshToken, other: RefreshToken) -> Result<(), Error> {
    // refused: unused_must_use
    context.find(token).await?;
    let found = context.find(other).await?;
    // refused: unused_must_use
    found.must_belong_to(context.client())?;
    Ok(())
}

fn of_a_handler(context: &GrantContext<'_>, token: &Owned<kind::RefreshToken>, scope: Scope, other: Scope) {
    // refused: unused_must_use
    token.must_have_a_live_grant(context.now());
    // refused: unused_must_use
    Replayed::new(token);
    // refused: unused_must_use
    OpenGrant::new(scope).refreshable();
    // refused: unused_must_use
    Decision::Open(OpenGrant::new(other));
}

async fn of_a_storage(storage: &dyn Storage, spend: &Spend) -> Result<(), StorageError> {
    // refused: unused_must_use
    storage.exchange(spend, &[]).await?;
    Ok(())
}

async fn of_an_authenticator(users: &dyn Authenticator, attempt: &ClientAttempt<'_>) -> Result<(), AuthenticatorError> {
    // refused: unused_must_use
    users.client(attempt).await?;
    Ok(())
}

fn main() {}
