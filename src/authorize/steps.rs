//! The steps of a request: [`Login`], [`SelectAccount`], [`Consent`] and [`Proceed`]. Only the last two can approve it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::form::Form;
use super::user_session::UserSession;
use super::{Approval, AuthorizationResponse, PendingAuthorization};
use crate::error::{Error, Refusal};
use crate::event::ConsentBasis;
use crate::record::{GrantId, Subject};
use crate::server_key::DerivedKey;
use crate::span::in_span;

/// A request that waits for a login. Show a login page that keeps the [`return_target`](Self::return_target), and send
/// the browser there after the login.
#[derive(Debug)]
#[must_use = "the browser is waiting: show a login page, or deny"]
pub struct Login {
    pub(super) request: Box<PendingAuthorization>,
    pub(super) reason: LoginReason,
}

/// The reason why a user must log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginReason {
    /// No user is logged in.
    NotLoggedIn,
    /// The client demands a new login: `prompt=login` or `max_age=0`.
    Requested,
    /// The login is older than `max_age` allows.
    TooOld,
    /// The login has none of the `acr_values`. If the user can't reach one, either send the user back anyway, or end
    /// the request with [`unmet_authentication`](Login::unmet_authentication).
    StepUp,
}

/// A request that waits for the user to choose an account (`prompt=select_account`). Let the user continue with the
/// present account or log in with another one. Then send the browser to the [`return_target`](Self::return_target).
#[derive(Debug)]
#[must_use = "the browser is waiting: show the accounts, or deny"]
pub struct SelectAccount {
    pub(super) request: Box<PendingAuthorization>,
}

/// A request that waits for the decision of the user. Show a consent page with the [`form_token`](Self::form_token) in
/// a form, or approve or deny the request at once.
#[derive(Debug)]
#[must_use = "the browser is waiting: approve, deny, or show a form with its form_token"]
pub struct Consent {
    pub(super) request: Box<PendingAuthorization>,
    pub(super) reason: ConsentReason,
    pub(super) user: AskedUser,
    pub(super) form: Form,
    /// Whether the form token was made, so that the user can also decide with the form.
    pub(super) is_sealed: AtomicBool,
}

/// The reason why a user must decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsentReason {
    /// The user has not consented to the request before, or the identity of the client is not proven.
    NotGiven,
    /// The client demands a consent page: `prompt=consent`.
    Requested,
    /// The client is a first-party client, but its redirect URI does not prove that. Ask the user for one click to
    /// continue; the page need not list the scopes.
    Confirm,
}

/// A request that needs no consent page: an earlier consent applies, or the client is a first-party client.
#[derive(Debug)]
#[must_use = "the browser is waiting: approve or deny"]
pub struct Proceed {
    pub(super) request: Box<PendingAuthorization>,
    pub(super) basis: ConsentBasis,
    /// The grant of the earlier consent, if there is one.
    pub(super) consent_grant: Option<GrantId>,
    pub(super) user: UserSession,
}

/// The user for whom an interaction was computed.
#[derive(Debug)]
pub(super) enum AskedUser {
    /// The user is known, in the same HTTP request.
    Known(Subject),
    /// The keyed digest of the user, from a form token.
    Sealed([u8; 32]),
}

impl AskedUser {
    /// Returns the keyed digest for a form token.
    pub(super) fn digest(&self, key: &DerivedKey) -> [u8; 32] {
        match self {
            Self::Known(subject) => *key.mac().update(subject.as_str().as_bytes()).finish(),
            Self::Sealed(digest) => *digest,
        }
    }

    /// Returns whether this is the same user.
    pub(super) fn is(&self, subject: &Subject, key: &DerivedKey) -> bool {
        match self {
            Self::Known(own) => own == subject,
            Self::Sealed(digest) => key.verifies(|mac| mac.update(subject.as_str().as_bytes()), digest),
        }
    }
}

impl Login {
    /// Returns the reason why the user must log in.
    #[must_use]
    pub const fn reason(&self) -> LoginReason {
        self.reason
    }

    /// Returns the address for the browser after the login, see [`PendingAuthorization::return_target`].
    #[must_use]
    pub fn return_target(&self) -> String {
        self.request.return_target()
    }
}

impl SelectAccount {
    /// Returns the address for the browser after the choice, see [`PendingAuthorization::return_target`].
    #[must_use]
    pub fn return_target(&self) -> String {
        self.request.return_target()
    }
}

impl Consent {
    /// Returns the reason why the user must decide.
    #[must_use]
    pub const fn reason(&self) -> ConsentReason {
        self.reason
    }

    /// Returns the value of a hidden field for the consent form. It contains the sealed request, bound to the session.
    /// Pass it to [`resume`](crate::AuthorizationServer::resume) when the form comes back. A changed form or one from
    /// another session leads to an error page. The form can be submitted for
    /// [`consent_lifetime`](crate::Policy::consent_lifetime) after the interaction was computed, and only once: see
    /// [`approve`](Self::approve).
    ///
    /// `session` is a value that only the session of this user has and that changes when the user logs in or out. The
    /// random identifier of the session is a good choice. A token for an empty session is never accepted.
    #[must_use]
    pub fn form_token(&self, session: impl AsRef<[u8]>) -> String {
        self.is_sealed.store(true, Ordering::Relaxed);
        super::form_token::seal(self, session.as_ref())
    }

    /// Approves the request: opens a grant and sends its code or token to the client.
    ///
    /// It checks the login again. It refuses a login that is too old or belongs to another user than the consent page.
    ///
    /// The first approval or denial with a form counts. Later ones lead to a page that says so
    /// ([`Refusal::UsedFormToken`]), and the client learns nothing of them. The form is used up before the grant is
    /// opened. If the storage fails after that, the client gets the error, and the user starts again from the client.
    pub async fn approve(self, approval: Approval) -> AuthorizationResponse {
        let basis = match self.reason {
            ConsentReason::NotGiven | ConsentReason::Requested => ConsentBasis::Given,
            ConsentReason::Confirm => ConsentBasis::Confirmed,
        };
        let form = self.form_in_use();
        in_span("authorize", self.request.open_grant(approval, &self.user, basis, None, form.as_ref())).await
    }

    /// Returns the form if its token was made. A decision without a form needs no entry in the storage.
    fn form_in_use(&self) -> Option<Form> {
        self.is_sealed.load(Ordering::Relaxed).then_some(self.form)
    }

    /// Denies the request: reports to the client that the user denied it. If the user has already decided with the
    /// form, see [`approve`](Self::approve).
    pub async fn deny(self) -> AuthorizationResponse {
        match self.form_in_use() {
            Some(form) => in_span("authorize", self.request.deny_once(&form)).await,
            None => self.request.deny(),
        }
    }
}

impl Proceed {
    /// Returns the user, who need not be asked.
    #[must_use]
    pub const fn user(&self) -> &UserSession {
        &self.user
    }

    /// Approves the whole request for this user: opens a grant and sends its code or token to the client.
    ///
    /// If the earlier consent has ended since the interaction was computed, because the user ended the access of the
    /// client meanwhile, no grant is opened. The response then leads the browser back to the request, which needs the
    /// consent of the user again. Its [`error`](AuthorizationResponse::error) is [`Refusal::ConsentEnded`].
    pub async fn approve(self) -> AuthorizationResponse {
        self.approve_with(|approval| approval).await
    }

    /// Approves the request like [`approve`](Self::approve), after a change to the approval, such as additional data of
    /// the host app. An approval by another user is refused.
    pub async fn approve_with(self, change: impl FnOnce(Approval) -> Approval) -> AuthorizationResponse {
        let user = AskedUser::Known(self.user.subject.clone());
        let approval = change(Approval::by(self.user));
        in_span("authorize", self.request.open_grant(approval, &user, self.basis, self.consent_grant, None)).await
    }
}

macro_rules! steps {
    ($($step:ident)*) => {$(
        impl $step {
            /// Returns the request.
            #[must_use = "reading the request does not answer it"]
            pub fn request(&self) -> &PendingAuthorization {
                &self.request
            }

            /// Ends the request with an error of the host app, see [`PendingAuthorization::fail`].
            pub fn fail(self, error: impl Into<Error>) -> AuthorizationResponse {
                self.request.fail(error)
            }

            /// Ends the request because the user can't log in with one of its `acr_values` (RFC 9470 §5,
            /// `unmet_authentication_requirements`).
            pub fn unmet_authentication(self) -> AuthorizationResponse {
                self.request.fail(Refusal::UnmetAuthentication)
            }
        }
    )*};
}
steps!(Login SelectAccount Consent Proceed);

macro_rules! steps_without_a_form {
    ($($step:ident)*) => {$(
        impl $step {
            /// Denies the request, see [`PendingAuthorization::deny`].
            pub fn deny(self) -> AuthorizationResponse {
                self.request.deny()
            }
        }
    )*};
}
steps_without_a_form!(Login SelectAccount Proceed);
