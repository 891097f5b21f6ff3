//! Signed JSON: keys, signatures and claims (RFC 7515, 7517, 7518, 7519, 7638, 8037, 9864).
//!
//! Only this module knows these formats. It reads no clock and keeps no global state. [`Signer`] and [`Verifier`] do
//! the cryptography; `aws_lc` implements both.

mod algorithm;
mod aws_lc;
mod claims;
mod jwks;
mod jws;
mod key;
mod key_ring;
pub(crate) mod problem;
mod sign;
mod signing_key;
mod strict_json;
mod verify;
mod wrapping_key;

#[cfg(test)]
mod tests;

pub use self::algorithm::Algorithm;
pub use self::aws_lc::AwsLc;
pub(crate) use self::claims::Claims;
pub(crate) use self::jwks::write as write_jwks;
pub use self::jwks::{InvalidJwkSet, JwkSet};
pub use self::key::{InvalidKey, PublicKey};
pub use self::key_ring::{KeyRing, KeyRingBuilder, KeyRingError};
pub use self::problem::JwtProblem;
pub(crate) use self::sign::sign;
pub use self::sign::{KeyError, KeySchedule, Keys, KeysContext, Signature, Signer, SignerError};
pub use self::signing_key::SigningKey;
pub(crate) use self::verify::{Accepted, Typ, unverified_subject, verify, verify_own};
pub use self::verify::{BadSignature, Verifier};
pub use self::wrapping_key::WrappingKey;
