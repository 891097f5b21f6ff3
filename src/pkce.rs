//! Proof Key for Code Exchange (RFC 7636).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Refusal;
use crate::secret::CodeVerifier;

/// The method that made a challenge from its verifier (RFC 7636 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChallengeMethod {
    /// The base64url-encoded SHA-256 of the verifier.
    S256,
    /// The verifier itself; a legacy habit that must be switched on (see [`Dangerous`](crate::policy::Dangerous)).
    #[serde(rename = "plain")]
    Plain,
}

/// A code challenge as it was given at the authorization endpoint, together with its method.
///
/// The method is a part of the record: at the token endpoint nothing that the client sends can change it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "ChallengeRecord")]
pub struct CodeChallenge {
    method: ChallengeMethod,
    value: Arc<str>,
}

/// The form in which it travels and is stored, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChallengeRecord {
    method: ChallengeMethod,
    value: Box<str>,
}

impl TryFrom<ChallengeRecord> for CodeChallenge {
    type Error = &'static str;
    fn try_from(ChallengeRecord { method, value }: ChallengeRecord) -> Result<Self, Self::Error> {
        Self::new(method, &value).ok_or("a code challenge does not fit its method")
    }
}

impl CodeChallenge {
    /// Reads the parameters `code_challenge` and `code_challenge_method` (RFC 7636 §4.3); `None` without either.
    ///
    /// # Errors
    /// A method without a challenge, an unknown method, a challenge that does not fit its method, and `plain`
    /// (also when it is meant by leaving out the method) unless `plain_allowed`.
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

    /// The challenge of a verifier by `S256`, as a client computes it.
    #[must_use]
    pub fn s256(verifier: &CodeVerifier) -> Self {
        Self { method: ChallengeMethod::S256, value: String::from_utf8_lossy(&s256(verifier.expose())).into() }
    }

    /// The value of the `code_challenge` parameter.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// The method it was made with.
    #[must_use]
    pub const fn method(&self) -> ChallengeMethod {
        self.method
    }

    /// Whether `verifier` proves possession, compared in constant time (RFC 7636 §4.6).
    #[must_use]
    pub fn is_met_by(&self, verifier: &CodeVerifier) -> bool {
        self.is_met_by_text(verifier.expose())
    }

    /// The same for a verifier as it stands in a request.
    pub(crate) fn is_met_by_text(&self, verifier: &str) -> bool {
        let expected = self.value.as_bytes();
        match self.method {
            ChallengeMethod::S256 => s256(verifier).ct_eq(expected).into(),
            ChallengeMethod::Plain => verifier.as_bytes().ct_eq(expected).into(),
        }
    }
}

impl std::fmt::Debug for CodeChallenge {
    /// Without the value: by `plain` it is the verifier.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CodeChallenge({:?}, [redacted])", self.method())
    }
}

/// 43 to 128 characters of the unreserved set (RFC 7636 §4.1).
pub(crate) fn is_code_verifier(text: &str) -> bool {
    let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.as_bytes().iter().all(is_unreserved)
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The 43 characters of base64url that 32 bytes are.
fn s256(verifier: &str) -> [u8; 43] {
    let mut text = [0; 43];
    // It fits; otherwise the text would be one that no challenge has.
    let _ = URL_SAFE_NO_PAD.encode_slice(Sha256::digest(verifier.as_bytes()), &mut text);
    text
}
