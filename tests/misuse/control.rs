//! The same calls as in `examples/`, used as intended. This must compile: otherwise the cases could be refused only
//! because a method that they call was renamed.

use grantor::grant_type::{Decision, GrantContext, OpenGrant};
use grantor::secret::TokenHash;
use grantor::{
    AccessToken, AuthorizationOutcome, AuthorizationServer, BearerError, BuildError, Client, ClientCredential,
    ClientSecret, Consent, Error, MemoryStorage, Policy, Request, Response, Scope, Subject,
};

pub async fn serve() -> Result<AuthorizationServer, BuildError> {
    AuthorizationServer::builder("https://id.example").storage(MemoryStorage::new()).build().await
}

pub fn weaken(policy: &mut Policy) {
    policy.dangerous().allow_password_grant = true;
}

pub fn register(secret: &ClientSecret) {
    let _machine = Client::confidential("machine", ClientCredential::secret(secret)).client_credentials().build();
    let _app = Client::public("app").build();
}

pub async fn authorize(oauth: &AuthorizationServer, request: &Request) -> Response {
    match oauth.authorize(request).await {
        AuthorizationOutcome::Pending(pending) => pending.deny().into(),
        AuthorizationOutcome::Respond(response) => response,
    }
}

pub async fn approve(consent: Consent, user: Subject) -> Response {
    consent.approve(grantor::Approval::by(user)).await.into()
}

pub async fn me(oauth: &AuthorizationServer, request: &Request) -> Result<String, BearerError> {
    let access = oauth.bearer(request).await?.require("user:read")?;
    Ok(access.user()?.to_string())
}

pub fn stored(token: &AccessToken) -> TokenHash {
    token.hash()
}

pub async fn derive(context: &GrantContext<'_>, token: AccessToken, scope: Scope) -> Result<Decision, Error> {
    let parent = context.find(token).await?.must_be_live(context.now())?;
    Ok(Decision::open(OpenGrant::new(scope).child_of(parent)))
}
