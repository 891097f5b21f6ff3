//! What the host knows about clients' secrets, users' passwords and the state of users' accounts.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use crate::client::{AuthenticationMethod, Client, ClientCredential};
use crate::error::AuthenticatorError;
use crate::record::Subject;
use crate::scope::Scope;
use crate::secret::{ClientSecret, Password, SecretDigest};

/// Checks the credentials of clients and, for the password grant, of resource owners, and tells the state of a resource owner's
/// account. Every method has a default.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not authenticate clients and resource owners",
    note = "implement `grantor::Authenticator`; each method has a default"
)]
pub trait Authenticator: Send + Sync {
    /// Whether a secret belongs to a client (RFC 6749 §2.3.1).
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
    /// Also called for clients that do not exist (`attempt.client` is then `None`, and `Accepted` counts as rejected),
    /// so that a limiter sees every secret that is tried and an unknown client costs what a wrong secret costs. (Not called if
    /// the client is not registered for the way in which the secret was presented.)
    ///
    /// A client none of whose credentials is live never authenticates, whatever the verdict. Which of several
    /// [opaque](crate::ClientCredential::opaque) ones a secret belongs to, and whether that one has expired, only the host can
    /// know: of secrets kept elsewhere it is to accept those alone that have not.
    ///
    /// The default compares SHA-256 digests in constant time, which is fit for generated secrets.
    ///
    /// # Errors
    /// It could not be decided; answered with `server_error`, or with 503 and `Retry-After` for
    /// [`AuthenticatorError::unavailable`].
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        Ok(if attempt.matches_a_digest() { Verdict::Accepted(()) } else { Verdict::Rejected })
    }

    /// Whose user name and password these are (RFC 6749 §4.3). Called only if the password grant is switched on.
    ///
    /// ```text
    /// async fn authenticate_resource_owner(
    ///     &self,
    ///     attempt: &ResourceOwnerAttempt<'_>,
    /// ) -> Result<Verdict<Subject>, AuthenticatorError>
    /// ```
    ///
    /// An unknown user, a wrong password and a locked account must look the same and take the same time. Mind who the
    /// client is and what it asks for, too: this grant has no consent page.
    ///
    /// The default knows no users and rejects every attempt.
    ///
    /// # Errors
    /// It could not be decided; answered with `server_error`, or with 503 and `Retry-After` for
    /// [`AuthenticatorError::unavailable`].
    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        let _ = attempt;
        Ok(Verdict::Rejected)
    }

    /// Returns whether tokens may be issued for a subject. Asked each time before tokens are issued for one: when a code is
    /// redeemed, a refresh token is used or its answer repeated, and when a grant is opened by a password, by the implicit grant or
    /// by an extension grant. With [`Policy::check_subject_at_use`](crate::Policy::check_subject_at_use) also at the bearer check and
    /// at introspection.
    ///
    /// ```text
    /// async fn subject_status(&self, subject: &Subject) -> Result<SubjectStatus, AuthenticatorError>
    /// ```
    ///
    /// The client has proven by then that the token is its own, and reuse of a spent token was dealt with. Nothing is spent if the
    /// subject is not [`Active`](SubjectStatus::Active), so a user who is suspended for an hour has the same refresh tokens after it.
    ///
    /// The default is [`Active`](SubjectStatus::Active) for every subject.
    ///
    /// # Errors
    /// It could not be found out; answered with 503 `temporarily_unavailable` and `Retry-After`. Nothing is spent or revoked.
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

/// The state of a resource owner's account, as [`Authenticator::subject_status`] tells it.
///
/// Clients can't tell the last two from each other, nor from a grant that was revoked. The event
/// [`SubjectNotActive`](crate::EventKind::SubjectNotActive) names the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubjectStatus {
    /// Tokens may be issued.
    Active,
    /// Not for now. The grants of the subject stay, and work again when it is active.
    Suspended,
    /// Never again: all grants of the subject are revoked.
    Gone,
}

impl SubjectStatus {
    /// Its name: stable, for logs and metrics.
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
#[expect(clippy::exhaustive_enums, reason = "what may happen to an attempt must be handled in full")]
pub enum Verdict<T> {
    /// The credentials are right.
    Accepted(T),
    /// They are wrong, or the account may not be used. The caller is not told which.
    Rejected,
    /// Too many attempts; the credentials were not judged. Answered with 429 and `Retry-After`.
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// An attempt to authenticate as a client with a secret.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientAttempt<'a> {
    /// The identifier that was presented; printable ASCII, but otherwise whatever was sent.
    pub client_id: &'a str,
    /// The client of that identifier, if there is one.
    pub client: Option<&'a Client>,
    /// The secret that was presented; printable ASCII, not empty.
    pub secret: &'a ClientSecret,
    /// The same as it stands in an `Authorization: Basic` header without form-decoding, if that is another text and the client has
    /// [`raw_basic_secret`](crate::client::ClientParts::raw_basic_secret). The attempt is right if either one is.
    pub raw_secret: Option<&'a ClientSecret>,
    /// How it was presented.
    pub method: AuthenticationMethod,
    /// The peer, if the host vouched for one.
    pub peer: Option<IpAddr>,
    /// The time of the request.
    pub now: OffsetDateTime,
}

impl ClientAttempt<'_> {
    /// Whether the secret matches the digest of one of the client's live credentials. Takes the same time wherever they
    /// differ, and hashes once even if there is no client.
    #[must_use]
    pub fn matches_a_digest(&self) -> bool {
        self.matches(false)
    }

    /// Whether the secret matches the digest of one of the client's live credentials that this library
    /// [generated](ClientCredential::Secret::generated). There is nothing to guess, so a limit on attempts can let it pass. Takes the
    /// same time wherever they differ.
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
    /// The user name that was presented. Text from outside.
    pub username: &'a str,
    /// The password that was presented.
    pub password: &'a Password,
    /// The authenticated client.
    pub client: &'a Client,
    /// The scope it asks for, already checked against what it may ask for.
    pub scope: &'a Scope,
    /// The peer, if the host vouched for one.
    pub peer: Option<IpAddr>,
    /// The time of the request.
    pub now: OffsetDateTime,
}

/// The authenticator of a server without password grant: it compares client secrets as [`Authenticator::authenticate_client`] does
/// by default, and knows no users.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct ClientSecrets;

#[async_trait]
impl Authenticator for ClientSecrets {}
