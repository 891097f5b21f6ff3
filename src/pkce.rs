//! Proof Key for Code Exchange (RFC 7636).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Refusal;
use crate::secret::CodeVerifier;

/// The method that derives a challenge from its verifier (RFC 7636 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChallengeMethod {
    /// The base64url-encoded SHA-256 of the verifier.
    S256,
    /// The verifier itself. It is a legacy habit that must be allowed (see [`Dangerous`](crate::policy::Dangerous)).
    #[serde(rename = "plain")]
    Plain,
}

/// A code challenge from the authorization endpoint, with its method.
///
/// The method is stored with the challenge, so a client can't change it at the token endpoint.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "ChallengeRecord")]
pub struct CodeChallenge {
    method: ChallengeMethod,
    value: Arc<str>,
}

/// The stored form of a challenge, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChallengeRecord {
    method: ChallengeMethod,
    value: Box<str>,
}

impl TryFrom<ChallengeRecord> for CodeChallenge {
    type Error = &'static str;
    fn try_from(ChallengeRecord { method, value }: ChallengeRecord) -> Result<Self, Self::Error> {
        Self::new(method, &value).ok_or("the code challenge does not fit its method")
    }
}

impl CodeChallenge {
    /// Reads the parameters `code_challenge` and `code_challenge_method` (RFC 7636 §4.3). Returns `None` if both are
    /// missing.
    ///
    /// # Errors
    /// A method without a challenge, an unknown method, or a challenge that does not fit its method. Unless
    /// `plain_allowed`, also `plain` and a missing method, which means `plain`.
    pub(crate) fn read(
        value: Option<&str>,
        method: Option<&str>,
        plain_allowed: bool,
    ) -> Result<Option<Self>, Refusal> {
        let Some(value) = value else {
            return match method {
                None => Ok(None),
                Some(_) => Err(Refusal::MissingParameter("code_challenge")),
            };
        };
        let method = match method {
            Some("S256") => ChallengeMethod::S256,
            Some("plain") | None if plain_allowed => ChallengeMethod::Plain,
            Some("plain") => return Err(Refusal::PlainChallenge),
            None => return Err(Refusal::MissingParameter("code_challenge_method")),
            Some(_) => return Err(Refusal::UnsupportedChallengeMethod),
        };
        Self::new(method, value).map(Some).ok_or(Refusal::MalformedParameter("code_challenge"))
    }

    fn new(method: ChallengeMethod, value: &str) -> Option<Self> {
        let fits = match method {
            ChallengeMethod::S256 => value.len() == 43 && value.bytes().all(is_base64url),
            ChallengeMethod::Plain => is_code_verifier(value),
        };
        fits.then(|| Self { method, value: value.into() })
    }

    /// Computes the `S256` challenge of a verifier, as a client does.
    #[must_use]
    pub fn s256(verifier: &CodeVerifier) -> Self {
        Self { method: ChallengeMethod::S256, value: String::from_utf8_lossy(&s256(verifier.expose())).into() }
    }

    /// Returns the value of the parameter `code_challenge`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// Returns the method of the challenge.
    #[must_use]
    pub const fn method(&self) -> ChallengeMethod {
        self.method
    }

    /// Returns whether `verifier` matches the challenge, compared in constant time (RFC 7636 §4.6).
    #[must_use]
    pub fn is_met_by(&self, verifier: &CodeVerifier) -> bool {
        self.is_met_by_text(verifier.expose())
    }

    /// Like [`is_met_by`](Self::is_met_by), for the text of a request.
    pub(crate) fn is_met_by_text(&self, verifier: &str) -> bool {
        let expected = self.value.as_bytes();
        match self.method {
            ChallengeMethod::S256 => s256(verifier).ct_eq(expected).into(),
            ChallengeMethod::Plain => verifier.as_bytes().ct_eq(expected).into(),
        }
    }
}

impl std::fmt::Debug for CodeChallenge {
    /// Leaves out the value, because with `plain` it is the verifier.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CodeChallenge({:?}, [redacted])", self.method())
    }
}

/// Returns whether a text has 43 to 128 unreserved characters (RFC 7636 §4.1).
pub(crate) fn is_code_verifier(text: &str) -> bool {
    let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.as_bytes().iter().all(is_unreserved)
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Computes the SHA-256 digest as 43 characters of base64url.
fn s256(verifier: &str) -> [u8; 43] {
    let mut text = [0; 43];
    // The digest always fits. If it did not, the text would match no challenge.
    let _ = URL_SAFE_NO_PAD.encode_slice(Sha256::digest(verifier.as_bytes()), &mut text);
    text
}
