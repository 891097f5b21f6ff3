//! The stored credentials of a client, and its authentication methods.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::secret::{ClientSecret, SecretDigest};

/// A credential of a confidential client. A client may have several at once, so that a secret can be replaced while the
/// old one still works.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ClientCredential {
    /// A secret, stored as its SHA-256 digest.
    #[non_exhaustive]
    Secret {
        /// The digest.
        digest: SecretDigest,
        /// Whether this library generated the secret, see [`ClientSecret::random`]. A [`Limiter`](crate::Limiter) never
        /// throttles such a secret, because it can't be guessed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        generated: bool,
        /// The time when the credential expires; `None` if it does not expire.
        #[serde(default, with = "rfc3339::option")]
        expires_at: Option<OffsetDateTime>,
    },
    /// A secret that only the [`Authenticator`](crate::Authenticator) of the host app can check, for example in a
    /// vault, in a directory, or as an Argon2 hash.
    #[non_exhaustive]
    Opaque {
        /// The time when the credential expires; `None` if it does not expire.
        #[serde(default, with = "rfc3339::option")]
        expires_at: Option<OffsetDateTime>,
    },
}

impl ClientCredential {
    /// Returns a credential without expiry for a secret. It is marked as generated if the secret comes from
    /// [`ClientSecret::random`] or [`ClientSecret::generate`], but not if the secret was made from a text.
    #[must_use]
    pub fn secret(secret: &ClientSecret) -> Self {
        Self::Secret { digest: SecretDigest::of(secret), generated: secret.is_generated(), expires_at: None }
    }

    /// Returns a credential without expiry for the digest of a secret, such as one from another database.
    ///
    /// ```
    /// use grantor::{ClientCredential, ClientSecret};
    /// use grantor::secret::SecretDigest;
    ///
    /// let digest: [u8; 32] = *SecretDigest::of(&ClientSecret::random()?).as_bytes(); // from the database of another server
    /// let credential = ClientCredential::from_digest(SecretDigest::from_bytes(digest));
    /// assert_eq!(credential.expires_at(), None);
    /// # Ok::<(), grantor::EntropyError>(())
    /// ```
    #[must_use]
    pub const fn from_digest(digest: SecretDigest) -> Self {
        Self::Secret { digest, generated: false, expires_at: None }
    }

    /// Returns a credential without expiry that the host app checks.
    #[must_use]
    pub const fn opaque() -> Self {
        Self::Opaque { expires_at: None }
    }

    /// Returns the credential with an expiry at `at`.
    #[must_use]
    pub fn expiring(mut self, at: OffsetDateTime) -> Self {
        match &mut self {
            Self::Secret { expires_at, .. } | Self::Opaque { expires_at } => *expires_at = Some(at),
        }
        self
    }

    /// Returns the time when the credential expires, or `None` if it does not expire.
    #[must_use]
    pub const fn expires_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Secret { expires_at, .. } | Self::Opaque { expires_at } => *expires_at,
        }
    }

    /// Returns whether the credential has not expired.
    #[must_use]
    pub fn is_live(&self, now: OffsetDateTime) -> bool {
        self.expires_at().is_none_or(|end| now < end)
    }
}

/// A method of client authentication, by its name in the registry of RFC 7591 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuthenticationMethod {
    /// Identifier and secret in an `Authorization: Basic` header.
    ClientSecretBasic,
    /// Identifier and secret in the body.
    ClientSecretPost,
    /// A JWT that the client signs with its private key (RFC 7523 §2.2). The server needs
    /// `ClientSignatures` (feature `jwt`).
    PrivateKeyJwt,
    /// Only the identifier, for public clients.
    None,
}

impl AuthenticationMethod {
    /// Every method. The metadata lists those that the server accepts, in this order.
    pub(crate) const ALL: [Self; 4] =
        [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt, Self::None];

    /// Returns the name in the registry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authentication_method_in_json_uses_registered_name() {
        for method in AuthenticationMethod::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
    }
}
