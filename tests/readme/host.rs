use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use grantor::axum::{require, routes, run_to_completion};
use grantor::{Access, Approval, AuthorizationServer, BearerError, Interaction, Request};
use grantor::{Client, ClientRegistry, MemoryStorage};

use crate::your_app::{Session, consent_page, login_page};

pub async fn app(storage: MemoryStorage) -> Result<Router, Box<dyn std::error::Error>> {
    let client = Client::native("demo").authorization_code(["http://127.0.0.1/callback"]).scope("user:read user:write");
    storage.register(client.build()?).await?;
    let oauth = AuthorizationServer::builder("https://id.example.com") // the issuer: your public address
        .storage(storage) // or SqliteStorage, PostgresStorage, your own
        .scope("user:read", "Read your profile")
        .scope("user:write", "Change your profile")
        .build()
        .await?;
    Ok(Router::new()
        .route("/authorize", any(authorize))
        .route("/consent", post(decide))
        .route("/me", get(me).layer(require(&oauth, ["user:read"])))
        .merge(routes(&oauth)) // token, revocation, introspection, metadata
        .with_state(oauth))
}

async fn authorize(State(oauth): State<AuthorizationServer>, session: Session, request: Request) -> Response {
    match oauth.interaction(&request, session.user()).await {
        Interaction::Login(login) => login_page(&login.return_target()), // the browser must return to this address
        Interaction::SelectAccount(accounts) => login_page(&accounts.return_target()),
        Interaction::Consent(consent) => consent_page(&consent, &consent.form_token(session.form_secret())),
        Interaction::Proceed(proceed) => run_to_completion(proceed.approve()).await.into_response(),
        Interaction::Respond(response) => response.into_response(), // an error, for the browser or for the client
    }
}

async fn decide(State(oauth): State<AuthorizationServer>, session: Session, request: Request) -> Response {
    match (oauth.resume_form(&request, session.form_secret()).await, session.user()) {
        (Err(error), _) => error.into_response(), // a page: the form is forged, changed or too old
        (Ok((consent, form)), Some(user)) if form.approved => {
            run_to_completion(consent.approve(Approval::by(user).scope(form.scope))).await.into_response()
        }
        (Ok((consent, _)), _) => run_to_completion(consent.deny()).await.into_response(),
    }
}

async fn me(access: Access) -> Result<String, BearerError> {
    Ok(format!("You are {}.", access.user()?)) // a token without a user gets 403
}
