//! Verifying what was signed.

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::jws::{Unverified, parse};
use super::key::PublicKey;
use super::sign::{KeyError, Keys};
use super::strict_json::parse_object;

/// Verifies signatures. It is asked with public keys only.
pub trait Verifier: Send + Sync {
    /// Returns the algorithms that it knows.
    fn algorithms(&self) -> &[Algorithm];

    /// Verifies a signature over these bytes, hashing included.
    ///
    /// # Errors
    /// The signature is not one of this key and this algorithm, or the key is no point of its curve.
    fn verify(&self, algorithm: Algorithm, key: &PublicKey, input: &[u8], signature: &[u8])
    -> Result<(), BadSignature>;
}

/// A signature was not made with this key over this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to say about it")]
pub struct BadSignature;

/// What one place accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted<'a> {
    /// The greatest size of a text, in bytes.
    pub(crate) max_size: usize,
    pub(crate) typ: Typ<'a>,
    pub(crate) algorithms: &'a [Algorithm],
}

/// The type that the header must name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Typ<'a> {
    /// This one.
    Is(&'a str),
    #[cfg_attr(not(test), expect(dead_code, reason = "for what clients sign, which comes next"))]
    /// This one, or none, or the general `JWT`, where a specification came before explicit types.
    IsOrGeneral(&'a str),
}

/// Why a text is not accepted. A client is told less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unacceptable {
    #[error("it is not a signed JSON object in the compact form, or too long")]
    Malformed,
    #[error("it has another type")]
    Type,
    #[error("its algorithm is not accepted here")]
    Algorithm,
    #[error("no key has its identifier and algorithm")]
    UnknownKey,
    #[error("the signature does not match")]
    Signature,
}

/// Verifies a text with the keys of its presumed issuer, and returns what it says.
///
/// The algorithm has to be accepted, known to the verifier, and suit the key. A text with `kid` is verified with keys of this identifier
/// only, one without it with every key that suits.
pub(crate) fn verify(
    text: &str,
    accepted: Accepted<'_>,
    keys: &[PublicKey],
    verifier: &dyn Verifier,
) -> Result<Claims, Unacceptable> {
    let jws = parse(text, accepted.max_size).ok_or(Unacceptable::Malformed)?;
    if !accepted.typ.accepts(&jws) {
        return Err(Unacceptable::Type);
    }
    let algorithm = jws.header.algorithm.filter(|algorithm| accepted.algorithms.contains(algorithm));
    let algorithm = algorithm.filter(|algorithm| verifier.algorithms().contains(algorithm));
    let algorithm = algorithm.ok_or(Unacceptable::Algorithm)?;
    let is_named = |key: &&PublicKey| jws.header.key_id.as_deref().is_none_or(|id| key.id() == Some(id));
    let mut candidates = keys.iter().filter(is_named).filter(|key| key.is_for(algorithm)).peekable();
    if candidates.peek().is_none() {
        return Err(Unacceptable::UnknownKey);
    }
    if !candidates.any(|key| verifier.verify(algorithm, key, jws.signed, &jws.signature).is_ok()) {
        return Err(Unacceptable::Signature);
    }
    parse_object(&jws.payload).map(Claims::new).ok_or(Unacceptable::Malformed)
}

/// Verifies a text that this issuer should have signed, with its own keys. If the text names a key that is not published, the keys are
/// asked once more: another node may have made the key a moment ago.
///
/// # Errors
/// The keys could not be read.
pub(crate) async fn verify_own(
    text: &str,
    accepted: Accepted<'_>,
    issuer: &str,
    keys: &dyn Keys,
    verifier: &dyn Verifier,
) -> Result<Result<Claims, Unacceptable>, KeyError> {
    let published = keys.published().await?;
    let result = verify(text, accepted, &published, verifier);
    let is_unknown = matches!(result, Err(Unacceptable::UnknownKey));
    if is_unknown && names_another_key(text, accepted.max_size, issuer, &published) {
        return Ok(verify(text, accepted, &keys.reload().await?, verifier));
    }
    Ok(result)
}

/// Whether a text says that it is of this issuer and signed with a key that is not among these. It may be forged.
fn names_another_key(text: &str, max_size: usize, issuer: &str, keys: &[PublicKey]) -> bool {
    let Some(jws) = parse(text, max_size) else { return false };
    let Some(id) = jws.header.key_id.as_deref() else { return false };
    let is_known = keys.iter().any(|key| key.id() == Some(id));
    let claims = parse_object(&jws.payload).map(Claims::new);
    !is_known && claims.is_some_and(|claims| claims.text("iss") == Ok(Some(issuer)))
}

impl Typ<'_> {
    fn accepts(self, jws: &Unverified<'_>) -> bool {
        match self {
            Self::Is(typ) => jws.header.has_type(typ),
            Self::IsOrGeneral(typ) => {
                jws.header.typ.is_none() || jws.header.has_type("jwt") || jws.header.has_type(typ)
            }
        }
    }
}
