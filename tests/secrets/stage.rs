//! A server with every switch on, on which everything is recorded.

use std::fmt::Debug;
use std::sync::Arc;

use grantor::client::RegisteredBy;
use grantor::testing::{Faults, ISSUER, Intercepted, SeededEntropy, TestClock};
use grantor::tracing::TracingObserver;
use grantor::{
    AccessToken, Approval, AuthorizationCode, AuthorizationRequest, AuthorizationResponse, AuthorizationServer, Client,
    ClientCredential, ClientRegistry, ClientSecret, CodeVerifier, EphemeralStore, GrantType, Policy, Request, Response,
    Storage, Subject, TokenRequest, TokenResponse, UserSession,
};
use serde_json::json;

use crate::hosts::{WatchedGrant, WatchedPages, WatchedUsers};
use crate::recording_storage::Dump;
use crate::watch::Watch;
use crate::{REDIRECT_URI, STATE, VERIFIER, process_log};

/// Any of the shipped storages.
pub(crate) trait Kept: Storage + ClientRegistry + EphemeralStore + Clone + Debug + 'static {}
impl<S: Storage + ClientRegistry + EphemeralStore + Clone + Debug + 'static> Kept for S {}

pub(crate) struct Stage<S> {
    pub(crate) server: AuthorizationServer,
    pub(crate) clock: TestClock,
    pub(crate) entropy: SeededEntropy,
    pub(crate) faults: Faults,
    pub(crate) kept: S,
    pub(crate) dump: Arc<Dump>,
    pub(crate) watch: Watch,
}

/// A client, as the client itself knows it.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) secret: Option<ClientSecret>,
}

pub(crate) const EXTENSION: &str = "urn:example:watched";
pub(crate) const SESSION: &str = "the-random-name-of-a-session";

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.bearer_in_body = true;
    let dangers = policy.dangerous();
    dangers.allow_implicit_grant = true;
    dangers.allow_password_grant = true;
    dangers.allow_plain_pkce = true;
    dangers.pkce_optional = true;
    dangers.allow_token_parameters_in_query = true;
    dangers.allow_out_of_band_redirect = true;
    policy
}

impl<S: Kept> Stage<S> {
    pub(crate) async fn new(kept: S) -> Self {
        Self::with_entropy(kept, &Watch::default(), 7).await
    }

    pub(crate) async fn with_entropy(kept: S, watch: &Watch, seed: u64) -> Self {
        process_log::listen();
        let (clock, entropy) = (TestClock::default(), SeededEntropy::new(seed));
        let (faults, dump) = (Faults::default(), Arc::new(Dump::new(watch.clone())));
        let storage = Intercepted::new(kept.clone(), faults.clone());
        let server_key = b"the key from which others derive";
        watch.keep_bytes("server key", server_key);
        let previous_key = b"the key from before the last one";
        watch.keep_bytes("previous server key", previous_key);
        let builder = AuthorizationServer::builder(ISSUER)
            .storage(Intercepted::new(storage, Arc::clone(&dump)))
            .authenticator(WatchedUsers(watch.clone()))
            .policy(policy())
            .scope("user:read", "Read your profile")
            .scope("user:write", "Change your profile")
            .default_scope("user:read")
            .clock(clock.clone())
            .entropy(entropy.clone())
            .observer((watch.clone(), TracingObserver))
            .page_templates(WatchedPages(watch.clone()))
            .server_key(server_key, &[previous_key])
            .extension_grant(WatchedGrant { name: GrantType::new(EXTENSION).unwrap(), watch: watch.clone() });
        watch.show("builder", &builder);
        let server = builder.build().await.unwrap();
        Self { server, clock, entropy, faults, kept, dump, watch: watch.clone() }
    }

    pub(crate) async fn confidential(&self) -> App {
        let secret = ClientSecret::generate(&self.entropy).unwrap();
        let client = Client::confidential("machine", ClientCredential::secret(&secret))
            .authorization_code([REDIRECT_URI, "urn:ietf:wg:oauth:2.0:oob"])
            .implicit([REDIRECT_URI])
            .refresh_token()
            .client_credentials()
            .password()
            .extension_grant(EXTENSION)
            .scope("user:read user:write")
            .pkce_optional()
            .plain_pkce()
            .token_parameters_in_query();
        self.watch.keep("client secret", secret.expose());
        self.watch.show("client builder", &client);
        self.kept.register(client.build().unwrap()).await.unwrap();
        let app = App { id: "machine".to_owned(), secret: Some(secret) };
        self.watch.show("confidential client", &app);
        app
    }

    pub(crate) async fn public(&self) -> App {
        let client = Client::public("browser-app")
            .authorization_code([REDIRECT_URI])
            .implicit([REDIRECT_URI])
            .refresh_token()
            .password()
            .plain_pkce()
            .scope("user:read user:write")
            .registered_by(RegisteredBy::SelfService);
        self.watch.show("client builder", &client);
        self.kept.register(client.build().unwrap()).await.unwrap();
        App { id: "browser-app".to_owned(), secret: None }
    }

    /// Sends a typed token request; inspects the request and the response.
    pub(crate) async fn token(&self, what: &str, request: TokenRequest<'_>) -> Option<TokenResponse> {
        self.watch.show(&format!("request: {what}"), &request);
        match self.server.token_request(&request).await {
            Ok(tokens) => {
                self.watch.keep_tokens(what, &tokens);
                Some(tokens)
            }
            Err(error) => {
                self.watch.show_error(&format!("error: {what}"), &error);
                None
            }
        }
    }

    /// Sends a token request over HTTP; inspects the request and the response.
    pub(crate) async fn post(&self, what: &str, request: Request) -> Response {
        self.watch.show(&format!("request: {what}"), &request);
        let response = self.server.token(&request).await;
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let own: Vec<_> = ["access_token", "refresh_token"].iter().filter_map(|name| body[name].as_str()).collect();
        self.watch.show_answer(what, &response, &own);
        for token in own {
            self.watch.keep(&format!("access token: {what}, over HTTP"), token);
        }
        response
    }

    pub(crate) async fn approve(&self, what: &str, request: AuthorizationRequest<'_>) -> AuthorizationResponse {
        self.watch.show(&format!("request: {what}"), &request);
        let authorize = self.server.authorization_request(&request.parameter("prompt", "consent")).await;
        self.watch.show(&format!("decision wanted: {what}"), &authorize);
        let pending = authorize.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        self.watch.keep("session", SESSION);
        let alice = UserSession::new(Subject::new("alice").unwrap()).session_id(SESSION);
        self.watch.show("session", &alice);
        let consent = grantor::testing::ask(pending, &alice).await;
        let form_token = consent.form_token(SESSION);
        let consent = self.server.resume(&form_token, SESSION).await.unwrap();
        self.watch.show(&format!("resumed: {what}"), &consent);
        let approval = Approval::by(&alice).host_data(json!({ "note": "host data that is nobody's business" }));
        self.watch.show("approval", &approval);
        let response = consent.approve(approval).await;
        self.watch.show(&format!("answer: {what}"), &response);
        if let Some(code) = response.code() {
            self.watch.keep(&format!("code: {what}"), code.expose());
        }
        if let Some(token) = response.access_token() {
            self.watch.keep(&format!("implicit access token: {what}"), token.expose());
        }
        response
    }

    pub(crate) async fn code(&self, client: &App) -> AuthorizationCode {
        let challenge = grantor::CodeChallenge::s256(&CodeVerifier::new(VERIFIER));
        self.watch.show("challenge", &challenge);
        let request = AuthorizationRequest::code(&client.id)
            .redirect_uri(REDIRECT_URI)
            .scope("user:read user:write")
            .state(STATE)
            .code_challenge_s256(challenge.as_str());
        let response = self.approve("code", request).await;
        let code = AuthorizationCode::new(response.code().unwrap().expose());
        self.watch.show_answer("redirect with a code", &Response::from(response), &[code.expose(), STATE]);
        code
    }

    pub(crate) async fn bearer(&self, token: &AccessToken) {
        self.watch.show("access token", token);
        let http = Request::get("/api").with_header("authorization", format!("Bearer {}", token.expose()));
        self.watch.show("API request", &http);
        match self.server.bearer(&http).await {
            Ok(bearer) => {
                self.watch.show("bearer", &bearer);
                match bearer.require("user:write") {
                    Ok(access) => {
                        self.watch.show("access", &access);
                        if let Err(error) = access.user() {
                            self.watch.show_error("no user", &error);
                        }
                    }
                    Err(error) => {
                        self.watch.show_error("scope", &error);
                        self.watch.show_answer("challenge", &error.to_response(), &[]);
                    }
                }
            }
            Err(error) => {
                self.watch.show_error("bearer", &error);
                self.watch.show_answer("challenge", &error.to_response(), &[]);
            }
        }
    }
}
