//! The code flow for tests, from the authorization request to the tokens.

use url::{Position, Url};

use super::server::{TestClient, TestServer};
use crate::authorize::{
    Approval, AuthorizationError, AuthorizationRequest, AuthorizationResponse, Consent, Interaction,
    PendingAuthorization, UserSession,
};
use crate::error::Error;
use crate::pkce::CodeChallenge;
use crate::record::Subject;
use crate::secret::{AuthorizationCode, CodeVerifier};
use crate::token::{TokenRequest, TokenResponse};

/// An authorization request that a test builds. [`TestServer::authorize`] returns it.
#[derive(Debug)]
#[must_use = "a flow does nothing until it is sent or approved"]
pub struct Flow<'a> {
    server: &'a TestServer,
    client: &'a TestClient,
    parameters: Vec<(String, String)>,
    verifier: Option<CodeVerifier>,
}

/// A flow that a user has approved.
#[derive(Debug)]
pub struct ApprovedFlow<'a> {
    server: &'a TestServer,
    client: &'a TestClient,
    verifier: Option<CodeVerifier>,
    /// The response to the browser.
    pub response: AuthorizationResponse,
}

impl<'a> Flow<'a> {
    pub(super) fn new(server: &'a TestServer, client: &'a TestClient) -> Self {
        let verifier = Some(CodeVerifier::new("a-verifier-of-forty-three-characters-at-least"));
        Self { server, client, parameters: Vec::new(), verifier }.scope("user:read")
    }

    /// Sets the requested scope. Default: `user:read`.
    pub fn scope(self, scope: &str) -> Self {
        self.parameter("scope", scope)
    }

    /// Removes the scope from the request.
    pub fn without_scope(mut self) -> Self {
        self.parameters.retain(|(name, _)| name != "scope");
        self
    }

    /// Sets the `state` of the request. Default: none.
    pub fn state(self, state: &str) -> Self {
        self.parameter("state", state)
    }

    /// Sets any parameter, such as `prompt`. It replaces an earlier value.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.retain(|(own, _)| own != name);
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes the PKCE challenge from the request.
    pub fn without_pkce(mut self) -> Self {
        self.verifier = None;
        self
    }

    /// Sends the request and returns the response of the server.
    ///
    /// # Errors
    /// The error of the server.
    pub async fn send(&self) -> Result<PendingAuthorization, AuthorizationError> {
        let challenge = self.challenge();
        let request = AuthorizationRequest::code(&self.client.id).redirect_uri(&self.client.redirect_uri);
        let request = self.parameters.iter().fold(request, |request, (name, value)| request.parameter(name, value));
        let request = match &challenge {
            Some(challenge) => request.code_challenge_s256(challenge.as_str()),
            None => request,
        };
        self.server.server.authorization_request(&request).await
    }

    fn challenge(&self) -> Option<CodeChallenge> {
        self.verifier.as_ref().map(CodeChallenge::s256)
    }

    /// Returns the path and query of the request. Use it to test the authorization route of a host app.
    ///
    /// # Panics
    /// The server has no authorization endpoint.
    #[must_use]
    pub fn target(&self) -> String {
        let url = self.server.endpoints().authorization.as_deref().expect("the server has an authorization endpoint");
        let mut url = Url::parse(url).expect("the server was built with a URL");
        let challenge = self.challenge();
        let client = [("response_type", "code"), ("client_id", &self.client.id)];
        let redirect_uri = Some(&*self.client.redirect_uri).filter(|uri| !uri.is_empty());
        url.query_pairs_mut()
            .extend_pairs(client)
            .extend_pairs(redirect_uri.map(|uri| ("redirect_uri", uri)))
            .extend_pairs(&self.parameters)
            .extend_pairs(challenge.as_ref().map(|challenge| ("code_challenge", challenge.as_str())))
            .extend_pairs(challenge.as_ref().map(|_| ("code_challenge_method", "S256")));
        url[Position::BeforePath..].to_owned()
    }

    /// Redeems the code in the `Location` of a redirect, as the client does. Use it to test the consent route of a host
    /// app.
    ///
    /// # Errors
    /// The error of the token endpoint.
    ///
    /// # Panics
    /// The location is not the redirect URI of the client, or it lacks the code, the `state` of this request (RFC 6749
    /// §4.1.2) or the issuer (RFC 9207 §2.4).
    pub async fn redeem_location(&self, location: &str) -> Result<TokenResponse, Error> {
        let url = Url::parse(location).expect("the location is a URL");
        let expected = Url::parse(&self.client.redirect_uri).expect("the client has a redirect URI");
        assert_eq!(url[..Position::AfterPath], expected[..Position::AfterPath], "the target of the redirect");
        let answer = |name: &str| Some(url.query_pairs().find(|(own, _)| own == name)?.1.into_owned());
        assert_eq!(answer("error"), None, "the error in the redirect");
        let state = self.parameters.iter().find(|(name, _)| name == "state").map(|(_, state)| state.clone());
        assert_eq!(answer("state"), state, "the state");
        assert_eq!(answer("iss").as_deref(), Some(self.server.issuer()), "the issuer");
        let code = AuthorizationCode::new(answer("code").expect("the location has a code"));
        redeem(self.server, self.client, &code, self.verifier.as_ref()).await
    }

    /// Sends the request, which must be valid.
    pub async fn pending(&self) -> PendingAuthorization {
        self.send().await.expect("the server accepts the request")
    }

    /// Sends the request and approves it as this subject, with the requested scope.
    pub async fn approve_as(self, subject: &str) -> ApprovedFlow<'a> {
        self.approve(Approval::by(Subject::new(subject).expect("a subject"))).await
    }

    /// Sends the request and approves it with this approval.
    pub async fn approve(self, approval: Approval) -> ApprovedFlow<'a> {
        let response = approve(self.pending().await, approval).await;
        ApprovedFlow { server: self.server, client: self.client, verifier: self.verifier, response }
    }
}

/// Approves a request as the user of the approval. The user is logged in, and consents if the server asks for it.
///
/// # Panics
/// The user has to log in again or choose an account, or the request is refused.
pub async fn approve(pending: PendingAuthorization, approval: Approval) -> AuthorizationResponse {
    match pending.interaction(Some(&approval.user)).await {
        Interaction::Consent(consent) => Some(consent.approve(approval).await),
        Interaction::Proceed(proceed) => Some(proceed.approve_with(|_| approval).await),
        _ => None,
    }
    .expect("the request needs no login and no choice of account, and is not refused")
}

/// Takes a request of a logged-in user to the consent page.
///
/// # Panics
/// The server does not ask for consent.
pub async fn ask(pending: PendingAuthorization, user: impl Into<UserSession>) -> Consent {
    match pending.interaction(Some(&user.into())).await {
        Interaction::Consent(consent) => Some(consent),
        _ => None,
    }
    .expect("the server asks for consent")
}

impl ApprovedFlow<'_> {
    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> &AuthorizationCode {
        self.response.code().expect("the server issued a code")
    }

    /// Returns the code verifier, if the request has a challenge.
    #[must_use]
    pub const fn verifier(&self) -> Option<&CodeVerifier> {
        self.verifier.as_ref()
    }

    /// Redeems the code as the client does. A second call redeems it again.
    ///
    /// # Errors
    /// The error of the token endpoint.
    pub async fn redeem(&self) -> Result<TokenResponse, Error> {
        redeem(self.server, self.client, self.code(), self.verifier()).await
    }
}

async fn redeem(
    server: &TestServer,
    client: &TestClient,
    code: &AuthorizationCode,
    verifier: Option<&CodeVerifier>,
) -> Result<TokenResponse, Error> {
    let mut request = TokenRequest::authorization_code(code).redirect_uri(&client.redirect_uri);
    if let Some(verifier) = verifier {
        request = request.code_verifier(verifier);
    }
    server.token_as(client, request).await
}
