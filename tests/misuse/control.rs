//! The same calls as in `examples/`, used as intended. This must compile: if a method that they call gets another name, the compiler
//! refuses them for that.

use grantor::grants::{Decision, ExchangeToken, GrantContext, RepeatRefresh, Replayed};
use grantor::secret::TokenHash;
use grantor::{
    AccessToken, AuthorizationCode, AuthorizationServer, Authorize, BearerError, BuildError, Client, ClientCredential,
    ClientSecret, Consent, Error, MemoryStorage, Policy, RefreshToken, Request, Response, Scope, Subject,
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
        Authorize::Pending(pending) => pending.deny().into(),
        Authorize::Respond(response) => response,
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

pub async fn refresh(context: &GrantContext<'_>, token: RefreshToken, scope: Scope) -> Result<[Decision; 2], Error> {
    let [spent, repeated] = [RefreshToken::new(token.expose()), token];
    let spent = context.find(spent).await?.must_belong_to(context.client())?;
    let repeated = context.find(repeated).await?.must_belong_to(context.client())?;
    let spend = Decision::Exchange(ExchangeToken::new(spent, scope.clone()));
    Ok([spend, Decision::Repeat(RepeatRefresh::new(repeated, scope))])
}

pub async fn replayed(context: &GrantContext<'_>, code: AuthorizationCode) -> Result<Decision, Error> {
    let owned = context.find(code).await?.must_belong_to(context.client())?;
    Ok(Decision::Replayed(Replayed::new(&owned)))
}
