use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use grantor::axum::{routes, run_to_completion};
use grantor::{Approval, AuthorizationServer, Authorize, Bearer, BearerError, BuildError, MemoryStorage, Request};
use serde_json::{Value, json};

use crate::your_app::{Session, consent_page, login_page};

pub fn app(storage: MemoryStorage) -> Result<Router, BuildError> {
    let oauth = AuthorizationServer::builder("https://id.example.com")
        .storage(storage) // clients, tokens and more: three traits, yours to implement
        .scope("user:read", "Read your profile")
        .scope("user:write", "Change your profile")
        .build()?;
    Ok(Router::new()
        .route("/authorize", get(authorize))
        .route("/consent", post(decide))
        .route("/me", get(me))
        .merge(routes(&oauth)) // token, revocation, introspection, metadata
        .with_state(oauth))
}

async fn authorize(State(oauth): State<AuthorizationServer>, session: Session, request: Request) -> Response {
    match oauth.authorize(&request).await {
        Authorize::Respond(response) => response.into_response(),
        Authorize::Pending(pending) => match session.user() {
            None => login_page(request.target()),
            Some(user) => consent_page(&pending, &user, &pending.form_token(session.secret())),
        },
    }
}

async fn decide(State(oauth): State<AuthorizationServer>, session: Session, request: Request) -> Response {
    match (oauth.resume_form(&request, session.secret()).await, session.user()) {
        (Err(response), _) => response.into_response(), // forged, changed or too late
        (Ok((pending, form)), Some(user)) if form.approved => {
            run_to_completion(pending.approve(Approval::by(user).scope(form.scope))).await.into_response()
        }
        (Ok((pending, _)), _) => pending.deny().into_response(),
    }
}

async fn me(token: Bearer) -> Result<Json<Value>, BearerError> {
    let access = token.require("user:read")?; // nothing is readable before a scope was required
    Ok(Json(json!({ "name": access.user()?.as_str() }))) // 403 for the token of a machine
}
