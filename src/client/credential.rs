//! How a client proves who it is, as far as it is stored.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::secret::{ClientSecret, SecretDigest};

/// One credential of a confidential client. A client may have several at a time, so that a secret can be replaced while
/// the old one still works.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ClientCredential {
    /// A generated secret, kept as its SHA-256.
    #[non_exhaustive]
    Secret {
        /// The digest.
        digest: SecretDigest,
        /// Whether this library generated the secret, see [`ClientSecret::random`]. A [`Limiter`](crate::Limiter) never throttles such a
        /// secret, because nobody can guess it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        generated: bool,
        /// From when on it no longer authenticates; `None` for never.
        #[serde(default, with = "rfc3339::option")]
        expires_at: Option<OffsetDateTime>,
    },
    /// A secret that only the host's [`Authenticator`](crate::Authenticator) can check: one hashed with argon2, kept in
    /// a vault or a directory.
    #[non_exhaustive]
    Opaque {
        /// From when on it no longer authenticates; `None` for never.
        #[serde(default, with = "rfc3339::option")]
        expires_at: Option<OffsetDateTime>,
    },
}

impl ClientCredential {
    /// A generated secret without expiry. It is marked as generated if it comes from [`ClientSecret::random`] or
    /// [`ClientSecret::generate`], and not if it was made from a text.
    #[must_use]
    pub fn secret(secret: &ClientSecret) -> Self {
        Self::Secret { digest: SecretDigest::of(secret), generated: secret.is_generated(), expires_at: None }
    }

    /// Returns a credential without expiry for a secret of which only the digest is known, such as one from another database.
    ///
    /// ```
    /// use grantor::{ClientCredential, ClientSecret};
    /// use grantor::secret::SecretDigest;
    ///
    /// let digest: [u8; 32] = *SecretDigest::of(&ClientSecret::random()?).as_bytes(); // what another server has stored
    /// let credential = ClientCredential::from_digest(SecretDigest::from_bytes(digest));
    /// assert_eq!(credential.expires_at(), None);
    /// # Ok::<(), grantor::EntropyError>(())
    /// ```
    #[must_use]
    pub const fn from_digest(digest: SecretDigest) -> Self {
        Self::Secret { digest, generated: false, expires_at: None }
    }

    /// A secret that the host checks, without expiry.
    #[must_use]
    pub const fn opaque() -> Self {
        Self::Opaque { expires_at: None }
    }

    /// The same credential, ending at `at`.
    #[must_use]
    pub fn expiring(mut self, at: OffsetDateTime) -> Self {
        match &mut self {
            Self::Secret { expires_at, .. } | Self::Opaque { expires_at } => *expires_at = Some(at),
        }
        self
    }

    /// From when on it no longer authenticates; `None` for never.
    #[must_use]
    pub const fn expires_at(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Secret { expires_at, .. } | Self::Opaque { expires_at } => *expires_at,
        }
    }

    /// Whether it still authenticates.
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
    /// The identifier alone: public clients.
    None,
}

impl AuthenticationMethod {
    /// All methods of this server. Its metadata lists them.
    pub(crate) const ALL: [Self; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::None];

    /// The name in the registry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
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
