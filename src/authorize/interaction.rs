//! [`Interaction`]: the next step of a request, computed from the request and the session of the user.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::PendingAuthorization;
use super::demands::{Freshness, Prompt};
use super::form::Form;
use super::steps::{AskedUser, Consent, ConsentReason, Login, LoginReason, Proceed, SelectAccount};
use super::user_session::UserSession;
use crate::error::{Error, Refusal};
use crate::event::ConsentBasis;
use crate::http::Response;
use crate::record::{Grant, GrantId, Subject};
use crate::span::in_span;
use crate::storage::{GrantPage, GrantSelector};
use crate::web_url::WebUrl;

/// The maximum number of times that one request sends the user to log in. It stops the redirect loop that a broken
/// login page causes.
const MAX_LOGINS: u8 = 5;

/// The text of the error if the host app did not set the time of the login.
const NO_LOGIN_TIME: &str = "the request limits the age of the login, but UserSession has no authenticated_at: set it";

/// The next step of a request. Each variant except [`Respond`](Self::Respond) owns the request. Only [`Consent`] and
/// [`Proceed`] can approve it.
#[derive(Debug)]
#[must_use = "the browser is waiting for a response"]
#[expect(clippy::exhaustive_enums, reason = "a host app must handle each of them")]
pub enum Interaction {
    /// The user must log in.
    Login(Login),
    /// The user must choose an account, although a user is logged in.
    SelectAccount(SelectAccount),
    /// The user must decide.
    Consent(Consent),
    /// The user need not be asked: approve the request.
    Proceed(Proceed),
    /// Send this response. The request needs no decision.
    Respond(Response),
}

impl PendingAuthorization {
    /// Returns the next step of the request. `session` is the session of the user, or `None` if no user is logged in.
    ///
    /// It honours `prompt`, `max_age` and `acr_values`, with or without the scope `openid` (RFC 9470 §5). It skips the
    /// consent page if an earlier consent applies or the client is a first-party client. `prompt=none` never leads to
    /// a page of the host app: if one is needed, this returns [`Respond`](Interaction::Respond) with an error, to which
    /// [`Policy::error_redirects`](crate::Policy::error_redirects) applies. It also returns `Respond` if the storage
    /// fails.
    ///
    /// * An earlier consent applies to a confidential client. With
    ///   [`Policy::https_redirect_proves_identity`](crate::Policy::https_redirect_proves_identity) it applies to any
    ///   client. In both cases the redirect URI must be `https` with a host name; an IP address or `localhost` is not
    ///   enough (RFC 8252 §8.6).
    /// * The earlier consent is a live grant. The user gave it to the client on a consent page, or it was opened
    ///   because of an earlier consent. So consent is remembered as long as at least one of these grants is live when
    ///   the client returns. If it ends between this call and the approval, the approval starts the request again (see
    ///   [`Proceed::approve`]). The grant must cover the whole scope. If no administrator registered the client, host and
    ///   port of the redirect URI must be the same as before. Only the newest hundred grants are considered.
    /// * A [`first_party`](crate::client::ClientBuilder::first_party) client needs no consent if its redirect URI is
    ///   `https` with a host name.
    /// * The age of a login is measured at the time when the server first saw the request. A login time without a
    ///   fraction of a second counts as the end of its second.
    /// * `acr_values` are voluntary: a user who returns from the login without any of them continues.
    pub async fn interaction(self, session: Option<&UserSession>) -> Interaction {
        in_span("authorize", Box::new(self).next(session)).await
    }

    /// `self` is boxed, because moving the request through several futures took 3 % of the instructions of an
    /// authorization.
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

    /// Returns whether the login is in the future because a clock was set back. It would count as fresh until that
    /// time. A login that this request demanded is accepted with any time.
    fn is_too_new(&self, session: &UserSession) -> bool {
        let is_later = |at| at > self.endpoint.server.now();
        self.demands.limits_age() && self.carried.progress.logins == 0 && session.authenticated_at.is_some_and(is_later)
    }

    /// Sends the user to log in. With `chooses_account`, the new login also counts as the choice of an account.
    fn login(mut self: Box<Self>, reason: LoginReason, chooses_account: bool) -> Interaction {
        if self.demands.is_silent() || self.carried.progress.logins >= MAX_LOGINS {
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
                return self.proceed(ConsentBasis::FirstParty, None, user);
            }
            ConsentReason::Confirm
        } else {
            match self.consent_of(&user.subject).await {
                Err(error) => return self.refuse(error),
                Ok(Some(grant)) => return self.proceed(ConsentBasis::Remembered, Some(grant), user),
                Ok(None) => ConsentReason::NotGiven,
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

    fn proceed(
        self: Box<Self>,
        basis: ConsentBasis,
        consent_grant: Option<GrantId>,
        user: &UserSession,
    ) -> Interaction {
        Interaction::Proceed(Proceed { request: self, basis, consent_grant, user: user.clone() })
    }

    fn refuse(self: Box<Self>, error: impl Into<Error>) -> Interaction {
        Interaction::Respond(self.fail(error).into_http())
    }

    /// Returns whether a grant is for all resources of this request. A grant for resources does not count if the server
    /// has none now, because a token without an audience gives more access.
    fn is_for_resources_of(&self, grant: &Grant) -> bool {
        let granted = &grant.details.resources;
        self.resources.is_empty() == granted.is_empty()
            && self.resources.iter().all(|own| granted.iter().any(|granted| own.is_named(granted)))
    }

    fn leads_to_a_named_host(&self) -> bool {
        WebUrl::parse(self.route.target.uri()).is_ok_and(|url| url.is_https() && url.has_named_host())
    }

    /// Returns the grant of an earlier consent that applies, see [`interaction`](Self::interaction). Of several grants
    /// it returns the one that ends last.
    async fn consent_of(&self, subject: &Subject) -> Result<Option<GrantId>, Error> {
        let server = &self.endpoint.server;
        let is_proven = self.client.is_confidential() || server.policy.https_redirect_proves_identity;
        if !is_proven || !self.leads_to_a_named_host() {
            return Ok(None);
        }
        let which = GrantSelector::SubjectAndClient(subject.clone(), self.client.id().clone());
        let (now, host) = (server.now(), self.host_to_remember());
        let grants = server.storage.list_grants(&which, now, &GrantPage::first(100)).await?;
        let applies = |grant: &&Arc<Grant>| {
            which.selects(grant)
                && grant.is_live(now)
                && grant.grant_type.is_approval()
                && !grant.details.consent_skipped
                && host.is_none_or(|host| grant.details.consent_host.as_deref() == Some(host))
                && grant.details.unenforced_member().is_none()
                && self.scope.is_subset(&grant.scope)
                && self.is_for_resources_of(grant)
        };
        Ok(grants.iter().filter(applies).max_by_key(|grant| grant.expires_at).map(|grant| grant.id))
    }

    /// Checks again that the user is the same and the login is fresh, because the user may have spent a long time on
    /// the consent page.
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
