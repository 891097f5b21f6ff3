//! The part of the host that the README leaves to its reader: sessions and pages, as small as a test needs them.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use grantor::authorize::escape;
use grantor::{PendingAuthorization, Subject};

/// Logged in as whoever the header `x-user` names.
pub struct Session {
    user: Option<Subject>,
    secret: &'static str,
}

impl Session {
    pub fn user(&self) -> Option<Subject> {
        self.user.clone()
    }

    pub fn secret(&self) -> &'static str {
        self.secret
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let user = parts.headers.get("x-user").and_then(|name| name.to_str().ok());
        let user = user.and_then(|name| Subject::new(name).ok());
        Ok(Self { user, secret: "the random identifier of this session" })
    }
}

pub fn login_page(target: &str) -> Response {
    grantor::Response::page(200, format!("log in to go on to {}", escape(target))).into_response()
}

pub fn consent_page(pending: &PendingAuthorization, user: &Subject, form_token: &str) -> Response {
    let asks: Vec<&str> = pending.scopes().map(|scope| scope.description).collect();
    let page = format!("{}, this asks to: {}. form_token={form_token}", escape(user.as_str()), asks.join(", "));
    grantor::Response::page(200, page).into_response()
}
