//! Secrets: that they can't be guessed, and that they stay where they belong.

use std::collections::{BTreeSet, HashSet};
use std::error::Error as StdError;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use grantor::authorize::{ConfirmRedirectPage, ErrorPage, OutOfBandPage, Pages};
use grantor::client::{ClientParts, Registration};
use grantor::error::AuthenticatorError;
use grantor::event::Observer;
use grantor::grants::{Decision, ExchangeToken, GrantContext, GrantHandler, OpenGrant, RepeatRefresh};
use grantor::secret::{SecretDigest, Seed, TokenHash};
use grantor::storage::{Exchange, GrantSelector, Page, Spend};
use grantor::testing::{Fault, FaultyStorage, ISSUER, TestClient, TestServer};
use grantor::{
    AccessToken, Approval, Authenticator, AuthorizationCode, AuthorizationRequest, AuthorizationServer, Authorize,
    Client, ClientAttempt, ClientId, ClientRegistry, ClientSecret, ClientStore, CodeVerifier, ErrorCode, Event, Grant,
    GrantType, MemoryStorage, Params, Password, Policy, RefreshToken, Request, ResourceOwnerAttempt, Response, Storage,
    StorageError, StoredToken, Subject, SystemEntropy, TokenRequest, TokenResponse, Verdict,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

const VERIFIER: &str = "a-verifier-of-forty-three-characters-at-least";
const PASSWORD: &str = "correct horse battery+staple/\u{e9}";
const REDIRECT_URI: &str = "https://app.example/cb";

/// All that was shown to anyone who reads logs, and all that must not be in it.
#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Watched>>);

#[derive(Default)]
struct Watched {
    shown: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
}

impl Watch {
    /// Something may be written into a log.
    fn show(&self, what: &str, value: &impl Debug) {
        let mut watched = self.0.lock().unwrap();
        watched.shown.push((what.to_owned(), format!("{value:?}")));
        watched.shown.push((format!("{what}, over several lines"), format!("{value:#?}")));
    }

    /// An error may be written into a log with all its causes.
    fn show_error(&self, what: &str, error: &(dyn StdError + 'static)) {
        self.show(what, &error);
        let mut next = Some(error);
        while let Some(error) = next {
            self.0.lock().unwrap().shown.push((format!("{what}, as text"), error.to_string()));
            next = error.source();
        }
    }

    /// A text that may nowhere be seen, in any of its usual spellings.
    fn keep(&self, what: &str, secret: &str) {
        self.keep_bytes(what, secret.as_bytes());
        let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut watched = self.0.lock().unwrap();
        for spelling in [secret.to_owned(), escaped, secret.escape_debug().to_string()] {
            watched.secrets.push((what.to_owned(), spelling));
        }
        // A token of ours is text that stands for bytes.
        if let Ok(bytes) = URL_SAFE_NO_PAD.decode(secret)
            && bytes.len() == 32
        {
            drop(watched);
            self.keep_bytes(what, &bytes);
        }
    }

    fn keep_bytes(&self, what: &str, bytes: &[u8]) {
        let hex = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let list = format!("{bytes:?}");
        let list = list.trim_matches(['[', ']']).to_owned();
        let base64 = [URL_SAFE_NO_PAD, URL_SAFE, STANDARD_NO_PAD, STANDARD].map(|engine| engine.encode(bytes));
        let mut watched = self.0.lock().unwrap();
        for spelling in base64.into_iter().chain([hex.to_uppercase(), hex, list]) {
            watched.secrets.push((what.to_owned(), spelling));
        }
    }

    fn keep_tokens(&self, what: &str, tokens: &TokenResponse) {
        self.show(what, tokens);
        self.keep(&format!("access token: {what}"), tokens.access_token.expose());
        if let Some(refresh_token) = &tokens.refresh_token {
            self.keep(&format!("refresh token: {what}"), refresh_token.expose());
        }
    }

    fn assert_nothing_leaked(&self) {
        let watched = self.0.lock().unwrap();
        for (secret, spelling) in &watched.secrets {
            assert!(spelling.len() >= 8, "too short to be looked for: {secret}");
            for (what, text) in &watched.shown {
                assert!(!text.contains(spelling.as_str()), "{what} shows the {secret}:\n{text}");
            }
        }
    }
}

impl Observer for Watch {
    fn observe(&self, event: &Event<'_>) {
        self.show(&format!("event {}", event.kind.name()), event);
        self.show(event.kind.name(), &event.kind);
    }
}

/// Checks passwords and secrets, and looks at what it is given.
#[derive(Clone)]
struct WatchedUsers(Watch);

#[async_trait]
impl Authenticator for WatchedUsers {
    async fn client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        self.0.show("client attempt", attempt);
        Ok(if attempt.matches_a_digest() { Verdict::Accepted(()) } else { Verdict::Rejected })
    }

    async fn resource_owner(&self, attempt: &ResourceOwnerAttempt<'_>) -> Result<Verdict<Subject>, AuthenticatorError> {
        self.0.show("resource owner attempt", attempt);
        if attempt.password.expose() == PASSWORD {
            return Ok(Verdict::Accepted(Subject::new(attempt.username).unwrap()));
        }
        Ok(Verdict::Rejected)
    }
}

struct WatchedPages(Watch);

impl Pages for WatchedPages {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        self.0.show("error page", page);
        String::new()
    }

    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        self.0.show("out-of-band page", page);
        page.code.to_owned()
    }

    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        self.0.show("confirmation page", page);
        String::new()
    }
}

/// An extension grant that looks at everything a handler gets to see.
struct WatchedGrant {
    name: GrantType,
    watch: Watch,
}

#[async_trait]
impl GrantHandler for WatchedGrant {
    fn grant_type(&self) -> &GrantType {
        &self.name
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["token", "action"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, grantor::Error> {
        self.watch.show("grant context", context);
        self.watch.show("authenticated client", context.client());
        self.watch.show("parameters", context.params());
        let scope = context.scope()?;
        let id_token = json!("an-id-token-that-is-nobodys-business");
        let decision = match context.params().get("action")? {
            None => Decision::Open(
                OpenGrant::new(scope).host_data(json!({ "note": "host data that is nobody's business" })).response(
                    |members| {
                        members.extra.insert("id_token".to_owned(), id_token);
                        self.watch.show("response members", members);
                    },
                ),
            ),
            Some(action) => {
                let token = RefreshToken::new(context.params().require("token")?);
                let presented = context.find(token).await?;
                self.watch.show("presented token", &presented);
                self.watch.show("stored token", presented.token());
                self.watch.show("grant", presented.grant());
                let presented = presented.must_belong_to(context.client())?;
                self.watch.show("owned token", &presented);
                match action {
                    "repeat" => Decision::Repeat(RepeatRefresh::new(presented, scope)),
                    _ => Decision::Exchange(ExchangeToken::new(presented, scope).response(|members| {
                        members.extra.insert("id_token".to_owned(), id_token);
                    })),
                }
            }
        };
        self.watch.show("decision", &decision);
        Ok(decision)
    }
}

/// Passes every call on and keeps a copy of everything that was to be stored, as a database dump would show it.
#[derive(Clone)]
struct Dump<S> {
    inner: S,
    watch: Watch,
    written: Arc<Mutex<String>>,
}

impl<S> Dump<S> {
    fn write(&self, record: &impl serde::Serialize) {
        let mut dump = self.written.lock().unwrap();
        dump.push_str(&serde_json::to_string(record).unwrap());
        dump.push('\n');
    }
}

#[async_trait]
impl<S: ClientStore> ClientStore for Dump<S> {
    async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        self.inner.client(id).await
    }
}

#[async_trait]
impl<S: Storage> Storage for Dump<S> {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        self.watch.show("new grant", grant);
        self.watch.show("new tokens", &tokens);
        self.write(&**grant);
        for token in tokens {
            self.write(token);
        }
        self.inner.open_grant(grant, tokens).await
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<(Arc<StoredToken>, Arc<Grant>)>, StorageError> {
        let found = self.inner.find(token).await;
        self.watch.show("found token", &found);
        found
    }

    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        if let Some(seed) = &spend.seed {
            self.watch.keep_bytes("seed", seed.expose());
            self.watch.show("seed", seed);
        }
        self.watch.show("order to spend", spend);
        for token in successors {
            self.write(token);
        }
        self.inner.exchange(spend, successors).await
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.inner.revoke_access_token(token, at).await
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        self.watch.show("selector", which);
        self.inner.revoke_grants(which, at).await
    }

    async fn grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        self.inner.grants(which, now, page).await
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.inner.purge_expired(before, limit).await
    }
}

/// A server on which every switch is on and everything is watched.
struct Stage {
    t: TestServer,
    watch: Watch,
    storage: Dump<FaultyStorage<MemoryStorage>>,
}

const EXTENSION: &str = "urn:example:watched";

impl Stage {
    fn new() -> Self {
        let mut t = TestServer::new();
        let watch = Watch::default();
        let storage = Dump { inner: t.faults.clone(), watch: watch.clone(), written: Arc::default() };
        let mut policy = Policy::default();
        policy.bearer_in_body = true;
        let dangers = policy.dangerous();
        dangers.allow_implicit_grant = true;
        dangers.allow_password_grant = true;
        dangers.allow_plain_pkce = true;
        dangers.allow_missing_pkce = true;
        dangers.allow_token_parameters_in_query = true;
        dangers.allow_out_of_band_redirect = true;
        let form_key: [u8; 32] = *b"the key of all the consent forms";
        watch.keep_bytes("form key", &form_key);
        let builder = AuthorizationServer::builder(ISSUER)
            .storage(storage.clone())
            .authenticator(WatchedUsers(watch.clone()))
            .policy(policy)
            .scope("user:read", "Read your profile")
            .scope("user:write", "Change your profile")
            .default_scope("user:read")
            .clock(t.clock.clone())
            .entropy(t.entropy.clone())
            .observer(watch.clone())
            .pages(WatchedPages(watch.clone()))
            .form_key(form_key)
            .grant(WatchedGrant { name: GrantType::new(EXTENSION).unwrap(), watch: watch.clone() });
        watch.show("builder", &builder);
        t.server = builder.build().unwrap();
        Self { t, watch, storage }
    }

    async fn confidential(&self) -> TestClient {
        let client = self.t.confidential_client_with(|client| {
            client
                .authorization_code([REDIRECT_URI, "urn:ietf:wg:oauth:2.0:oob"])
                .implicit([REDIRECT_URI])
                .refresh_token()
                .client_credentials()
                .password()
                .extension_grant(EXTENSION)
                .scope("user:read user:write")
                .without_pkce()
                .plain_pkce()
                .token_parameters_in_query()
        });
        let client = client.await;
        self.watch.keep("client secret", client.secret.as_ref().unwrap().expose());
        self.watch.show("test client", &client);
        client
    }

    async fn public(&self) -> TestClient {
        let client = Client::public("browser-app")
            .authorization_code([REDIRECT_URI])
            .implicit([REDIRECT_URI])
            .refresh_token()
            .password()
            .plain_pkce()
            .scope("user:read user:write")
            .registration(Registration::SelfService);
        self.watch.show("client builder", &client);
        self.t.register(client.build(), None).await
    }

    /// The typed form, looked at on its way in and out.
    async fn token(&self, what: &str, request: TokenRequest<'_>) -> Option<TokenResponse> {
        self.watch.show(&format!("request: {what}"), &request);
        match self.t.server.token_request(&request).await {
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

    /// The HTTP form, likewise.
    async fn post(&self, what: &str, request: Request) -> Response {
        self.watch.show(&format!("request: {what}"), &request);
        let response = self.t.server.token(&request).await;
        self.watch.show(&format!("response: {what}"), &response);
        if response.status() == 200 {
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            self.watch.keep("access token over HTTP", body["access_token"].as_str().unwrap());
        } else {
            // Even the body of a refusal may end up in a log, and it is shown to the client's users.
            let body = String::from_utf8(response.body().to_vec()).unwrap();
            self.watch.show(&format!("refusal: {what}"), &body);
        }
        response
    }

    async fn approve(&self, what: &str, request: AuthorizationRequest<'_>) -> grantor::AuthorizationResponse {
        self.watch.show(&format!("request: {what}"), &request);
        let authorize = self.t.server.authorization_request(&request).await;
        self.watch.show(&format!("decision wanted: {what}"), &authorize);
        let Authorize::Pending(pending) = authorize else { panic!("{what}: {authorize:?}") };
        let session = "the-random-name-of-a-session";
        self.watch.keep("session", session);
        let form_token = pending.form_token(session);
        let pending = self.t.server.resume(&form_token, session).await.unwrap();
        self.watch.show(&format!("resumed: {what}"), &pending);
        let approval = Approval::by(Subject::new("alice").unwrap())
            .host_data(json!({ "note": "host data that is nobody's business" }));
        self.watch.show("approval", &approval);
        let response = pending.approve(approval).await;
        self.watch.show(&format!("answer: {what}"), &response);
        if let Some(code) = response.code() {
            self.watch.keep(&format!("code: {what}"), code.expose());
        }
        if let Some(token) = response.access_token() {
            self.watch.keep(&format!("implicit access token: {what}"), token.expose());
        }
        response
    }

    async fn code(&self, client: &TestClient) -> AuthorizationCode {
        let challenge = grantor::CodeChallenge::s256(&CodeVerifier::new(VERIFIER));
        self.watch.show("challenge", &challenge);
        let request = AuthorizationRequest::code(&client.id)
            .redirect_uri(REDIRECT_URI)
            .scope("user:read user:write")
            .state("a-state-that-only-one-browser-knows")
            .code_challenge_s256(challenge.as_str());
        let response = self.approve("code", request).await;
        let code = AuthorizationCode::new(response.code().unwrap().expose());
        self.watch.show("redirect with a code", &Response::from(response));
        code
    }

    async fn bearer(&self, token: &AccessToken) {
        self.watch.show("access token", token);
        let http = Request::get("/api").with_header("authorization", format!("Bearer {}", token.expose()));
        self.watch.show("API request", &http);
        match self.t.server.bearer(&http).await {
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
                        self.watch.show("challenge", &error.to_response());
                    }
                }
            }
            Err(error) => {
                self.watch.show_error("bearer", &error);
                let response = error.to_response();
                self.watch.show("challenge", &response.headers().collect::<Vec<_>>());
            }
        }
    }
}

/// Clients at work on a stage. Each scene is a part of [`everything_happens`].
struct Scene<'a> {
    stage: &'a Stage,
    app: TestClient,
    machine: TestClient,
}

const GUESS: &str = "a-guessed-code-or-token";
const WRONG_SECRET: &str = "a-wrong-client-secret";
const WRONG_PASSWORD: &str = "a-wrong-password";
const WRONG_VERIFIER: &str = "a-wrong-verifier-of-forty-three-characters-";

/// Every grant and every sort of refusal; returns the client that has a secret.
async fn everything_happens(stage: &Stage) -> TestClient {
    let watch = &stage.watch;
    for (what, value) in [
        ("verifier", VERIFIER),
        ("password", PASSWORD),
        ("wrong password", WRONG_PASSWORD),
        ("wrong secret", WRONG_SECRET),
        ("wrong verifier", WRONG_VERIFIER),
        ("guessed code", GUESS),
        ("state", "a-state-that-only-one-browser-knows"),
        ("id token of an extension", "an-id-token-that-is-nobodys-business"),
        ("host data", "host data that is nobody's business"),
    ] {
        watch.keep(what, value);
    }
    let scene = Scene { stage, app: stage.public().await, machine: stage.confidential().await };
    let (password, verifier) = (Password::new(PASSWORD), CodeVerifier::new(VERIFIER));
    watch.show("secrets by themselves", &(scene.secret(), &verifier, &password));
    watch.show("digest", &SecretDigest::of(scene.secret()));
    scene.codes_are_redeemed_guessed_and_replayed().await;
    scene.legacy_habits_are_kept().await;
    scene.tokens_are_refreshed_until_a_theft().await;
    scene.machines_and_passwords_are_right_and_wrong().await;
    scene.browsers_are_sent_back().await;
    scene.malformed_requests_are_refused().await;
    scene.the_storage_fails().await;
    watch.show("server", &stage.t.server);
    watch.show("test server", &stage.t);
    watch.show("memory storage", &stage.t.storage);
    for client in stage.t.storage.clients(None, 9).await.unwrap() {
        watch.show("client", &client);
        watch.show("client parts", client.parts());
        watch.show("client as JSON", &serde_json::to_string(&*client).unwrap());
        stage.storage.write(&*client);
    }
    scene.machine
}

impl Scene<'_> {
    fn secret(&self) -> &ClientSecret {
        self.machine.secret.as_ref().unwrap()
    }

    fn by_password<'a>(&'a self, password: &'a Password) -> TokenRequest<'a> {
        TokenRequest::password("alice", password).client_id(&self.app.id).scope("user:read")
    }

    async fn codes_are_redeemed_guessed_and_replayed(&self) {
        let Self { stage, app, .. } = self;
        let (verifier, wrong_verifier) = (CodeVerifier::new(VERIFIER), CodeVerifier::new(WRONG_VERIFIER));
        let code = stage.code(app).await;
        stage.watch.show("code", &code);
        let redeem = || TokenRequest::authorization_code(&code).redirect_uri(REDIRECT_URI).client_id(&app.id);
        assert!(stage.token("wrong verifier", redeem().code_verifier(&wrong_verifier)).await.is_none());
        let not_a_verifier = CodeVerifier::new("short and malformed");
        assert!(stage.token("malformed verifier", redeem().code_verifier(&not_a_verifier)).await.is_none());
        assert!(stage.token("no verifier", redeem()).await.is_none());
        let tokens = stage.token("code", redeem().code_verifier(&verifier)).await.unwrap();
        stage.bearer(&tokens.access_token).await;
        assert!(stage.token("replayed code", redeem().code_verifier(&verifier)).await.is_none());
        stage.bearer(&tokens.access_token).await;
        let guess = AuthorizationCode::new("a-guessed-code-or-token");
        let guessed = TokenRequest::authorization_code(&guess).client_id(&app.id).code_verifier(&verifier);
        assert!(stage.token("guessed code", guessed).await.is_none());
    }

    /// PKCE by `plain`, where the challenge is the verifier; none at all; and everything in a query.
    async fn legacy_habits_are_kept(&self) {
        let Self { stage, app, machine } = self;
        let verifier = CodeVerifier::new(VERIFIER);
        let secret = self.secret();
        let plain = AuthorizationRequest::code(&app.id)
            .parameter("code_challenge", VERIFIER)
            .parameter("code_challenge_method", "plain");
        let response = stage.approve("plain", plain).await;
        let code = response.code().unwrap();
        let request = TokenRequest::authorization_code(code).client_id(&app.id).code_verifier(&verifier);
        assert!(stage.token("plain", request).await.is_some());
        let without = AuthorizationRequest::code(&machine.id).redirect_uri("urn:ietf:wg:oauth:2.0:oob");
        let response = stage.approve("out of band", without).await;
        let code = AuthorizationCode::new(response.code().unwrap().expose());
        stage.watch.show("page with a code", &Response::from(response));
        let query = format!(
            "/token?grant_type=authorization_code&code={}&client_id={}&client_secret={}&redirect_uri=urn:ietf:wg:oauth:2.0:oob",
            code.expose(),
            machine.id,
            secret.expose()
        );
        assert_eq!(stage.post("all in the query", Request::new("POST", query)).await.status(), 200);
    }

    async fn tokens_are_refreshed_until_a_theft(&self) {
        let Self { stage, machine, .. } = self;
        let (verifier, secret) = (CodeVerifier::new(VERIFIER), self.secret());
        let code = stage.code(machine).await;
        let redeem = TokenRequest::authorization_code(&code).redirect_uri(REDIRECT_URI).code_verifier(&verifier);
        let tokens = stage.token("confidential", redeem.client_secret_basic(&machine.id, secret)).await.unwrap();
        let first = tokens.refresh_token.unwrap();
        let refresh = |token| TokenRequest::refresh_token(token).client_secret_post(&machine.id, secret);
        stage.watch.show("refresh token", &first);
        let second = stage.token("refresh", refresh(&first)).await.unwrap().refresh_token.unwrap();
        let again = stage.token("retry", refresh(&first)).await.unwrap().refresh_token.unwrap();
        assert_eq!(second.expose(), again.expose());
        assert!(stage.token("retry of another scope", refresh(&first).scope("user:read")).await.is_none());
        let extended = |action, token: &RefreshToken| {
            TokenRequest::new(EXTENSION)
                .parameter("action", action)
                .parameter("token", token.expose().to_owned())
                .parameter("scope", "user:read user:write")
                .client_secret_basic(&machine.id, secret)
        };
        assert!(stage.token("retry by an extension", extended("repeat", &first)).await.is_some());
        let third = stage.token("refresh by an extension", extended("exchange", &second)).await.unwrap();
        assert!(
            stage.token("scope too wide", refresh(third.refresh_token.as_ref().unwrap()).scope("x y")).await.is_none()
        );
        assert!(stage.token("theft", refresh(&first)).await.is_none());
        assert!(stage.token("dead", refresh(third.refresh_token.as_ref().unwrap())).await.is_none());
        assert!(
            stage
                .token("extension", TokenRequest::new(EXTENSION).client_secret_basic(&machine.id, secret))
                .await
                .is_some()
        );
    }

    async fn machines_and_passwords_are_right_and_wrong(&self) {
        let Self { stage, app, machine } = self;
        let secret = self.secret();
        let (password, wrong_password) = (Password::new(PASSWORD), Password::new(WRONG_PASSWORD));
        let wrong_secret = ClientSecret::new(WRONG_SECRET);
        let own = TokenRequest::client_credentials().scope("user:write").client_secret_basic(&machine.id, secret);
        stage.bearer(&stage.token("machine", own).await.unwrap().access_token).await;
        let tokens = stage.token("password", self.by_password(&password)).await.unwrap();
        stage.bearer(&tokens.access_token).await;
        assert!(stage.token("wrong password", self.by_password(&wrong_password)).await.is_none());
        let own = || TokenRequest::client_credentials();
        assert!(stage.token("wrong secret", own().client_secret_basic(&machine.id, &wrong_secret)).await.is_none());
        assert!(stage.token("wrong secret", own().client_secret_post(&machine.id, &wrong_secret)).await.is_none());
        assert!(stage.token("unknown client", own().client_secret_basic("nobody", &wrong_secret)).await.is_none());
        let both = own().client_secret_basic(&machine.id, secret).client_secret_post(&machine.id, secret);
        assert!(stage.token("two methods", both).await.is_none());
        assert!(
            stage.token("a public client's secret", own().client_secret_post(&app.id, &wrong_secret)).await.is_none()
        );
    }

    async fn browsers_are_sent_back(&self) {
        let Self { stage, app, .. } = self;
        let watch = &stage.watch;
        let implicit = || AuthorizationRequest::token(&app.id).redirect_uri(REDIRECT_URI).scope("user:read");
        let response = stage.approve("implicit", implicit()).await;
        stage.bearer(response.access_token().unwrap()).await;
        watch.show("redirect with a token", &Response::from(response));
        let Authorize::Pending(pending) = stage.t.server.authorization_request(&implicit()).await else { panic!() };
        watch.show("denial", &pending.deny());
        let faulty = format!(
            "/authorize?client_id={}&response_type=code&scope=x&code_challenge={VERIFIER}&access_token={GUESS}",
            app.id
        );
        let faulty = Request::get(faulty);
        watch.show("faulty request", &faulty);
        watch.show("faulty request, answered", &stage.t.server.authorize(&faulty).await);
        watch.show("unknown client", &stage.t.server.authorize(&Request::get("/authorize?client_id=nobody")).await);
    }

    /// Their secrets are as secret as those of others.
    async fn malformed_requests_are_refused(&self) {
        let Self { stage, app, machine } = self;
        let watch = &stage.watch;
        let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("{}:{secret}", machine.id)));
        let own = basic(self.secret().expose());
        watch.keep("Basic header", &own[6..]);
        watch.keep("wrong Basic header", &basic(WRONG_SECRET)[6..]);
        let form = |body: String| Request::post_form("/token", body);
        let machine_form = || form("grant_type=client_credentials".to_owned());
        let pairs = format!("code={GUESS}&password={GUESS}&password=%ZZ{GUESS}");
        watch.show("parameters", &Params::decode(pairs.as_bytes()));
        for (what, request) in [
            ("repeated", form(format!("grant_type=authorization_code&code={GUESS}&code={GUESS}&client_id={}", app.id))),
            ("broken", form(format!("grant_type=authorization_code&code={GUESS}%ZZ&client_id={}", app.id))),
            ("no grant type", form(format!("code={GUESS}&password={WRONG_PASSWORD}&client_secret={WRONG_SECRET}"))),
            (
                "a grant type that is a secret",
                form(format!("grant_type={GUESS}")).with_header("authorization", own.clone()),
            ),
            (
                "an unknown client",
                form(format!("grant_type=client_credentials&client_id=nobody&client_secret={GUESS}")),
            ),
            (
                "a scope that is a secret",
                form(format!("grant_type=client_credentials&scope={GUESS}")).with_header("authorization", own.clone()),
            ),
            ("wrong Basic", machine_form().with_header("authorization", basic(WRONG_SECRET))),
            ("malformed Basic", machine_form().with_header("authorization", format!("Basic {GUESS}!"))),
            ("bearer", machine_form().with_header("authorization", format!("Bearer {GUESS}"))),
            (
                "json",
                Request::new("POST", "/token")
                    .with_header("content-type", "application/json")
                    .with_body(format!("{{\"code\":\"{GUESS}\"}}")),
            ),
            ("by GET", Request::get(format!("/token?code={GUESS}"))),
            ("a name that is a secret", form(format!("{GUESS}=1&{GUESS}=2"))),
        ] {
            assert_ne!(stage.post(what, request).await.status(), 200, "{what}");
        }
        let response = stage.post("machine", machine_form().with_header("authorization", own.clone())).await;
        assert_eq!(response.status(), 200);
        stage.bearer(&AccessToken::new(GUESS)).await;
        let twice = Request::post_form("/api", format!("access_token={GUESS}"))
            .with_header("authorization", format!("Bearer {GUESS}"));
        watch.show_error("token presented twice", &stage.t.server.bearer(&twice).await.unwrap_err());
    }

    /// At each call of a refresh.
    async fn the_storage_fails(&self) {
        let Self { stage, app, .. } = self;
        let password = Password::new(PASSWORD);
        for call in 1..=3 {
            for fault in [Fault::Failed, Fault::Unavailable, Fault::LostAnswer] {
                let tokens = stage.token("password", self.by_password(&password)).await.unwrap();
                let request = TokenRequest::refresh_token(tokens.refresh_token.as_ref().unwrap()).client_id(&app.id);
                stage.t.faults.fail(call, fault);
                assert!(stage.token("failing storage", request).await.is_none(), "{call} {fault:?}");
            }
        }
    }
}

// covers: B34, BR-17 (RFC 9700 §4.9.3), RD-16 (RFC 9700 §4.3.1)
#[tokio::test]
async fn no_secret_is_shown_by_anything_that_may_be_logged() {
    let stage = Stage::new();
    everything_happens(&stage).await;
    stage.watch.assert_nothing_leaked();

    // What was looked at is what was meant to be looked at.
    let watched = stage.watch.0.lock().unwrap();
    let seen = |what: &str| watched.shown.iter().any(|(name, _)| name.starts_with(what));
    for what in [
        "event authorization_approved",
        "event authorization_denied",
        "event authorization_refused",
        "event tokens_issued",
        "event token_refused",
        "event refresh_repeated",
        "event refresh_token_reused",
        "event code_replayed",
        "event bearer_refused",
        "client attempt",
        "resource owner attempt",
        "out-of-band page",
        "confirmation page",
        "error page",
        "presented token",
        "decision",
        "seed",
        "order to spend",
        "access",
        "no user",
        "scope",
    ] {
        assert!(seen(what), "{what} was never looked at");
    }
    for kind in ["seed", "code: ", "access token: ", "refresh token: ", "client secret", "password", "verifier"] {
        assert!(watched.secrets.iter().any(|(name, _)| name.starts_with(kind)), "no {kind} was ever used");
    }
}

/// The other test would pass if it compared nothing: here something does leak.
#[test]
fn the_watch_notices_a_secret_in_each_of_its_spellings() {
    let token = AccessToken::new(URL_SAFE_NO_PAD.encode([0xfb; 32]));
    let spellings = [
        token.expose().to_owned(),
        STANDARD.encode([0xfb; 32]),
        "fb".repeat(32),
        "FB".repeat(32),
        format!("{:?}", [0xfb_u8; 32]),
        format!("Bearer {}, and more", token.expose()),
    ];
    for spelling in spellings {
        let watch = Watch::default();
        watch.keep("token", token.expose());
        watch.show("a log", &spelling);
        let noticed = std::panic::catch_unwind(|| watch.assert_nothing_leaked());
        assert!(noticed.is_err(), "{spelling}");
    }
}

// covers: TF-14 (RFC 6749 §10.3), GR-19 (RFC 6749 §10.4), BR-17 (RFC 9700 §4.9.3), CA-28 (RFC 6819 §5.1.4.1.3), B34
#[tokio::test]
async fn a_dump_of_the_storage_holds_no_token_code_secret_or_password() {
    let stage = Stage::new();
    let machine = everything_happens(&stage).await;
    let dump = stage.storage.written.lock().unwrap();
    let watched = stage.watch.0.lock().unwrap();
    let mut looked_for = BTreeSet::new();
    for (secret, spelling) in &watched.secrets {
        // Host data is the host's to store. A `plain` challenge is the verifier: one of the reasons why it is off.
        if !matches!(secret.as_str(), "host data" | "verifier") {
            assert!(!dump.contains(spelling.as_str()), "the {secret} is stored in clear");
            looked_for.insert(secret.as_str());
        }
    }
    assert!(looked_for.len() > 20 && looked_for.contains("seed"), "{looked_for:?}");
    // It does hold what tokens are found by.
    let mut found = 0;
    for (secret, spelling) in &watched.secrets {
        let is_token = ["code: ", "access token: ", "refresh token: "].iter().any(|kind| secret.starts_with(kind));
        if is_token && spelling.len() == 43 && URL_SAFE_NO_PAD.decode(spelling).is_ok_and(|bytes| bytes.len() == 32) {
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(spelling.as_bytes()));
            assert!(dump.contains(&hash), "the {secret} is not in the dump at all");
            found += 1;
        }
    }
    assert!(found > 10);
    let digest = SecretDigest::of(machine.secret.as_ref().unwrap());
    assert!(dump.contains(&serde_json::to_string(&digest).unwrap()));
}

#[test]
fn what_a_storage_reads_back_is_redacted_too() {
    let seed = Seed::from_bytes([0xab; 32]);
    let json = serde_json::to_string(&seed).unwrap();
    let read: Seed = serde_json::from_str(&json).unwrap();
    assert_eq!(format!("{read:?}"), "Seed([redacted])");
    let wrong = serde_json::from_str::<Seed>("\"c2VjcmV0LXNlZWQ\"").unwrap_err().to_string();
    assert!(!wrong.contains("c2Vjc"), "{wrong}");
    let digest = SecretDigest::of(&ClientSecret::new("s3cr3t"));
    assert_eq!(format!("{digest:?}"), "SecretDigest([redacted])");
    let parts =
        r#"{"client_id":"a","client_type":"confidential","credentials":[{"type":"secret","digest":"c2VjcmV0"}]}"#;
    let wrong = serde_json::from_str::<ClientParts>(parts).unwrap_err().to_string();
    assert!(!wrong.contains("c2VjcmV0"), "{wrong}");
}

/// The characters of base64url, of which all issued values are made.
fn is_base64url(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A server with the operating system's randomness, a machine and a user.
async fn random_server() -> (TestServer, TestClient) {
    let mut policy = Policy::default();
    policy.dangerous().allow_password_grant = true;
    let t = TestServer::with(|builder| builder.policy(policy).entropy(SystemEntropy));
    t.users.add("alice", "correct horse");
    let app = Client::public("app").authorization_code([REDIRECT_URI]).refresh_token().password().scope("user:read");
    let app = t.register(app.build(), None).await;
    (t, app)
}

// covers: TF-01 (RFC 6749 §10.10), TF-02, TF-06 (RFC 6750 §5.2), TF-09 (RFC 6750 §2.1), PP-22 (RFC 6749 §2.2), B42
#[tokio::test]
async fn a_hundred_thousand_issued_values_are_256_bits_of_noise() {
    const ROUNDS: usize = 20_000;
    let (t, app) = random_server().await;
    let password = Password::new("correct horse");
    let mut values = HashSet::with_capacity(5 * ROUNDS);
    let mut new = |value: &str| assert!(values.insert(value.to_owned()), "a collision");
    for _ in 0..ROUNDS {
        let request = TokenRequest::password("alice", &password).scope("user:read");
        let tokens = t.token_as(&app, request).await.unwrap();
        new(tokens.access_token.expose());
        let refresh_token = tokens.refresh_token.unwrap();
        new(refresh_token.expose());
        // Derived tokens must be as random as those that are drawn.
        let derived = t.refresh(&app, &refresh_token).await.unwrap();
        new(derived.access_token.expose());
        new(derived.refresh_token.unwrap().expose());
        new(ClientSecret::generate(&SystemEntropy).unwrap().expose());
    }
    for _ in 0..1_000 {
        let flow = t.authorize(&app).approve_as("alice").await;
        new(flow.code().expose());
    }

    let (mut bits, mut bytes) = ([0_u32; 256], [0_u32; 256]);
    for value in &values {
        assert!(value.len() == 43 && is_base64url(value), "{value}");
        let decoded: [u8; 32] = URL_SAFE_NO_PAD.decode(value).unwrap().try_into().unwrap();
        for (place, byte) in decoded.iter().enumerate() {
            bytes[usize::from(*byte)] += 1;
            for bit in 0..8 {
                bits[place * 8 + bit] += u32::from(byte >> bit & 1);
            }
        }
    }
    let count = f64::from(u32::try_from(values.len()).unwrap());
    assert!(count > 1e5);
    // No bit is constant or biased: 1 % is more than six standard deviations.
    for (place, ones) in bits.iter().enumerate() {
        let share = f64::from(*ones) / count;
        assert!((share - 0.5).abs() < 0.01, "bit {place} is set in {share} of all values");
    }
    // Pearson's test over all bytes: 255 degrees of freedom, so 255 on average; 450 has a chance of 1e-12.
    let expected = count * 32.0 / 256.0;
    let chi_squared: f64 = bytes.iter().map(|seen| (f64::from(*seen) - expected).powi(2) / expected).sum();
    assert!(chi_squared < 450.0, "{chi_squared}");
}

// covers: TF-09 (RFC 6749 Appendix A.11 to A.17), PP-22 (RFC 6749 §2.2), B42
#[tokio::test]
async fn every_issued_value_has_its_documented_size_and_alphabet() {
    let (t, app) = random_server().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let tokens = approved.redeem().await.unwrap();
    let refreshed = t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
    for (what, value) in [
        ("code", approved.code().expose()),
        ("access token", tokens.access_token.expose()),
        ("refresh token", tokens.refresh_token.as_ref().unwrap().expose()),
        ("derived access token", refreshed.access_token.expose()),
        ("derived refresh token", refreshed.refresh_token.as_ref().unwrap().expose()),
        ("client secret", ClientSecret::generate(&SystemEntropy).unwrap().expose()),
    ] {
        assert!(value.len() == 43 && is_base64url(value), "{what}: {value}");
    }
    let id = ClientId::generate(&SystemEntropy).unwrap();
    assert!(id.as_str().len() == 22 && is_base64url(id.as_str()), "{id}");
    let (_, grant) = t.storage.find(&tokens.access_token.hash()).await.unwrap().unwrap();
    assert!(grant.id.to_string().len() == 22 && is_base64url(&grant.id.to_string()), "{}", grant.id);
}

/// A value with one character replaced by another of the alphabet.
fn flipped(value: &str, place: usize, by: char) -> String {
    value.chars().enumerate().map(|(at, c)| if at == place { by } else { c }).collect()
}

/// Every value that differs in one character; in the last one, whose lowest two bits mean nothing to a decoder, by all
/// others.
fn neighbours(value: &str) -> Vec<String> {
    let last = value.len() - 1;
    let others = |c: char| ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).filter(move |it| *it != c);
    let at = |place| value.chars().nth(place).unwrap();
    let everywhere = (0..last).map(|place| flipped(value, place, others(at(place)).next().unwrap()));
    everywhere.chain(others(at(last)).map(|by| flipped(value, last, by))).collect()
}

// covers: TF-03 (RFC 6749 §10.3), TF-04 (RFC 6749 §10.4), GR-18 (RFC 9700 §4.14.2), GC-12 (RFC 6749 §4.1.3)
#[tokio::test]
async fn a_token_with_any_character_changed_is_unknown_and_hurts_nobody() {
    let t = TestServer::new();
    let app = t.public_client(REDIRECT_URI).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    for code in neighbours(approved.code().expose()) {
        let code = AuthorizationCode::new(code);
        let request = TokenRequest::authorization_code(&code).redirect_uri(REDIRECT_URI);
        let error = t.token_as(&app, request.code_verifier(&CodeVerifier::new(VERIFIER))).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_GRANT, "{}", code.expose());
    }
    let tokens = approved.redeem().await.unwrap();
    let refresh_token = tokens.refresh_token.unwrap();
    for token in neighbours(tokens.access_token.expose()) {
        let error = t.bearer(&AccessToken::new(&*token)).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::INVALID_TOKEN), "{token}");
    }
    for token in neighbours(refresh_token.expose()) {
        let error = t.refresh(&app, &RefreshToken::new(&*token)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_GRANT, "{token}");
    }
    assert_eq!(neighbours(refresh_token.expose()).len(), 42 + 63);
    assert!(t.bearer(&tokens.access_token).await.is_ok());
    assert!(t.refresh(&app, &refresh_token).await.is_ok());
    assert_eq!(t.events.count("code_replayed") + t.events.count("refresh_token_reused"), 0);
}

// covers: CA-29 (RFC 6749 §10.10), B35
#[test]
fn secrets_have_no_equality_operator_so_that_only_constant_time_comparison_is_left() {
    static_assertions::assert_not_impl_any!(ClientSecret: PartialEq, PartialOrd, std::hash::Hash);
    static_assertions::assert_not_impl_any!(AccessToken: PartialEq, PartialOrd, std::hash::Hash);
    static_assertions::assert_not_impl_any!(Password: PartialEq, PartialOrd, std::hash::Hash);
    static_assertions::assert_not_impl_any!(CodeVerifier: PartialEq, PartialOrd, std::hash::Hash);
    static_assertions::assert_not_impl_any!(SecretDigest: PartialEq, PartialOrd, std::hash::Hash);
    static_assertions::assert_not_impl_any!(grantor::CodeChallenge: PartialEq, PartialOrd, std::hash::Hash);
    static_assertions::assert_not_impl_any!(Seed: PartialEq, PartialOrd, std::hash::Hash);
    // What takes the operator's place compares all of it, not a beginning or an end.
    let secret = "0123456789abcdef";
    let digest = SecretDigest::of(&ClientSecret::new(secret));
    assert!(digest.matches(&ClientSecret::new(secret)));
    for wrong in ["", "0", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", "1123456789abcdef"] {
        assert!(!digest.matches(&ClientSecret::new(wrong)), "{wrong}");
    }
    let mut other = *digest.as_bytes();
    for at in 0..other.len() {
        other[at] ^= 1;
        assert!(!SecretDigest::from_bytes(other).matches(&ClientSecret::new(secret)), "byte {at}");
        other[at] ^= 1;
    }
}

/// The types refuse `==`; what is left is to take a secret out and compare its bytes.
// covers: CA-29 (RFC 6749 §10.10), B35
#[test]
fn nothing_that_was_taken_out_of_a_secret_is_compared_by_an_operator() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut comparisons = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let takes_out =
                    ["expose()", "as_bytes()", ".finish()", "self.value"].iter().any(|exit| line.contains(exit));
                let compares = line.contains(" == ") || line.contains(" != ");
                assert!(!(takes_out && compares), "{}: {line}", path.display());
            }
            comparisons += [".ct_eq(", ".verify_slice(", " are_equal("]
                .map(|call| code.matches(call).count())
                .iter()
                .sum::<usize>();
        }
    }
    // Client secrets, two methods of PKCE, what these use with its two steps, form tokens, and the test users' passwords.
    assert_eq!(comparisons, 8);
}
