//! Clients and browsers at work: every grant type, every endpoint, and every kind of refusal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantor::secret::SecretDigest;
use grantor::storage::GrantSelector;
use grantor::testing::Fault;
use grantor::{
    AccessToken, AuthorizationCode, AuthorizationOutcome, AuthorizationRequest, ClientSecret, CodeVerifier,
    IntrospectionRequest, Params, Password, RefreshToken, Request, Response, RevocationRequest, Subject, TokenRequest,
};

use crate::stage::{App, EXTENSION, Kept, SESSION, Stage};
use crate::{GUESS, PASSWORD, REDIRECT_URI, STATE, VERIFIER, WRONG_PASSWORD, WRONG_SECRET, WRONG_VERIFIER};

/// Clients of a stage. Each scene is a part of [`everything_happens`].
pub(crate) struct Scene<'a, S> {
    pub(crate) stage: &'a Stage<S>,
    pub(crate) app: App,
    pub(crate) machine: App,
}

/// Every grant type and every kind of refusal; returns the confidential client.
pub(crate) async fn everything_happens<S: Kept>(stage: &Stage<S>) -> Scene<'_, S> {
    let watch = &stage.watch;
    for (what, value) in [
        ("verifier", VERIFIER),
        ("password", PASSWORD),
        ("wrong password", WRONG_PASSWORD),
        ("wrong secret", WRONG_SECRET),
        ("wrong verifier", WRONG_VERIFIER),
        ("guessed code", GUESS),
        ("state", STATE),
        ("session", SESSION),
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
    scene.tokens_are_inspected_and_revoked().await;
    scene.consent_forms_are_submitted().await;
    scene.the_storage_fails().await;
    scene.the_host_falls_over().await;
    watch.show("server", &stage.server);
    watch.show("policy", stage.server.policy());
    watch.show("storage", &stage.kept);
    for client in stage.kept.list_clients(None, 9).await.unwrap() {
        watch.show("client", &client);
        watch.show("client parts", client.parts());
        watch.show("client as JSON", &serde_json::to_string(&*client).unwrap());
        stage.dump.write(&*client);
    }
    scene
}

impl<S: Kept> Scene<'_, S> {
    pub(crate) fn secret(&self) -> &ClientSecret {
        self.machine.secret.as_ref().unwrap()
    }

    pub(crate) fn by_password<'a>(&'a self, password: &'a Password) -> TokenRequest<'a> {
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

    /// Redeems codes with PKCE `plain`, where the challenge is the verifier, without PKCE, and with a query.
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
        stage.watch.show_answer("page with a code", &Response::from(response), &[code.expose()]);
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
        let third = stage.token("second refresh", refresh(&second)).await.unwrap();
        let extended = TokenRequest::new(EXTENSION)
            .parameter("action", "look")
            .parameter("token", second.expose().to_owned())
            .client_secret_basic(&machine.id, secret);
        assert!(stage.token("extension that looks at a token", extended).await.is_some());
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
        let token = AccessToken::new(response.access_token().unwrap().expose());
        watch.show_answer("redirect with a token", &Response::from(response), &[token.expose()]);
        let Ok(pending) = stage.server.authorization_request(&implicit()).await else { panic!() };
        let denial = pending.deny();
        watch.show("denial", &denial);
        watch.show_answer("denial", &Response::from(denial), &[]);
        let faulty = format!(
            "/authorize?client_id={}&response_type=code&scope=x&code_challenge={VERIFIER}&access_token={GUESS}",
            app.id
        );
        let faulty = Request::get(faulty);
        watch.show("faulty request", &faulty);
        let AuthorizationOutcome::Respond(answer) = stage.server.authorize(&faulty).await else { panic!() };
        watch.show_answer("faulty request", &answer, &[]);
        let unknown = Request::get(format!("/authorize?client_id=nobody&state={STATE}&code_challenge={VERIFIER}"));
        let AuthorizationOutcome::Respond(answer) = stage.server.authorize(&unknown).await else { panic!() };
        watch.show_answer("unknown client", &answer, &[]);
    }

    /// Malformed requests may contain real secrets too.
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
            (
                "Basic without a colon",
                machine_form().with_header("authorization", format!("Basic {}", STANDARD.encode(GUESS))),
            ),
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
        watch.show_error("token presented twice", &stage.server.bearer(&twice).await.unwrap_err());
    }

    /// Tokens are introspected and revoked by their owners, and by clients that guess.
    async fn tokens_are_inspected_and_revoked(&self) {
        let Self { stage, app, machine } = self;
        let (watch, password, wrong_secret) = (&stage.watch, Password::new(PASSWORD), ClientSecret::new(WRONG_SECRET));
        let of_app = stage.token("to be revoked", self.by_password(&password)).await.unwrap();
        let of_machine = TokenRequest::password("alice", &password).client_secret_basic(&machine.id, self.secret());
        let of_machine = stage.token("to be inspected", of_machine).await.unwrap();
        for token in [of_machine.access_token.expose(), of_app.access_token.expose(), GUESS] {
            for secret in [self.secret(), &wrong_secret] {
                let request = IntrospectionRequest::of(token).client_secret_basic(&machine.id, secret);
                watch.show("introspection request", &request);
                match stage.server.introspection_request(&request).await {
                    Ok(told) => watch.show("introspection", &told),
                    Err(error) => watch.show_error("introspection error", &error),
                }
            }
            let body = format!("token={token}&client_id={}&client_secret={}", machine.id, self.secret().expose());
            let request = Request::post_form("/introspect", body);
            watch.show("introspection by form", &request);
            watch.show_answer("introspection", &stage.server.introspect(&request).await, &[]);
        }
        for token in [of_machine.refresh_token.unwrap().expose(), of_app.refresh_token.unwrap().expose(), GUESS] {
            let token = RefreshToken::new(token);
            let wrong = ClientSecret::new(WRONG_SECRET);
            let request = || RevocationRequest::refresh_token(&token);
            for request in [request().client_secret_post(&machine.id, &wrong), request().client_id(&app.id)] {
                watch.show("revocation request", &request);
                if let Err(error) = stage.server.revocation_request(&request).await {
                    watch.show_error("revocation error", &error);
                }
            }
            let body = format!("token={}&client_id={}&client_secret={WRONG_SECRET}", token.expose(), machine.id);
            watch.show_answer("revocation", &stage.server.revoke(&Request::post_form("/revoke", body)).await, &[]);
        }
        let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
        stage.faults.fail(1, Fault::Failed);
        watch.show_error("revocation by the host", &stage.server.revoke_grants(&alice).await.unwrap_err());
        assert!(stage.server.revoke_grants(&alice).await.unwrap() > 0);
    }

    /// Submits a valid form, a form of a different session, and changed forms.
    async fn consent_forms_are_submitted(&self) {
        let Self { stage, app, .. } = self;
        let challenge = grantor::CodeChallenge::s256(&CodeVerifier::new(VERIFIER));
        let request = AuthorizationRequest::code(&app.id).state(STATE).code_challenge_s256(challenge.as_str());
        let request = request.parameter("prompt", "consent");
        let Ok(pending) = stage.server.authorization_request(&request).await else { panic!() };
        let consent = grantor::testing::ask(pending, Subject::new("alice").unwrap()).await;
        let form_token = consent.form_token(SESSION);
        drop(consent);
        for (what, token, session) in [
            ("own form", form_token.clone(), SESSION),
            ("used form", form_token.clone(), SESSION),
            ("form of another session", form_token.clone(), "the-random-name-of-another-session"),
            ("changed form", form_token.replacen('A', "B", 1), SESSION),
            ("guessed form", GUESS.to_owned(), SESSION),
        ] {
            let request = Request::post_form("/consent", format!("form_token={token}&decision=deny&scope=user%3Aread"));
            stage.watch.show(what, &request);
            match stage.server.resume_form(&request, session).await {
                Ok((pending, form)) => {
                    stage.watch.show(what, &(&pending, &form));
                    let answer = pending.deny().await;
                    stage.watch.show(what, &answer);
                    let target = answer.stale_form().and_then(|form| form.return_target()).map(str::to_owned);
                    let sent: &[&str] = if target.is_none() { &[STATE] } else { &[] };
                    stage.watch.show_answer(what, &without_link(answer.into(), target.as_deref()), sent);
                }
                Err(error) => {
                    stage.watch.show(what, &error);
                    let target = error.stale_form().and_then(|form| form.return_target());
                    stage.watch.show_answer(what, &without_link(error.to_response(), target), &[]);
                }
            }
        }
    }
}

/// The page without the link back to the request, which contains what this browser has submitted.
fn without_link(page: Response, target: Option<&str>) -> Response {
    let Some(target) = target else { return page };
    let body = String::from_utf8_lossy(page.body()).into_owned();
    assert_eq!(body.matches(target).count(), 1, "{body}");
    Response::page(page.status(), body.replace(target, ""))
}
