//! Sessions of users, and tokens that keep other sites from submitting forms.
//!
//! `tower-sessions` reads and writes the cookie of a session and changes its identifier at login. A session begins at
//! login: visitors have none, so they store nothing at the server.
//!
//! Every form carries a CSRF token of two parts. One is bound to the session. The other is bound to a separate cookie
//! that outlives logins and logouts, so the server still recognizes a form that was opened before a login.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::axum::run_to_completion;
use grantor::{AuthorizationResponse, Subject, UserSession};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};
use tokio::sync::RwLock;
use tower_cookies::cookie::SameSite;
use tower_cookies::{Cookie, Cookies};
use tower_sessions::session::{self, Id, Record};
use tower_sessions::session_store::{ExpiredDeletion, Result as StoreResult, SessionStore};
use tower_sessions::{Session as TowerSession, SessionManagerLayer};

use crate::app::App;
use crate::{lock, page};

/// The lifetime of a login. The cookie has no `Max-Age`, so the login also ends when the browser is closed.
const LIFETIME: Duration = Duration::hours(12);

/// The most sessions of one user. A further login ends the oldest. Otherwise one user could fill the memory.
const MOST_OF_USER: usize = 100;

/// The member of a session's record that names its user.
const USER: &str = "user";

/// The member that says when the user typed the password.
const LOGGED_IN_AT: &str = "logged_in_at";

/// The sessions of users, in memory.
///
/// The `MemoryStore` of `tower-sessions` keeps expired sessions forever and can't find all sessions of one user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    records: Mutex<HashMap<Id, Record>>,
    /// Approvals of a user hold a read lock on one of these, and `log_out_everywhere` waits for them with a write lock.
    /// Several users can share a lock.
    approvals: [RwLock<()>; 64],
    hasher: RandomState,
}

impl Default for Kept {
    fn default() -> Self {
        let approvals = std::array::from_fn(|_| RwLock::default());
        Self { records: Mutex::default(), approvals, hasher: RandomState::new() }
    }
}

impl Sessions {
    /// Returns the layer for routes that take a [`Session`].
    pub(crate) fn layer(&self, secure: bool) -> SessionManagerLayer<Self> {
        let layer = SessionManagerLayer::new(self.clone()).with_same_site(SameSite::Lax).with_secure(secure);
        layer.with_name(session_cookie(secure))
    }

    /// Ends every session of a user, in every browser, and then runs a revocation. Waits for current approvals, so that
    /// the revocation also ends their grants. The revocation runs even if the browser disconnects: the user has no
    /// session to try again with.
    pub(crate) async fn log_out_everywhere<T: Send + 'static>(
        &self,
        user: &Subject,
        revocation: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let is_theirs = |record: &Record| record.data.get(USER).is_some_and(|own| own == user.as_str());
        lock(&self.0.records).retain(|_, record| !is_theirs(record));
        let (sessions, user) = (self.clone(), user.clone());
        run_to_completion(async move {
            drop(sessions.approvals_of(&user).write().await);
            revocation.await
        })
        .await
    }

    /// Runs an approval, which opens a grant for a user. `None` if the session has ended since the request arrived.
    async fn while_logged_in<T>(&self, session: Id, user: &Subject, approval: impl Future<Output = T>) -> Option<T> {
        let _approval = self.approvals_of(user).read().await;
        match self.load(&session).await {
            Ok(Some(_)) => Some(approval.await),
            _ => None,
        }
    }

    fn approvals_of(&self, user: &Subject) -> &RwLock<()> {
        let Kept { approvals, hasher, .. } = &*self.0;
        let place = hasher.hash_one(user) % approvals.len() as u64;
        &approvals[usize::try_from(place).unwrap_or_default()]
    }
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        let mut sessions = lock(&self.0.records);
        while sessions.contains_key(&record.id) {
            record.id = Id::default();
        }
        record.expiry_date = OffsetDateTime::now_utc() + LIFETIME;
        end_oldest_of_user(&mut sessions, record.data.get(USER));
        sessions.insert(record.id, record.clone());
        Ok(())
    }

    async fn save(&self, record: &Record) -> StoreResult<()> {
        lock(&self.0.records).insert(record.id, record.clone());
        Ok(())
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        let now = OffsetDateTime::now_utc();
        Ok(lock(&self.0.records).get(id).filter(|record| now < record.expiry_date).cloned())
    }

    async fn delete(&self, id: &Id) -> StoreResult<()> {
        lock(&self.0.records).remove(id);
        Ok(())
    }
}

#[async_trait]
impl ExpiredDeletion for Sessions {
    async fn delete_expired(&self) -> StoreResult<()> {
        let now = OffsetDateTime::now_utc();
        lock(&self.0.records).retain(|_, record| now < record.expiry_date);
        Ok(())
    }
}

/// Makes room for a session of a user.
fn end_oldest_of_user(sessions: &mut HashMap<Id, Record>, user: Option<&Value>) {
    if user.is_none() {
        return;
    }
    let of_user = || sessions.values().filter(|record| record.data.get(USER) == user);
    if of_user().count() >= MOST_OF_USER {
        let oldest = of_user().min_by_key(|record| record.expiry_date).map(|record| record.id);
        oldest.map(|oldest| sessions.remove(&oldest));
    }
}

/// The origin of a submitted form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A page of the current session, or a page for a visitor without one.
    Session,
    /// A page that this server sent to this browser before a login or a logout.
    Browser,
    /// Unknown: it may be a page of another site.
    Unknown,
}

/// The session of the browser that sent a request.
#[derive(Debug)]
pub(crate) struct Session {
    inner: TowerSession,
    login: Option<UserSession>,
    cookies: Cookies,
    secure: bool,
}

impl Session {
    /// Returns the user who is logged in.
    pub(crate) fn user(&self) -> Option<&Subject> {
        self.login().map(|login| &login.subject)
    }

    /// Returns the login as the library takes it.
    pub(crate) const fn login(&self) -> Option<&UserSession> {
        self.login.as_ref()
    }

    /// Returns the user who is logged in, or a redirect to the login page, which leads back to `path`.
    pub(crate) fn require_user(&self, path: &'static str) -> Result<&Subject, Redirect> {
        self.user().ok_or_else(|| Redirect::to(&format!("/login?next={path}")))
    }

    /// Logs a user in. The session gets a new identifier, because another person may know the old one (session
    /// fixation).
    pub(crate) async fn log_in(&self, user: &Subject) -> Result<(), session::Error> {
        self.inner.cycle_id().await?;
        self.inner.insert(LOGGED_IN_AT, OffsetDateTime::now_utc()).await?;
        self.inner.insert(USER, user).await
    }

    /// Ends the session. Returns the cookie that removes it from the browser. The cookie of the layer lacks `Secure`,
    /// so browsers would ignore it with a `__Host-` name.
    pub(crate) async fn log_out(&self) -> Result<Cookie<'static>, session::Error> {
        self.inner.flush().await?;
        let mut removed = cookie(session_cookie(self.secure), String::new(), self.secure);
        removed.set_max_age(Duration::ZERO);
        Ok(removed)
    }

    /// Carries out an approval of the user, even if the browser disconnects. Approves nothing if the session has ended
    /// since the request arrived, such as by "log out everywhere".
    pub(crate) async fn approve(
        self,
        app: &App,
        approval: impl Future<Output = AuthorizationResponse> + Send + 'static,
    ) -> Response {
        let (sessions, id, user) = (app.sessions.clone(), self.inner.id(), self.user().cloned());
        let approved = run_to_completion(async move {
            let (id, user) = id.zip(user)?;
            sessions.while_logged_in(id, &user, approval).await
        });
        match approved.await {
            Some(answer) => answer.into_response(),
            None => page::error(
                403,
                "You have been logged out",
                "Nothing was allowed. Go back to the application and start again.",
            ),
        }
    }

    /// Returns the secret that consent forms are bound to. Only this browser has it, and it changes at login and
    /// logout. It is empty for a visitor. The library accepts no consent form with an empty secret.
    pub(crate) fn secret(&self) -> String {
        self.login().and_then(|_| self.inner.id()).map(|id| id.to_string()).unwrap_or_default()
    }

    /// Returns the CSRF token for forms. It is a hash, so it does not reveal the secrets of the cookies. A browser
    /// without a cookie for forms gets one.
    pub(crate) fn csrf_token(&self) -> String {
        let of_browser = csrf_token(
            "browser",
            &self.form_secret().unwrap_or_else(|| {
                let secret = random_text();
                self.cookies.add(cookie(self.form_cookie(), secret.clone(), self.secure));
                secret
            }),
        );
        match self.user() {
            Some(_) => format!("{of_browser}.{}", csrf_token("session", &self.secret())),
            None => of_browser,
        }
    }

    /// Returns the origin of a form with this token.
    pub(crate) fn origin(&self, submitted: &str) -> Origin {
        let (of_browser, of_session) = submitted.split_once('.').unwrap_or((submitted, ""));
        let is = |token: &str, own: String| bool::from(own.as_bytes().ct_eq(token.as_bytes()));
        let is_of_browser = self.form_secret().is_some_and(|secret| is(of_browser, csrf_token("browser", &secret)));
        let is_of_session = match self.user() {
            Some(_) => is(of_session, csrf_token("session", &self.secret())),
            // The form of a visitor belongs to no session.
            None => is_of_browser && of_session.is_empty(),
        };
        match (is_of_session, is_of_browser) {
            (true, _) => Origin::Session,
            (false, true) => Origin::Browser,
            (false, false) => Origin::Unknown,
        }
    }

    fn form_secret(&self) -> Option<String> {
        self.cookies.get(self.form_cookie()).map(|cookie| cookie.value().to_owned())
    }

    const fn form_cookie(&self) -> &'static str {
        cookie_name(self.secure, "__Host-grantor_form")
    }
}

impl FromRequestParts<App> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let session = TowerSession::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        let cookies = Cookies::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        let login = logged_in(&session).await;
        let login =
            login.map_err(|_| page::error(503, "Your session can\u{2019}t be read", "Try again in a moment."))?;
        Ok(Self { inner: session, login, cookies, secure: app.secure })
    }
}

async fn logged_in(session: &TowerSession) -> Result<Option<UserSession>, session::Error> {
    let (user, at) = (session.get(USER).await?, session.get(LOGGED_IN_AT).await?);
    Ok(user.zip(at).map(|(user, at)| UserSession::new(user).authenticated_at(at)))
}

fn csrf_token(bound_to: &str, secret: &str) -> String {
    let digest = Sha256::new().chain_update(b"csrf token\0").chain_update(bound_to).chain_update(b"\0");
    URL_SAFE_NO_PAD.encode(digest.chain_update(secret).finalize())
}

/// Returns a cookie that no script can read and that no other site's form or frame can send.
pub(crate) fn cookie(name: &'static str, value: String, secure: bool) -> Cookie<'static> {
    Cookie::build((name, value)).path("/").http_only(true).same_site(SameSite::Lax).secure(secure).build()
}

const fn session_cookie(secure: bool) -> &'static str {
    cookie_name(secure, "__Host-grantor_session")
}

/// Returns the name of a cookie. Over TLS, the prefix makes browsers reject the cookie if another host set it.
const fn cookie_name(secure: bool, name: &'static str) -> &'static str {
    if secure { name } else { name.split_at("__Host-".len()).1 }
}

/// Returns 256 random bits: 43 characters that need no escaping anywhere.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes())
}

pub(crate) fn random_bytes() -> [u8; 32] {
    rand::random()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    async fn created(sessions: &Sessions) -> Id {
        let mut record = Record { id: Id(1), data: HashMap::new(), expiry_date: OffsetDateTime::UNIX_EPOCH };
        sessions.create(&mut record).await.unwrap();
        record.id
    }

    #[tokio::test]
    async fn session_ends_12_hours_after_login_and_is_purged() {
        let sessions = Sessions::default();
        let old = created(&sessions).await;
        let mut record = sessions.load(&old).await.unwrap().unwrap();
        let lasts = record.expiry_date - OffsetDateTime::now_utc();
        assert!(lasts <= LIFETIME && lasts > LIFETIME - Duration::MINUTE, "{lasts}");

        record.expiry_date -= LIFETIME;
        sessions.save(&record).await.unwrap();
        assert!(sessions.load(&old).await.unwrap().is_none());
        let live = created(&sessions).await;
        assert_ne!(live, old, "both asked for the same identifier");
        sessions.delete_expired().await.unwrap();
        assert_eq!(lock(&sessions.0.records).keys().collect::<Vec<_>>(), [&live]);
    }

    // Regression: an approval that had found its session opened a grant after "log out everywhere" had revoked the
    // grants of its user.
    #[tokio::test]
    async fn end_of_all_sessions_waits_for_approvals_under_way() {
        let (sessions, user) = (Sessions::default(), Subject::new("ada").unwrap());
        let id = created(&sessions).await;
        let mut record = sessions.load(&id).await.unwrap().unwrap();
        record.data.insert(USER.to_owned(), "ada".into());
        sessions.save(&record).await.unwrap();
        let (approve, approved) = tokio::sync::oneshot::channel();
        let mut approval = pin!(sessions.while_logged_in(id, &user, approved));
        let mut context = Context::from_waker(Waker::noop());
        assert!(approval.as_mut().poll(&mut context).is_pending());
        let mut end = pin!(sessions.log_out_everywhere(&user, async {}));
        assert!(end.as_mut().poll(&mut context).is_pending(), "it does not wait");
        // An approval that begins now is too late.
        let late = sessions.while_logged_in(id, &user, async {});
        approve.send(()).unwrap();
        assert_eq!(approval.await, Some(Ok(())));
        end.await;
        assert_eq!(late.await, None);
    }

    // Regression: a second click cancels the first request. The sessions had ended, and the grants lived on.
    #[tokio::test]
    async fn revocation_after_logout_everywhere_runs_without_browser() {
        let (sessions, user) = (Sessions::default(), Subject::new("ada").unwrap());
        let approval = sessions.approvals_of(&user).read().await;
        let (revoke, revoked) = tokio::sync::oneshot::channel();
        let mut end = Box::pin(sessions.log_out_everywhere(&user, async { revoke.send(()) }));
        assert!(end.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(end);
        drop(approval);
        revoked.await.unwrap();
    }

    // Regression: each login of a user stored one more session for twelve hours.
    #[tokio::test]
    async fn login_beyond_the_most_ends_the_oldest_session_of_its_user() {
        let sessions = Sessions::default();
        let log_in = async |user: &str| {
            let data = HashMap::from([(USER.to_owned(), user.into())]);
            let mut record = Record { id: Id::default(), data, expiry_date: OffsetDateTime::UNIX_EPOCH };
            sessions.create(&mut record).await.unwrap();
            record.id
        };
        let (other, first, second) = (log_in("bea").await, log_in("ada").await, log_in("ada").await);
        let mut oldest = sessions.load(&first).await.unwrap().unwrap();
        oldest.expiry_date -= Duration::SECOND;
        sessions.save(&oldest).await.unwrap();
        for _ in 2..=MOST_OF_USER {
            log_in("ada").await;
        }
        assert_eq!(lock(&sessions.0.records).len(), 1 + MOST_OF_USER);
        let lives = async |id| sessions.load(&id).await.unwrap().is_some();
        assert!(lives(other).await && !lives(first).await && lives(second).await);
    }
}
