//! [`Authenticator`]: checks secrets of clients, passwords of users, and the status of users.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use crate::client::{AuthenticationMethod, Client, ClientCredential};
use crate::error::AuthenticatorError;
use crate::record::Subject;
use crate::scope::Scope;
use crate::secret::{ClientSecret, Password, SecretDigest};

/// Checks the secrets of clients and, for the password grant, the passwords of users. It also returns the status of a
/// user's account. Every method has a default.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not authenticate clients and resource owners",
    note = "implement `grantor::Authenticator`; each method has a default"
)]
pub trait Authenticator: Send + Sync {
    /// Checks the secret of a client (RFC 6749 §2.3.1).
    ///
    /// ```text
    /// async fn authenticate_client(
    ///     &self,
    ///     attempt: &ClientAttempt<'_>,
    /// ) -> Result<Verdict<()>, AuthenticatorError>
    /// ```
    ///
    /// > The authorization server MUST protect any endpoint utilizing it against brute force attacks.
    ///
    /// It is also called for clients that do not exist. `attempt.client` is then `None`, and `Accepted` counts as
    /// rejected. So a limiter sees every attempt, and an unknown client takes the same time as a wrong secret. It is
    /// not called if the client is not registered for the authentication method of the request.
    ///
    /// A client without a live credential never authenticates, regardless of the verdict. For an
    /// [opaque](crate::ClientCredential::opaque) credential, only your code knows which secret belongs to it and
    /// whether that secret has expired: it must reject secrets that have expired.
    ///
    /// The default compares SHA-256 digests in constant time, which is safe for generated secrets.
    ///
    /// # Errors
    /// The secret could not be checked. Answered with `server_error`, or with 503 and `Retry-After` for
    /// [`AuthenticatorError::unavailable`].
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        Ok(if attempt.matches_a_digest() { Verdict::Accepted(()) } else { Verdict::Rejected })
    }

    /// Checks the user name and password of a user and returns the user (RFC 6749 §4.3). It is called only if the
    /// password grant is allowed.
    ///
    /// ```text
    /// async fn authenticate_resource_owner(
    ///     &self,
    ///     attempt: &ResourceOwnerAttempt<'_>,
    /// ) -> Result<Verdict<Subject>, AuthenticatorError>
    /// ```
    ///
    /// An unknown user, a wrong password and a locked account must give the same verdict in the same time. Also decide
    /// whether this client may get the requested scope, because this grant has no consent page.
    ///
    /// The default rejects every attempt.
    ///
    /// # Errors
    /// The password could not be checked. Answered with `server_error`, or with 503 and `Retry-After` for
    /// [`AuthenticatorError::unavailable`].
    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        let _ = attempt;
        Ok(Verdict::Rejected)
    }

    /// Returns whether tokens may be issued for a subject. It is called each time before tokens are issued for a
    /// subject: when a code is redeemed, when a refresh token is used or its response is repeated, and when a grant is
    /// opened by a password, by the implicit grant or by an extension grant. With
    /// [`Policy::check_subject_at_use`](crate::Policy::check_subject_at_use), it is also called at the bearer check and
    /// at introspection.
    ///
    /// ```text
    /// async fn subject_status(&self, subject: &Subject) -> Result<SubjectStatus, AuthenticatorError>
    /// ```
    ///
    /// It is called after the checks that the token belongs to the client and was not redeemed before. If the subject
    /// is not [`Active`](SubjectStatus::Active), nothing is redeemed. So a user who was suspended for an hour has the
    /// same refresh tokens afterwards.
    ///
    /// The default is [`Active`](SubjectStatus::Active) for every subject.
    ///
    /// # Errors
    /// The status could not be determined. Answered with 503 `temporarily_unavailable` and `Retry-After`. Nothing is
    /// redeemed or revoked.
    async fn subject_status(&self, subject: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        let _ = subject;
        Ok(SubjectStatus::Active)
    }
}

#[async_trait]
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        (**self).authenticate_client(attempt).await
    }

    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        (**self).authenticate_resource_owner(attempt).await
    }

    async fn subject_status(&self, subject: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        (**self).subject_status(subject).await
    }
}

/// The status of a user's account, as [`Authenticator::subject_status`] returns it.
///
/// A client gets the same response for a suspended user, a deleted user and a revoked grant. The event
/// [`SubjectNotActive`](crate::EventKind::SubjectNotActive) contains the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubjectStatus {
    /// Tokens may be issued.
    Active,
    /// No tokens may be issued at present. The grants of the subject are kept, and work again when the subject is
    /// active.
    Suspended,
    /// No tokens may be issued any more. All grants of the subject are revoked.
    Gone,
}

impl SubjectStatus {
    /// Returns a stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Gone => "gone",
        }
    }
}

/// The decision of an [`Authenticator`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a verdict that is not read accepts every attempt"]
#[expect(clippy::exhaustive_enums, reason = "every outcome of an attempt must be handled")]
pub enum Verdict<T> {
    /// The credentials are right.
    Accepted(T),
    /// The credentials are wrong, or the account may not be used. The caller does not learn which.
    Rejected,
    /// There were too many attempts, and the credentials were not checked. Answered with 429 and `Retry-After`.
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// An attempt to authenticate as a client with a secret.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientAttempt<'a> {
    /// The presented identifier. It is printable ASCII, but otherwise untrusted.
    pub client_id: &'a str,
    /// The client with that identifier, if there is one.
    pub client: Option<&'a Client>,
    /// The presented secret, which is printable ASCII and not empty.
    pub secret: &'a ClientSecret,
    /// The secret from an `Authorization: Basic` header without form-decoding, if that is another text and the client
    /// has [`raw_basic_secret`](crate::client::ClientParts::raw_basic_secret). Accept the attempt if either of the two
    /// is right.
    pub raw_secret: Option<&'a ClientSecret>,
    /// The authentication method of the request.
    pub method: AuthenticationMethod,
    /// The peer, if the host app set it.
    pub peer: Option<IpAddr>,
    /// The time of the request.
    pub now: OffsetDateTime,
}

impl ClientAttempt<'_> {
    /// Returns whether the secret matches the digest of one of the client's live credentials. It compares in constant
    /// time, and computes the hash even if there is no client.
    #[must_use]
    pub fn matches_a_digest(&self) -> bool {
        self.matches(false)
    }

    /// Returns whether the secret matches the digest of one of the client's live credentials that this library
    /// [generated](ClientCredential::Secret::generated). Such a secret can't be guessed, so a limiter can always accept
    /// it. It compares in constant time.
    #[must_use]
    pub fn matches_a_generated_secret(&self) -> bool {
        self.matches(true)
    }

    fn matches(&self, only_generated: bool) -> bool {
        let presented = SecretDigest::of(self.secret);
        let raw = self.raw_secret.map(SecretDigest::of);
        let credentials = self.client.map_or(&[][..], Client::credentials);
        let live = credentials.iter().filter(|credential| credential.is_live(self.now));
        live.fold(false, |found, credential| match credential {
            ClientCredential::Secret { digest, generated, .. } if *generated || !only_generated => {
                let is_raw = raw.as_ref().is_some_and(|raw| digest.equals(raw));
                found | digest.equals(&presented) | is_raw
            }
            ClientCredential::Secret { .. } | ClientCredential::Opaque { .. } => found,
        })
    }
}

/// An attempt to use the password grant.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResourceOwnerAttempt<'a> {
    /// The presented user name. It is untrusted text.
    pub username: &'a str,
    /// The presented password.
    pub password: &'a Password,
    /// The authenticated client.
    pub client: &'a Client,
    /// The requested scope, which the client may request.
    pub scope: &'a Scope,
    /// The peer, if the host app set it.
    pub peer: Option<IpAddr>,
    /// The time of the request.
    pub now: OffsetDateTime,
}

/// An authenticator with the default methods of [`Authenticator`]: it compares client secrets by their digests and
/// knows no users.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct ClientSecrets;

#[async_trait]
impl Authenticator for ClientSecrets {}
