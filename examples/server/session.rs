//! Sessions: who is using the browser, and which forms are the browser's own.
//!
//! Every browser has a random identifier in a cookie. Only logging in stores anything at the server, so nobody can fill
//! its memory by asking for pages. The identifier changes at login and logout: one that somebody else has seen or
//! planted before is worth nothing afterwards.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Mutex;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::Subject;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};

use crate::app::App;
use crate::lock;

const LIFETIME: Duration = Duration::hours(12);

/// The sessions of logged-in users.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Whether browsers are to send the cookie over TLS only.
    secure: bool,
    logged_in: Mutex<HashMap<String, LoggedIn>>,
}

#[derive(Debug)]
struct LoggedIn {
    user: Subject,
    until: OffsetDateTime,
}

/// The session of the browser that sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    id: String,
    user: Option<Subject>,
    /// Whether the browser does not know its identifier yet.
    is_new: bool,
    cookie_name: &'static str,
    secure: bool,
}

impl Sessions {
    pub(crate) fn new(secure: bool) -> Self {
        Self { secure, logged_in: Mutex::default() }
    }

    /// The session goes on under another identifier, with this user in it.
    pub(crate) fn log_in(&self, session: &Session, user: Subject) -> Session {
        let id = random_text();
        let until = OffsetDateTime::now_utc() + LIFETIME;
        let mut sessions = lock(&self.logged_in);
        sessions.remove(&session.id);
        sessions.insert(id.clone(), LoggedIn { user: user.clone(), until });
        Session { id, user: Some(user), is_new: true, ..session.clone() }
    }

    /// The session goes on under another identifier, with nobody in it.
    pub(crate) fn log_out(&self, session: &Session) -> Session {
        lock(&self.logged_in).remove(&session.id);
        Session { id: random_text(), user: None, is_new: true, ..session.clone() }
    }

    /// Ends every session of a user, in every browser.
    pub(crate) fn log_out_everywhere(&self, user: &Subject) {
        lock(&self.logged_in).retain(|_, session| session.user != *user);
    }

    /// Forgets sessions that have ended.
    pub(crate) fn purge(&self) {
        let now = OffsetDateTime::now_utc();
        lock(&self.logged_in).retain(|_, session| now < session.until);
    }

    fn user(&self, id: &str) -> Option<Subject> {
        let now = OffsetDateTime::now_utc();
        lock(&self.logged_in).get(id).filter(|session| now < session.until).map(|session| session.user.clone())
    }

    /// The prefix makes browsers refuse the cookie from anybody but this host.
    const fn cookie_name(&self) -> &'static str {
        if self.secure { "__Host-grantor_session" } else { "grantor_session" }
    }
}

impl Session {
    /// Who is logged in.
    pub(crate) const fn user(&self) -> Option<&Subject> {
        self.user.as_ref()
    }

    /// Who is logged in, or the way to the login page, which leads back to `path`.
    pub(crate) fn require_user(&self, path: &'static str) -> Result<&Subject, Box<Response>> {
        let to_login = || Box::new(Redirect::to(&format!("/login?next={path}")).into_response());
        self.user().ok_or_else(to_login)
    }

    /// What consent forms are bound to: only this browser has it, and it changes at login and logout.
    pub(crate) const fn secret(&self) -> &str {
        self.id.as_str()
    }

    /// What every form carries to show that it comes from a page of ours. It tells nothing about the identifier.
    pub(crate) fn csrf_token(&self) -> String {
        let digest = Sha256::new().chain_update(b"csrf token\0").chain_update(&self.id).finalize();
        URL_SAFE_NO_PAD.encode(digest)
    }

    /// Whether a form carried this session's token.
    pub(crate) fn is_csrf_token(&self, submitted: &str) -> bool {
        self.csrf_token().as_bytes().ct_eq(submitted.as_bytes()).into()
    }

    /// Tells the browser its identifier, if it does not know it.
    pub(crate) fn attach(&self, mut response: Response) -> Response {
        if self.is_new {
            let cookie = cookie(self.cookie_name, &self.id, self.secure);
            response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
        }
        response
    }
}

impl FromRequestParts<App> for Session {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let (cookie_name, secure) = (app.sessions.cookie_name(), app.sessions.secure);
        if let Some(id) = cookie_value(&parts.headers, cookie_name) {
            let user = app.sessions.user(id);
            return Ok(Self { id: id.to_owned(), user, is_new: false, cookie_name, secure });
        }
        // A post from another site comes without the cookie. An answer that set a new one would log the user out.
        let is_new = parts.method == Method::GET;
        Ok(Self { id: random_text(), user: None, is_new, cookie_name, secure })
    }
}

/// 256 random bits: 43 characters that need no escaping anywhere.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The value of a cookie that [`cookie`] made.
pub(crate) fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let is_random_text = |value: &&str| {
        value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split("; ")).filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(own, value)| (own == name).then_some(value)).filter(is_random_text)
}

/// A cookie that no script can read and that no other site's form or frame can send.
pub(crate) fn cookie(name: &str, value: &str, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
}
