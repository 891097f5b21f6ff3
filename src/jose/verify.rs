//! Verifies signed texts.

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::jws::{Unverified, decode_payload, parse};
use super::key::PublicKey;
use super::problem::JwtProblem;
use super::sign::{KeyError, Keys};
use super::strict_json::parse_object;

/// The maximum number of keys that are tried for one text. It bounds the work for a text without `kid`.
const MAX_TRIED: usize = 4;

/// Verifies signatures, with public keys only.
pub trait Verifier: Send + Sync {
    /// Returns the supported algorithms.
    fn algorithms(&self) -> &[Algorithm];

    /// Verifies a signature over these bytes. This includes the hash that the algorithm prescribes.
    ///
    /// # Errors
    /// The signature was not made with this key and this algorithm, or the key is not a point of its curve.
    fn verify(&self, algorithm: Algorithm, key: &PublicKey, input: &[u8], signature: &[u8])
    -> Result<(), BadSignature>;
}

/// The signature was not made with this key over this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to say about it")]
pub struct BadSignature;

/// The kind of text that a caller accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted<'a> {
    /// The maximum size of a text, in bytes.
    pub(crate) max_size: usize,
    pub(crate) typ: Typ<'a>,
    pub(crate) algorithms: &'a [Algorithm],
}

/// The type that the header must name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Typ<'a> {
    /// Exactly this type.
    Is(&'a str),
    /// This type, no type, or the general `JWT`, for specifications that are older than explicit types.
    IsOrGeneral(&'a str),
}

/// Verifies a text with the keys of its presumed issuer, and returns its claims.
///
/// The algorithm must be accepted, supported by the verifier, and suit the key. If the text has a `kid`, only keys with
/// this identifier are tried; otherwise every suitable key is, unless there are more than [`MAX_TRIED`].
pub(crate) fn verify(
    text: &str,
    accepted: Accepted<'_>,
    keys: &[PublicKey],
    verifier: &dyn Verifier,
) -> Result<Claims, JwtProblem> {
    let jws = parse(text, accepted.max_size).ok_or(JwtProblem::Malformed)?;
    if !accepted.typ.accepts(&jws) {
        return Err(JwtProblem::Type);
    }
    let algorithm = jws.header.algorithm.filter(|algorithm| accepted.algorithms.contains(algorithm));
    let algorithm = algorithm.filter(|algorithm| verifier.algorithms().contains(algorithm));
    let algorithm = algorithm.ok_or(JwtProblem::Algorithm)?;
    let is_named = |key: &&PublicKey| jws.header.key_id.as_deref().is_none_or(|id| key.id() == Some(id));
    let suitable = || keys.iter().filter(is_named).filter(|key| key.is_for(algorithm));
    match suitable().count() {
        0 => return Err(JwtProblem::UnknownKey),
        1..=MAX_TRIED => {}
        _ => return Err(JwtProblem::AmbiguousKey),
    }
    if !suitable().any(|key| verifier.verify(algorithm, key, jws.signed, &jws.signature).is_ok()) {
        return Err(JwtProblem::Signature);
    }
    parse_object(&jws.payload).map(Claims::new).ok_or(JwtProblem::Malformed)
}

/// Returns the subject (`sub`) that a text claims, to find the keys that could verify it. The text may be forged.
pub(crate) fn unverified_subject(text: &str, max_size: usize) -> Result<String, JwtProblem> {
    let payload = decode_payload(text, max_size).ok_or(JwtProblem::Malformed)?;
    let claims = parse_object(&payload).map(Claims::new).ok_or(JwtProblem::Malformed)?;
    Ok(claims.text("sub")?.ok_or(JwtProblem::MissingClaim("sub"))?.to_owned())
}

/// Verifies a text that this server should have signed, with its own keys. If the text names a key that is not
/// published, the keys are read again, because another node may just have generated it.
///
/// # Errors
/// The keys could not be read.
pub(crate) async fn verify_own(
    text: &str,
    accepted: Accepted<'_>,
    issuer: &str,
    keys: &dyn Keys,
    verifier: &dyn Verifier,
) -> Result<Result<Claims, JwtProblem>, KeyError> {
    let published = keys.published().await?;
    let result = verify(text, accepted, &published, verifier);
    let is_unknown = matches!(result, Err(JwtProblem::UnknownKey));
    if is_unknown && names_another_key(text, accepted.max_size, issuer, &published) {
        return Ok(verify(text, accepted, &keys.reload().await?, verifier));
    }
    Ok(result)
}

/// Returns whether a text claims this issuer and names a key that is not in `keys`. The text may be forged.
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
