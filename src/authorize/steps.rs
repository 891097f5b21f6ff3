//! The steps of a request that a user has part in. Only [`Consent`] and [`Proceed`] can approve.

use std::sync::atomic::{AtomicBool, Ordering};

use super::form::Form;
use super::user_session::UserSession;
use super::{Approval, AuthorizationResponse, PendingAuthorization};
use crate::error::{Error, Refusal};
use crate::event::ConsentBasis;
use crate::record::Subject;
use crate::server_key::DerivedKey;
use crate::span::in_span;

/// A request that waits for a login. Show a login page that keeps the [`return_target`](Self::return_target), and send the
/// browser there after the login.
#[derive(Debug)]
#[must_use = "the browser is waiting: show a login page, or deny"]
pub struct Login {
    pub(super) request: Box<PendingAuthorization>,
    pub(super) reason: LoginReason,
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
    pub(super) request: Box<PendingAuthorization>,
}

/// A request that waits for the user's decision. Show a consent page with the [`form_token`](Self::form_token) in a form, or
/// take the decision at once.
#[derive(Debug)]
#[must_use = "the browser is waiting: approve, deny, or show a form with its form_token"]
pub struct Consent {
    pub(super) request: Box<PendingAuthorization>,
    pub(super) reason: ConsentReason,
    pub(super) user: AskedUser,
    pub(super) form: Form,
    /// Whether the form may be out, so that a user can decide by it as well.
    pub(super) is_sealed: AtomicBool,
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
    pub(super) request: Box<PendingAuthorization>,
    pub(super) basis: ConsentBasis,
    pub(super) user: UserSession,
}

/// The user whom an interaction was computed for.
#[derive(Debug)]
pub(super) enum AskedUser {
    /// Still the same request.
    Known(Subject),
    /// From a form token, which holds a keyed digest in place of the name.
    Sealed([u8; 32]),
}

impl AskedUser {
    /// The keyed digest that goes into a form token.
    pub(super) fn digest(&self, key: &DerivedKey) -> [u8; 32] {
        match self {
            Self::Known(subject) => *key.mac().update(subject.as_str().as_bytes()).finish(),
            Self::Sealed(digest) => *digest,
        }
    }

    /// Whether it is this user.
    pub(super) fn is(&self, subject: &Subject, key: &DerivedKey) -> bool {
        match self {
            Self::Known(own) => own == subject,
            Self::Sealed(digest) => key.verifies(|mac| mac.update(subject.as_str().as_bytes()), digest),
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
    /// [`resume`](crate::AuthorizationServer::resume) takes back. A form that comes from another
    /// session or was changed gets an error page. It can be submitted until
    /// [`consent_lifetime`](crate::Policy::consent_lifetime) is over, counted from when the interaction was computed, and it decides
    /// once: see [`approve`](Self::approve).
    ///
    /// `session` is something that only this user's session has, such as its random identifier, and that changes when
    /// the user logs in or out. A token for an empty session is never accepted.
    #[must_use]
    pub fn form_token(&self, session: impl AsRef<[u8]>) -> String {
        self.is_sealed.store(true, Ordering::Relaxed);
        super::form_token::seal(self, session.as_ref())
    }

    /// The user agreed: opens a grant and sends the client its code or token.
    ///
    /// The login is checked again. One that is too old, or of another user than the page was made for, is refused.
    ///
    /// Of all approvals and denials by one form, the first counts. The others are answered by a page that says so
    /// ([`Refusal::UsedFormToken`]), and the client is told nothing. The form counts as used before the grant is opened: if the
    /// storage fails after that, the client is told of the failure, and the user starts again from the client.
    pub async fn approve(self, approval: Approval) -> AuthorizationResponse {
        let basis = match self.reason {
            ConsentReason::NotGiven | ConsentReason::Requested => ConsentBasis::Given,
            ConsentReason::Confirm => ConsentBasis::Confirmed,
        };
        let form = self.form_in_use();
        in_span("authorize", self.request.open_grant(approval, &self.user, basis, form.as_ref())).await
    }

    /// The form by which a user decides. A decision without one needs no note in the storage.
    fn form_in_use(&self) -> Option<Form> {
        self.is_sealed.load(Ordering::Relaxed).then_some(self.form)
    }

    /// The user said no: tells the client. A form by which the user has decided before is answered as
    /// [`approve`](Self::approve) says.
    pub async fn deny(self) -> AuthorizationResponse {
        match self.form_in_use() {
            Some(form) => in_span("authorize", self.request.deny_once(&form)).await,
            None => self.request.deny(),
        }
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
        let user = AskedUser::Known(self.user.subject.clone());
        let approval = change(Approval::by(self.user));
        in_span("authorize", self.request.open_grant(approval, &user, self.basis, None)).await
    }
}

macro_rules! steps {
    ($($step:ident)*) => {$(
        impl $step {
            /// The request.
            #[must_use = "looking at the request does not answer it"]
            pub fn request(&self) -> &PendingAuthorization {
                &self.request
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

macro_rules! steps_without_a_form {
    ($($step:ident)*) => {$(
        impl $step {
            /// The user said no, see [`PendingAuthorization::deny`].
            pub fn deny(self) -> AuthorizationResponse {
                self.request.deny()
            }
        }
    )*};
}
steps_without_a_form!(Login SelectAccount Proceed);
