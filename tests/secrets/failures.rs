//! Failures of the host: its storage returns errors, its code panics.

use std::future::Future;
use std::sync::atomic::Ordering;

use grantor::testing::Fault;
use grantor::{AuthorizationRequest, Password, Request, TokenRequest};

use crate::database::Database;
use crate::stage::{EXTENSION, Kept, Stage};
use crate::traffic::Scene;
use crate::{PASSWORD, REDIRECT_URI, STATE, UNLUCKY, VERIFIER};

impl<S: Kept> Scene<'_, S> {
    /// Fails each storage call of a refresh.
    pub(crate) async fn the_storage_fails(&self) {
        let Self { stage, app, .. } = self;
        let password = Password::new(PASSWORD);
        for call in 1..=3 {
            for fault in [Fault::Failed, Fault::Unavailable, Fault::LostAnswer] {
                let tokens = stage.token("password", self.by_password(&password)).await.unwrap();
                let request = TokenRequest::refresh_token(tokens.refresh_token.as_ref().unwrap()).client_id(&app.id);
                stage.faults.fail(call, fault);
                assert!(stage.token("failing storage", request).await.is_none(), "{call} {fault:?}");
            }
        }
    }

    /// The host app panics while it holds a secret: a password, a client secret, a token, a new code.
    pub(crate) async fn the_host_falls_over(&self) {
        let Self { stage, app, machine } = self;
        let (watch, server) = (&stage.watch, &stage.server);
        let id = &app.id;
        let password = format!("grant_type=password&username={UNLUCKY}&password={VERIFIER}&client_id={id}");
        falls_over(watch, "authenticator", answer(server, password)).await;
        let secret = format!("client_id={}&client_secret={}", machine.id, self.secret().expose());
        let token = stage.token("before the fall", self.by_password(&Password::new(PASSWORD))).await.unwrap();
        let refresh_token = token.refresh_token.as_ref().unwrap();
        let extension = format!("grant_type={EXTENSION}&action={UNLUCKY}&token={}&{secret}", refresh_token.expose());
        falls_over(watch, "grant handler", answer(server, extension)).await;
        stage.dump.panics.store(true, Ordering::SeqCst);
        let refresh = format!("grant_type=refresh_token&refresh_token={}&client_id={id}", refresh_token.expose());
        falls_over(watch, "storage", answer(server, refresh.clone())).await;
        watch.observer_panics.store(true, Ordering::SeqCst);
        falls_over(watch, "observer", answer(server, refresh)).await;
        let faulty =
            Request::get(format!("/authorize?client_id={id}&redirect_uri={REDIRECT_URI}&state={STATE}{UNLUCKY}"));
        let (own, authorize) =
            (server.clone(), async move |own: grantor::AuthorizationServer| own.authorize(&faulty).await);
        falls_over(watch, "page", async move { drop(authorize(own).await) }).await;
        let unsure = Password::new(PASSWORD);
        let unsure = TokenRequest::password("nobody can tell", &unsure).client_id(id);
        assert!(stage.token("failing authenticator", unsure).await.is_none());
        stage.bearer(&token.access_token).await;
    }

    /// Makes the database itself fail. Its errors mention rows and columns.
    pub(crate) async fn the_database_fails<D: Database>(&self, database: &D) {
        let Self { stage, app, machine } = self;
        let password = Password::new(PASSWORD);
        // Two servers have the same randomness, so the second server finds its token hashes taken.
        for twin in [
            Stage::with_entropy(stage.kept.clone(), &stage.watch, 99).await,
            Stage::with_entropy(stage.kept.clone(), &stage.watch, 99).await,
        ] {
            let own = TokenRequest::client_credentials().client_secret_basic(&machine.id, self.secret());
            let _ = twin.token("twin", own).await;
        }
        assert!(stage.watch.has_shown("error: twin"));
        let mut before = Vec::new();
        for _ in D::BREAKS {
            before.push(stage.token("before the break", self.by_password(&password)).await.unwrap());
        }
        for (sql, tokens) in D::BREAKS.iter().zip(before) {
            database.execute(sql).await;
            let refresh = TokenRequest::refresh_token(tokens.refresh_token.as_ref().unwrap()).client_id(&app.id);
            assert!(stage.token("broken", refresh).await.is_none(), "{sql}");
            let _ = stage.token("broken", self.by_password(&password)).await;
            let request = AuthorizationRequest::code(&machine.id).redirect_uri(REDIRECT_URI).state(STATE);
            let response = stage.approve("broken", request).await;
            if let Some(error) = response.error() {
                stage.watch.show_error("broken", error);
                stage.watch.show_answer("broken", &response.into(), &[STATE]);
            }
            stage.bearer(&tokens.access_token).await;
        }
        assert!(stage.watch.has_shown("all of the answer: broken"));
    }
}

fn answer(server: &grantor::AuthorizationServer, form: String) -> impl Future<Output = ()> + Send + use<> {
    let server = server.clone();
    async move {
        let _ = server.token(&Request::post_form("/token", form)).await;
    }
}

/// The panic is the host's. It ends the task of the adapter, which reports how the task ended.
async fn falls_over(watch: &crate::watch::Watch, who: &str, request: impl Future<Output = ()> + Send + 'static) {
    let end = tokio::spawn(request).await.unwrap_err();
    assert!(end.is_panic());
    watch.show_error(&format!("end of a task: {who}"), &end);
}
