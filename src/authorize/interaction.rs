//! What has to happen next with a request: computed from the request and the session, each time anew.

use std::sync::atomic::AtomicBool;

use super::PendingAuthorization;
use super::demands::{Freshness, Prompt};
use super::form::Form;
use super::steps::{AskedUser, Consent, ConsentReason, Login, LoginReason, Proceed, SelectAccount};
use super::user_session::UserSession;
use crate::error::{Error, Refusal};
use crate::event::ConsentBasis;
use crate::http::Response;
use crate::record::Subject;
use crate::span::in_span;
use crate::storage::{GrantPage, GrantSelector};
use crate::web_url::WebUrl;

/// A user who was sent to log in this often for one request, and came back without having done so, is not sent again.
const MOST_LOGINS: u8 = 5;

/// The reason of a failure that is the application's.
const NO_LOGIN_TIME: &str = "the request limits the age of the login, but the UserSession has no authenticated_at";

/// The next step of the application with a request. Each variant owns the request; only [`Consent`] and [`Proceed`] can
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

impl PendingAuthorization {
    /// Works out what has to happen next, for the user who is logged in, if one is.
    ///
    /// It honours `prompt`, `max_age` and `acr_values`, of OAuth requests without `openid` too (RFC 9470 §5); consent that is
    /// on record; clients that are the server's own; and `prompt=none`, which is answered without a page. If the storage
    /// fails, the answer is [`Respond`](Interaction::Respond).
    ///
    /// * Consent on record counts for a confidential client or, by
    ///   [`Policy::https_redirect_proves_identity`](crate::Policy::https_redirect_proves_identity), for any client, if the redirect
    ///   is `https` and leads to a name, not to an address or to `localhost` (RFC 8252 §8.6). One live grant that this user gave the client
    ///   on a page must cover the whole scope and, if no administrator registered the client, have been given for the same host and port of
    ///   the redirect. The newest hundred grants are considered.
    /// * A [`first_party`](crate::client::ClientBuilder::first_party) client is not asked about if its redirect is `https` and
    ///   leads to a name, not to an address or to `localhost`.
    /// * A login is fresh if it is as young as demanded, counted from when the request was first seen. A time without a fraction
    ///   of a second counts for its whole second.
    /// * A user who comes back from login without having reached one of the `acr_values` goes on: they are wishes.
    pub async fn interaction(self, session: Option<&UserSession>) -> Interaction {
        in_span("authorize", Box::new(self).next(session)).await
    }

    /// In a box, because each step moves the request on, through several futures: moving it in place took 3 % of the
    /// instructions of an authorization.
    async fn next(mut self: Box<Self>, session: Option<&UserSession>) -> Interaction {
        let Some(session) = session else { return self.login(LoginReason::NotLoggedIn, true) };
        match self.demands.freshness(session, &self.carried.progress) {
            Freshness::Fresh if !self.is_too_new(session) => {}
            Freshness::Unknown if self.carried.progress.logins > 0 => {
                return self.refuse(Error::Misuse(NO_LOGIN_TIME));
            }
            Freshness::Fresh | Freshness::Unknown | Freshness::Stale => {
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

    /// Whether a login whose age matters is later than now, by a clock that was set back since. It would be fresh until then. One
    /// for which this request has sent the user is taken as it is.
    fn is_too_new(&self, session: &UserSession) -> bool {
        let is_later = |at| at > self.endpoint.server.now();
        self.demands.limit_age() && self.carried.progress.logins == 0 && session.authenticated_at.is_some_and(is_later)
    }

    /// Someone who logs in anew also chooses an account.
    fn login(mut self: Box<Self>, reason: LoginReason, chooses_account: bool) -> Interaction {
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

    async fn consent(self: Box<Self>, user: &UserSession) -> Interaction {
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
            reason => match Form::new(&self.endpoint.server) {
                Ok(form) => {
                    let user = AskedUser::Known(user.subject.clone());
                    Interaction::Consent(Consent {
                        request: self,
                        reason,
                        user,
                        form,
                        is_sealed: AtomicBool::new(false),
                    })
                }
                Err(error) => self.refuse(error),
            },
        }
    }

    fn proceed(self: Box<Self>, basis: ConsentBasis, user: &UserSession) -> Interaction {
        Interaction::Proceed(Proceed { request: self, basis, user: user.clone() })
    }

    fn refuse(self: Box<Self>, error: impl Into<Error>) -> Interaction {
        Interaction::Respond(self.fail(error).into_http())
    }

    fn leads_to_a_named_host(&self) -> bool {
        WebUrl::parse(self.route.target.uri()).is_ok_and(|url| url.is_https() && url.has_named_host())
    }

    /// Whether one live grant that the user gave this client on a page covers everything that is asked for.
    async fn has_consent_of(&self, subject: &Subject) -> Result<bool, Error> {
        let server = &self.endpoint.server;
        let is_proven = self.client.is_confidential() || server.policy.https_redirect_proves_identity;
        if !is_proven || !self.leads_to_a_named_host() {
            return Ok(false);
        }
        let which = GrantSelector::SubjectAndClient(subject.clone(), self.client.id().clone());
        let (now, host) = (server.now(), self.host_to_remember());
        let grants = server.storage.list_grants(&which, now, &GrantPage::first(100)).await?;
        Ok(grants.iter().any(|grant| {
            which.selects(grant)
                && grant.is_live(now)
                && grant.grant_type.is_approval()
                && !grant.details.consent_skipped
                && host.is_none_or(|host| grant.details.consent_host.as_deref() == Some(host))
                && grant.details.unenforced_member().is_none()
                && self.scope.is_subset(&grant.scope)
        }))
    }

    /// Checks once more what the interaction was computed from: the time between was the user's.
    pub(super) fn check_user(&self, session: &UserSession, user: &AskedUser) -> Result<(), Error> {
        if !user.is(&session.subject, &self.endpoint.user_key) {
            return Err(Refusal::OtherUser.into());
        }
        match self.demands.freshness(session, &self.carried.progress) {
            Freshness::Fresh => Ok(()),
            Freshness::Stale => Err(Refusal::LoginRequired.into()),
            Freshness::Unknown => Err(Error::Misuse(NO_LOGIN_TIME)),
        }
    }
}
