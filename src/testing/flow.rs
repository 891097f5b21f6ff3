//! The code flow in a few lines, from the client's first request to its tokens.

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

/// An authorization request that a test puts together; begun by [`TestServer::authorize`].
#[derive(Debug)]
#[must_use = "the flow does nothing before a user approves or denies"]
pub struct Flow<'a> {
    server: &'a TestServer,
    client: &'a TestClient,
    parameters: Vec<(String, String)>,
    verifier: Option<CodeVerifier>,
}

/// A flow whose user has approved.
#[derive(Debug)]
pub struct ApprovedFlow<'a> {
    server: &'a TestServer,
    client: &'a TestClient,
    verifier: Option<CodeVerifier>,
    /// The answer to the browser.
    pub response: AuthorizationResponse,
}

impl<'a> Flow<'a> {
    pub(super) fn new(server: &'a TestServer, client: &'a TestClient) -> Self {
        let verifier = Some(CodeVerifier::new("a-verifier-of-forty-three-characters-at-least"));
        Self { server, client, parameters: Vec::new(), verifier }.scope("user:read")
    }

    /// Asks for another scope.
    pub fn scope(self, scope: &str) -> Self {
        self.parameter("scope", scope)
    }

    /// Asks for no scope.
    pub fn without_scope(mut self) -> Self {
        self.parameters.retain(|(name, _)| name != "scope");
        self
    }

    /// Sends a `state`.
    pub fn state(self, state: &str) -> Self {
        self.parameter("state", state)
    }

    /// Sends any other parameter, such as `prompt`, instead of an earlier one with this name.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.retain(|(own, _)| own != name);
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends no PKCE challenge.
    pub fn without_pkce(mut self) -> Self {
        self.verifier = None;
        self
    }

    /// Sends the request.
    ///
    /// # Errors
    /// As the server answers.
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

    /// Returns the path and query of the request, for a test of a host's own authorization route.
    ///
    /// # Panics
    /// If the server has no authorization endpoint.
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

    /// Redeems the code of a `Location` to which a host's own consent route has sent the browser, as the client does.
    ///
    /// # Errors
    /// As the server answers.
    ///
    /// # Panics
    /// It does not lead to the client's redirect URI, or has not the `state` of this request (RFC 6749 §4.1.2), the issuer
    /// (RFC 9207 §2.4) and a code.
    pub async fn redeem_location(&self, location: &str) -> Result<TokenResponse, Error> {
        let url = Url::parse(location).expect("the location is a URL");
        let expected = Url::parse(&self.client.redirect_uri).expect("the client has a redirect URI");
        assert_eq!(url[..Position::AfterPath], expected[..Position::AfterPath], "where the browser is sent");
        let answer = |name: &str| Some(url.query_pairs().find(|(own, _)| own == name)?.1.into_owned());
        assert_eq!(answer("error"), None, "the error that the client is told");
        let state = self.parameters.iter().find(|(name, _)| name == "state").map(|(_, state)| state.clone());
        assert_eq!(answer("state"), state, "the state");
        assert_eq!(answer("iss").as_deref(), Some(self.server.issuer()), "the issuer");
        let code = AuthorizationCode::new(answer("code").expect("the location has a code"));
        redeem(self.server, self.client, &code, self.verifier.as_ref()).await
    }

    /// Sends the request, which must be in order.
    pub async fn pending(&self) -> PendingAuthorization {
        self.send().await.expect("the server accepts the request")
    }

    /// Sends the request, and a user approves all of it.
    pub async fn approve_as(self, subject: &str) -> ApprovedFlow<'a> {
        self.approve(Approval::by(Subject::new(subject).expect("a subject"))).await
    }

    /// Sends the request, and a user approves in a particular way.
    pub async fn approve(self, approval: Approval) -> ApprovedFlow<'a> {
        let response = approve(self.pending().await, approval).await;
        ApprovedFlow { server: self.server, client: self.client, verifier: self.verifier, response }
    }
}

/// Approves a request as the user of the approval, who is logged in and agrees to whatever is asked.
///
/// # Panics
/// The user has to log in again or to choose an account, or the request is refused.
pub async fn approve(pending: PendingAuthorization, approval: Approval) -> AuthorizationResponse {
    match pending.interaction(Some(&approval.user)).await {
        Interaction::Consent(consent) => Some(consent.approve(approval).await),
        Interaction::Proceed(proceed) => Some(proceed.approve_with(|_| approval).await),
        _ => None,
    }
    .expect("the user needs no other login and no other account, and nothing fails")
}

/// Takes a request to the consent page of a user who is logged in.
///
/// # Panics
/// The user is not asked for consent.
pub async fn ask(pending: PendingAuthorization, user: impl Into<UserSession>) -> Consent {
    match pending.interaction(Some(&user.into())).await {
        Interaction::Consent(consent) => Some(consent),
        _ => None,
    }
    .expect("the user is asked for consent")
}

impl ApprovedFlow<'_> {
    /// The code.
    #[must_use]
    pub fn code(&self) -> &AuthorizationCode {
        self.response.code().expect("the server issued a code")
    }

    /// The verifier of the challenge, if one was sent.
    #[must_use]
    pub const fn verifier(&self) -> Option<&CodeVerifier> {
        self.verifier.as_ref()
    }

    /// Redeems the code as the client does; again, if called again.
    ///
    /// # Errors
    /// As the server answers.
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
