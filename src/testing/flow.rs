//! The code flow in a few lines, from the client's first request to its tokens.

use super::server::{TestClient, TestServer};
use crate::authorize::{
    Approval, AuthorizationRequest, AuthorizationResponse, Authorize, Consent, Interaction, PendingAuthorization,
    UserSession,
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
    scope: Option<String>,
    state: Option<String>,
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
        Self { server, client, scope: Some("user:read".to_owned()), state: None, verifier }
    }

    /// Asks for another scope.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scope = Some(scope.to_owned());
        self
    }

    /// Asks for no scope.
    pub fn without_scope(mut self) -> Self {
        self.scope = None;
        self
    }

    /// Sends a `state`.
    pub fn state(mut self, state: &str) -> Self {
        self.state = Some(state.to_owned());
        self
    }

    /// Sends no PKCE challenge.
    pub fn without_pkce(mut self) -> Self {
        self.verifier = None;
        self
    }

    /// Sends the request.
    pub async fn send(&self) -> Authorize {
        let challenge = self.verifier.as_ref().map(CodeChallenge::s256);
        let mut request = AuthorizationRequest::code(&self.client.id).redirect_uri(&self.client.redirect_uri);
        if let Some(scope) = &self.scope {
            request = request.scope(scope);
        }
        if let Some(state) = &self.state {
            request = request.state(state);
        }
        if let Some(challenge) = &challenge {
            request = request.code_challenge_s256(challenge.as_str());
        }
        self.server.server.authorization_request(&request).await
    }

    /// Sends the request, which must be in order.
    pub async fn pending(&self) -> PendingAuthorization {
        match self.send().await {
            Authorize::Pending(pending) => Some(pending),
            Authorize::Respond(_) => None,
        }
        .expect("the server accepts the request")
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
        let mut request = TokenRequest::authorization_code(self.code()).redirect_uri(&self.client.redirect_uri);
        if let Some(verifier) = &self.verifier {
            request = request.code_verifier(verifier);
        }
        self.server.token_as(self.client, request).await
    }
}
