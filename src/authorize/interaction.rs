//! What has to happen next with a request: computed from the request and the session, each time anew.

use super::demands::{Freshness, Prompt};
use super::user_session::UserSession;
use super::{Approval, AuthorizationResponse, PendingAuthorization};
use crate::client::RedirectUriClass;
use crate::error::{Error, Refusal};
use crate::event::ConsentBasis;
use crate::http::Response;
use crate::mac::KeyedMac;
use crate::record::Subject;
use crate::span::in_span;
use crate::storage::{GrantSelector, Page};
use crate::web_url::WebUrl;

/// A user who was sent to log in this often for one request, and came back without having done so, is not sent again.
const MOST_LOGINS: u8 = 5;

/// The reason of a failure that is the application's.
const NO_LOGIN_TIME: &str = "the request limits the age of the login, but the UserSession has no authenticated_at";

/// What the application has to do next with a request. Each variant owns the request; only [`Consent`] and [`Proceed`] can
/// approve it.
#[derive(Debug)]
#[must_use = "the browser is waiting for an answer"]
#[expect(clippy::exhaustive_enums, reason = "an application must handle each of them")]
pub enum Interaction {
    /// The user has to log in.
    Login(Login),
    /// The user has to choose an account, though one is logged in.
    SelectAccount(SelectAccount),
    /// The user has to decide.
    Consent(Consent),
    /// Nothing has to be asked: approve.
    Proceed(Proceed),
    /// Send this; there is nothing to decide.
    Respond(Response),
}

/// A request that waits for a login. Show a login page that keeps the [`return_target`](Self::return_target), and send the
/// browser there after the login.
#[derive(Debug)]
#[must_use = "the browser is waiting: show a login page, or deny"]
pub struct Login {
    request: PendingAuthorization,
    reason: LoginReason,
}

/// Why a user has to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginReason {
    /// No user is logged in.
    NotLoggedIn,
    /// The client wants a new login: `prompt=login` or `max_age=0`.
    Requested,
    /// The login is older than `max_age` allows.
    TooOld,
    /// The login has none of the `acr_values`. If it can't reach one, the user may come back all the same, or
    /// [`unmet_authentication`](Login::unmet_authentication) ends the request.
    StepUp,
}

/// A request that waits for the user to choose an account (`prompt=select_account`). Let the user go on with the present
/// account or log in with another one, and then send the browser to the [`return_target`](Self::return_target).
#[derive(Debug)]
#[must_use = "the browser is waiting: show the accounts, or deny"]
pub struct SelectAccount {
    request: PendingAuthorization,
}

/// A request that waits for the user's decision. Show a consent page with the [`form_token`](Self::form_token) in a form, or
/// take the decision at once.
#[derive(Debug)]
#[must_use = "the browser is waiting: approve, deny, or show a form with its form_token"]
pub struct Consent {
    pub(super) request: PendingAuthorization,
    pub(super) reason: ConsentReason,
    pub(super) user: UserTag,
}

/// Why a user has to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsentReason {
    /// No consent of this user to this client is on record that covers the request, or the client's identity is not proven.
    NotGiven,
    /// The client wants the user to be asked: `prompt=consent`.
    Requested,
    /// The client is the server's own, but its redirect does not prove that. One click to go on is enough; the scopes need
    /// not be listed.
    Confirm,
}

/// A request that needs no question: the user's consent is on record, or the client is the server's own.
#[derive(Debug)]
#[must_use = "the browser is waiting: approve or deny"]
pub struct Proceed {
    request: PendingAuthorization,
    basis: ConsentBasis,
    user: UserSession,
}

/// The user whom an interaction was computed for, without the name: a keyed digest.
#[derive(Clone)]
pub(super) struct UserTag(pub(super) [u8; 32]);

impl std::fmt::Debug for UserTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserTag")
    }
}

impl PendingAuthorization {
    /// Works out what has to happen next, for the user who is logged in, if one is.
    ///
    /// It honours `prompt`, `max_age` and `acr_values`, of OAuth requests without `openid` too (RFC 9470 §5); consent that is
    /// on record; clients that are the server's own; and `prompt=none`, which is answered without a page. If the storage
    /// fails, the answer is [`Respond`](Interaction::Respond).
    ///
    /// * Consent on record counts for an `https` redirect of a confidential client or, by
    ///   [`Policy::https_redirect_proves_identity`](crate::Policy::https_redirect_proves_identity), of any client (RFC 8252
    ///   §8.6). One live grant that this user gave the client on a page must cover the whole scope. The newest hundred grants
    ///   are considered.
    /// * A [`first_party`](crate::client::ClientBuilder::first_party) client is not asked about if its redirect is `https` and
    ///   leads to a name, not to an address or to `localhost`.
    /// * A login is fresh if it is as young as demanded, counted from when the request was first seen. A time without a fraction
    ///   of a second counts for its whole second.
    /// * A user who comes back from login without having reached one of the `acr_values` goes on: they are wishes.
    pub async fn interaction(self, session: Option<&UserSession>) -> Interaction {
        in_span("authorize", self.next(session)).await
    }

    async fn next(mut self, session: Option<&UserSession>) -> Interaction {
        let Some(session) = session else { return self.login(LoginReason::NotLoggedIn, true) };
        match self.demands.freshness(session, &self.carried.progress) {
            Freshness::Fresh => {}
            Freshness::Unknown if self.carried.progress.logins > 0 => {
                return self.refuse(Error::Extension(NO_LOGIN_TIME));
            }
            Freshness::Unknown | Freshness::Stale => {
                let requested = self.demands.wants_login();
                return self.login(if requested { LoginReason::Requested } else { LoginReason::TooOld }, false);
            }
        }
        if self.should_step_up(session) {
            return self.login(LoginReason::StepUp, false);
        }
        if self.demands.has(Prompt::SelectAccount) && !self.carried.progress.account_chosen {
            self.carried.progress.account_chosen = true;
            return Interaction::SelectAccount(SelectAccount { request: self });
        }
        self.consent(session).await
    }

    /// Someone who logs in anew also chooses an account.
    fn login(mut self, reason: LoginReason, chooses_account: bool) -> Interaction {
        if self.demands.is_silent() || self.carried.progress.logins >= MOST_LOGINS {
            return self.refuse(Refusal::LoginRequired);
        }
        self.carried.progress.logins += 1;
        let has_wishes = self.acr_values().next().is_some();
        self.carried.progress.stepped_up |= has_wishes;
        self.carried.progress.account_chosen |= chooses_account;
        Interaction::Login(Login { request: self, reason })
    }

    fn should_step_up(&self, session: &UserSession) -> bool {
        let mut wanted = self.acr_values().peekable();
        let has_wishes = wanted.peek().is_some() && !self.carried.progress.stepped_up && !self.demands.is_silent();
        has_wishes && !wanted.any(|wanted| session.acr.as_deref() == Some(wanted))
    }

    async fn consent(self, user: &UserSession) -> Interaction {
        let reason = if self.demands.has(Prompt::Consent) {
            ConsentReason::Requested
        } else if self.client.is_first_party() {
            if self.leads_to_a_named_host() {
                return self.proceed(ConsentBasis::FirstParty, user);
            }
            ConsentReason::Confirm
        } else {
            match self.has_consent_of(&user.subject).await {
                Err(error) => return self.refuse(error),
                Ok(true) => return self.proceed(ConsentBasis::Remembered, user),
                Ok(false) => ConsentReason::NotGiven,
            }
        };
        match reason {
            ConsentReason::Confirm if self.demands.is_silent() => self.refuse(Refusal::InteractionRequired),
            _ if self.demands.is_silent() => self.refuse(Refusal::ConsentRequired),
            reason => {
                let user = self.tag(&user.subject);
                Interaction::Consent(Consent { request: self, reason, user })
            }
        }
    }

    fn proceed(self, basis: ConsentBasis, user: &UserSession) -> Interaction {
        Interaction::Proceed(Proceed { request: self, basis, user: user.clone() })
    }

    fn tag(&self, subject: &Subject) -> UserTag {
        UserTag(*self.endpoint.user_key.mac().update(subject.as_str().as_bytes()).finish())
    }

    fn refuse(self, error: impl Into<Error>) -> Interaction {
        Interaction::Respond(self.fail(error).into_http())
    }

    fn leads_to_a_named_host(&self) -> bool {
        WebUrl::parse(self.route.target.uri()).is_ok_and(|url| url.is_https() && url.has_named_host())
    }

    /// Whether one live grant that the user gave this client on a page covers everything that is asked for.
    async fn has_consent_of(&self, subject: &Subject) -> Result<bool, Error> {
        let server = &self.endpoint.server;
        let https = self.route.target.class() == RedirectUriClass::Https;
        if !https || !self.client.is_confidential() && !server.policy.https_redirect_proves_identity {
            return Ok(false);
        }
        let which = GrantSelector::SubjectAndClient(subject.clone(), self.client.id().clone());
        let now = server.now();
        let grants = server.storage.grants(&which, now, &Page::first(100)).await?;
        Ok(grants.iter().any(|grant| {
            which.selects(grant)
                && grant.is_live(now)
                && grant.grant_type.is_approval()
                && !grant.details.consent_skipped
                && self.scope.is_subset(&grant.scope)
        }))
    }

    /// Checks once more what the interaction was computed from: the time between was the user's.
    pub(super) fn check_user(&self, session: &UserSession, user: &UserTag) -> Result<(), Error> {
        let is_the_same = |mac: KeyedMac| mac.update(session.subject.as_str().as_bytes());
        if !self.endpoint.user_key.verifies(is_the_same, &user.0) {
            return Err(Refusal::OtherUser.into());
        }
        match self.demands.freshness(session, &self.carried.progress) {
            Freshness::Fresh => Ok(()),
            Freshness::Stale => Err(Refusal::LoginRequired.into()),
            Freshness::Unknown => Err(Error::Extension(NO_LOGIN_TIME)),
        }
    }
}

impl Login {
    /// Why the user has to log in.
    #[must_use]
    pub const fn reason(&self) -> LoginReason {
        self.reason
    }

    /// Where the browser goes after the login, see [`PendingAuthorization::return_target`].
    #[must_use]
    pub fn return_target(&self) -> String {
        self.request.return_target()
    }
}

impl SelectAccount {
    /// Where the browser goes after the choice, see [`PendingAuthorization::return_target`].
    #[must_use]
    pub fn return_target(&self) -> String {
        self.request.return_target()
    }
}

impl Consent {
    /// Why the user has to decide.
    #[must_use]
    pub const fn reason(&self) -> ConsentReason {
        self.reason
    }

    /// Seals the request for a form of this session: the value of one hidden field, which
    /// [`resume`](crate::AuthorizationServer::resume) takes back. Whoever submits it from another session, or changes
    /// anything in it, gets an error page. The same session can submit it again until
    /// [`consent_lifetime`](crate::Policy::consent_lifetime) is over; each time is a decision of its own.
    ///
    /// `session` is something that only this user's session has, such as its random identifier, and that changes when
    /// the user logs in or out. A token for an empty session is never accepted.
    #[must_use]
    pub fn form_token(&self, session: impl AsRef<[u8]>) -> String {
        super::form_token::seal(self, session.as_ref())
    }

    /// The user agreed: opens a grant and sends the client its code or token.
    ///
    /// The login is checked again. One that is too old, or of another user than the page was made for, is refused.
    pub async fn approve(self, approval: Approval) -> AuthorizationResponse {
        let basis = match self.reason {
            ConsentReason::NotGiven | ConsentReason::Requested => ConsentBasis::Given,
            ConsentReason::Confirm => ConsentBasis::Confirmed,
        };
        in_span("authorize", self.request.open_grant(approval, &self.user, basis)).await
    }
}

impl Proceed {
    /// The user who need not be asked.
    #[must_use]
    pub const fn user(&self) -> &UserSession {
        &self.user
    }

    /// Approves everything that was asked for, by this user: opens a grant and sends the client its code or token.
    pub async fn approve(self) -> AuthorizationResponse {
        self.approve_with(|approval| approval).await
    }

    /// The same with a change to the approval, such as data of the application's. An approval by another user is refused.
    pub async fn approve_with(self, change: impl FnOnce(Approval) -> Approval) -> AuthorizationResponse {
        let user = self.request.tag(&self.user.subject);
        let approval = change(Approval::by(self.user));
        in_span("authorize", self.request.open_grant(approval, &user, self.basis)).await
    }
}

macro_rules! steps {
    ($($step:ident)*) => {$(
        impl $step {
            /// The request.
            #[must_use = "looking at the request does not answer it"]
            pub const fn request(&self) -> &PendingAuthorization {
                &self.request
            }

            /// The user said no, see [`PendingAuthorization::deny`].
            pub fn deny(self) -> AuthorizationResponse {
                self.request.deny()
            }

            /// The application can't find out what the user wants, see [`PendingAuthorization::fail`].
            pub fn fail(self, error: impl Into<Error>) -> AuthorizationResponse {
                self.request.fail(error)
            }

            /// The user can't log in as the client wants: ends a request whose `acr_values` can't be met (RFC 9470 §5,
            /// `unmet_authentication_requirements`).
            pub fn unmet_authentication(self) -> AuthorizationResponse {
                self.request.fail(Refusal::UnmetAuthentication)
            }
        }
    )*};
}
steps!(Login SelectAccount Consent Proceed);
