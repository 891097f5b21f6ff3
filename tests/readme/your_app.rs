//! The part of the host app that the README does not show: minimal sessions and pages.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use grantor::authorize::escape;
use grantor::{Consent, Subject, UserSession};

/// The user is logged in as the name in the header `x-user`.
pub struct Session {
    user: Option<UserSession>,
    form_secret: &'static str,
}

impl Session {
    pub fn user(&self) -> Option<&UserSession> {
        self.user.as_ref()
    }

    pub fn form_secret(&self) -> &'static str {
        self.form_secret
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let user = parts.headers.get("x-user").and_then(|name| name.to_str().ok());
        let user = user.and_then(|name| Subject::new(name).ok()).map(UserSession::new);
        Ok(Self { user, form_secret: "a random value of this session" })
    }
}

pub fn login_page(target: &str) -> Response {
    grantor::Response::page(200, format!("log in to continue to {}", escape(target))).into_response()
}

pub fn consent_page(consent: &Consent, form_token: &str) -> Response {
    let asks: Vec<&str> = consent.request().scopes().map(|scope| scope.description).collect();
    let page = format!("this asks to: {}. form_token={form_token}", asks.join(", "));
    grantor::Response::page(200, page).into_response()
}
