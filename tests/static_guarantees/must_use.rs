//! Results that a caller must not drop: each type or method below is `#[must_use]`.
//!
//! Each `#[expect(unused_must_use)]` is on one statement that drops such a result. The compiler reports the lint there,
//! which fulfils the expectation. Without the `#[must_use]` in `src/`, the expectation is unfulfilled and this file
//! does not compile. Nothing calls these functions.
#![deny(unfulfilled_lint_expectations)]
#![expect(dead_code, reason = "the compiler checks the bodies; running them adds nothing")]

use grantor::error::AuthenticatorError;
use grantor::grant_type::{GrantContext, GrantHandler, OpenGrant};
use grantor::secret::SecretDigest;
use grantor::storage::{Redemption, Storage};
use grantor::{
    AccessToken, Approval, Authenticator, AuthorizationServer, BearerError, ClientAttempt, ClientSecret, CodeChallenge,
    CodeVerifier, Consent, Error, MemoryStorage, PendingAuthorization, RefreshToken, Request, Response, Scope,
    StorageError, Subject,
};

fn builder() {
    #[expect(unused_must_use)]
    AuthorizationServer::builder("https://id.example").storage(MemoryStorage::new());
}

async fn endpoints(oauth: &AuthorizationServer, request: &Request) {
    #[expect(unused_must_use)]
    oauth.authorize(request).await;
    #[expect(unused_must_use)]
    oauth.token(request).await;
}

async fn form_token(oauth: &AuthorizationServer, form_token: &str) -> Result<(), Response> {
    #[expect(unused_must_use)]
    oauth.resume(form_token, "a session").await?;
    Ok(())
}

async fn bearer_token(oauth: &AuthorizationServer, request: &Request) -> Result<(), BearerError> {
    #[expect(unused_must_use)]
    oauth.bearer(request).await?;
    Ok(())
}

async fn consent(mine: PendingAuthorization, [yours, theirs]: [Consent; 2], approval: Approval, user: Subject) {
    #[expect(unused_must_use)]
    mine.deny();
    #[expect(unused_must_use)]
    yours.approve(approval).await;
    #[expect(unused_must_use)]
    theirs.deny().await;
    #[expect(unused_must_use)]
    Approval::by(user).scope(["user:read"]);
}

fn comparisons(digest: &SecretDigest, secret: &ClientSecret, challenge: &CodeChallenge, verifier: &CodeVerifier) {
    #[expect(unused_must_use)]
    digest.matches(secret);
    #[expect(unused_must_use)]
    challenge.is_met_by(verifier);
}

async fn lookup(context: &GrantContext<'_>, token: RefreshToken, other: AccessToken) -> Result<(), Error> {
    #[expect(unused_must_use)]
    context.find(token).await?;
    let found = context.find(other).await?;
    #[expect(unused_must_use)]
    found.must_be_live(context.now())?;
    Ok(())
}

fn orders(scope: Scope) {
    #[expect(unused_must_use)]
    OpenGrant::new(scope).refreshable();
}

async fn grant_handler(handler: &dyn GrantHandler, context: &GrantContext<'_>) -> Result<(), Error> {
    #[expect(unused_must_use)]
    handler.decide(context).await?;
    Ok(())
}

async fn storage(storage: &dyn Storage, redemption: &Redemption) -> Result<(), StorageError> {
    #[expect(unused_must_use)]
    storage.redeem(redemption, &[]).await?;
    Ok(())
}

async fn authenticator(users: &dyn Authenticator, attempt: &ClientAttempt<'_>) -> Result<(), AuthenticatorError> {
    #[expect(unused_must_use)]
    users.authenticate_client(attempt).await?;
    Ok(())
}
