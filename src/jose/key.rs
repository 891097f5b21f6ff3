//! Public keys (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::algorithm::Algorithm;
use super::strict_json::parse_object;

/// The accepted sizes of RSA keys, in bits (RFC 7518 §3.3). The upper bound limits the work of a signature check.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The JWK members that only private and symmetric keys have.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key that verifies signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: Option<Box<str>>,
    algorithm: Option<Algorithm>,
    material: Material,
}

/// The numbers of a key.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    /// Big-endian and without leading zeros.
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    P256 {
        x: [u8; 32],
        y: [u8; 32],
    },
    P384 {
        x: [u8; 48],
        y: [u8; 48],
    },
    Ed25519 {
        x: [u8; 32],
    },
}

/// The reason why a key is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The key is not a JSON object, or a member occurs twice.
    #[error("a key must be a JSON object in which each member occurs once")]
    NotAnObject,
    /// A member is missing, has the wrong type, or is not encoded as RFC 7518 §6 requires.
    #[error("the key's member {0} is missing or malformed")]
    Member(&'static str),
    /// The type or curve is not supported.
    #[error("keys must be RSA, EC on P-256 or P-384, or OKP on Ed25519")]
    Type,
    /// A private or symmetric key was given instead of a public key.
    #[error("the key is private or symmetric: give a public key")]
    Private,
    /// An RSA key has fewer than 2048 or more than 8192 bits, or a secret of a [`WrappingKey`](super::WrappingKey) is
    /// too short or has only zeros.
    #[error(
        "the key has a wrong size: RSA keys must have 2048 to 8192 bits, and wrapping secrets at least 32 random bytes"
    )]
    Size,
    /// The key is not meant for signatures (`use`, `key_ops`), or not for this algorithm (`alg`).
    #[error("the key is not meant for signatures with this algorithm")]
    Use,
    /// The key could not be read, or its parts do not belong together.
    #[error("the key could not be read")]
    Unreadable,
}

impl PublicKey {
    /// Reads a JWK.
    ///
    /// # Errors
    /// The JWK is not a public key of a supported type, or is not meant for signatures.
    pub fn from_jwk(json: &str) -> Result<Self, InvalidKey> {
        Self::from_members(&parse_object(json.as_bytes()).ok_or(InvalidKey::NotAnObject)?)
    }

    pub(super) fn from_members(jwk: &Map<String, Value>) -> Result<Self, InvalidKey> {
        if jwk.get("kty").is_some_and(|kty| kty == "oct") || PRIVATE_MEMBERS.iter().any(|name| jwk.contains_key(*name))
        {
            return Err(InvalidKey::Private);
        }
        Self::from_public_members(jwk)
    }

    /// Reads a JWK and ignores its private members.
    pub(super) fn from_public_members(jwk: &Map<String, Value>) -> Result<Self, InvalidKey> {
        check_use(jwk)?;
        let material = Material::read(jwk)?;
        let algorithm = match text(jwk, "alg")? {
            None => None,
            Some(name) => {
                let named = Algorithm::from_name(name).filter(|algorithm| material.suits(*algorithm));
                Some(named.ok_or(InvalidKey::Use)?)
            }
        };
        let id = text(jwk, "kid")?.filter(|id| !id.is_empty()).map(Into::into);
        Ok(Self { id, algorithm, material })
    }

    /// Returns a key with these numbers, for one algorithm.
    pub(super) fn new(material: Material, algorithm: Algorithm) -> Result<Self, InvalidKey> {
        material.check()?;
        if !material.suits(algorithm) {
            return Err(InvalidKey::Use);
        }
        Ok(Self { id: None, algorithm: Some(algorithm), material })
    }

    /// Sets the identifier. Default for a key that signs: the thumbprint.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Box<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the one algorithm that the key is for.
    ///
    /// # Errors
    /// Keys of this type can't make signatures of this algorithm.
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Result<Self, InvalidKey> {
        if !self.material.suits(algorithm) {
            return Err(InvalidKey::Use);
        }
        self.algorithm = Some(algorithm);
        Ok(self)
    }

    /// Returns the identifier (`kid`), if the key has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the algorithm that the key is limited to (`alg`), if it is limited.
    #[must_use]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Returns whether the key may verify signatures of this algorithm. The algorithm must suit the type of the key,
    /// and equal its `alg` if it has one (RFC 8725 §3.1).
    #[must_use]
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.material.suits(algorithm) && self.algorithm.is_none_or(|own| own.is_same_as(algorithm))
    }

    /// Returns the SHA-256 thumbprint (RFC 7638 §3), in base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // None of the values needs escaping.
        let members: Vec<_> =
            self.material.members().iter().map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
        URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{{{}}}", members.join(","))))
    }

    /// Returns the JWK in its published form: `kty`, `use`, the numbers, and `kid` and `alg` if the key has them.
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        let members = self.material.members().into_iter();
        let mut jwk: Map<String, Value> = members.map(|(name, value)| (name.to_owned(), value.into())).collect();
        jwk.insert("use".into(), "sig".into());
        if let Some(id) = self.id() {
            jwk.insert("kid".into(), id.into());
        }
        if let Some(algorithm) = self.algorithm {
            jwk.insert("alg".into(), algorithm.name().into());
        }
        Value::Object(jwk)
    }

    /// Returns the length in bytes of this key's signatures of this algorithm, or 0 if it can't make any.
    pub(super) fn signature_size(&self, algorithm: Algorithm) -> usize {
        match &self.material {
            _ if !self.is_for(algorithm) => 0,
            Material::Rsa { n, .. } => n.len(),
            Material::P256 { .. } | Material::Ed25519 { .. } => 64,
            Material::P384 { .. } => 96,
        }
    }

    pub(super) const fn material(&self) -> &Material {
        &self.material
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_jwk())
    }
}

impl Material {
    fn read(jwk: &Map<String, Value>) -> Result<Self, InvalidKey> {
        let material = match (text(jwk, "kty")?.ok_or(InvalidKey::Member("kty"))?, text(jwk, "crv")?) {
            ("RSA", _) => Self::Rsa { n: bytes(jwk, "n")?.into(), e: bytes(jwk, "e")?.into() },
            ("EC", Some("P-256")) => Self::P256 { x: fixed(jwk, "x")?, y: fixed(jwk, "y")? },
            ("EC", Some("P-384")) => Self::P384 { x: fixed(jwk, "x")?, y: fixed(jwk, "y")? },
            ("OKP", Some("Ed25519")) => Self::Ed25519 { x: fixed(jwk, "x")? },
            _ => return Err(InvalidKey::Type),
        };
        material.check()?;
        Ok(material)
    }

    fn check(&self) -> Result<(), InvalidKey> {
        let Self::Rsa { n, e } = self else { return Ok(()) };
        match (&**n, &**e) {
            ([0, ..] | [], _) => Err(InvalidKey::Member("n")),
            // Odd, at least 3, at most 33 bits.
            (_, [0, ..] | [] | [1]) => Err(InvalidKey::Member("e")),
            (_, exponent) if exponent.len() > 5 || exponent.last().is_some_and(|last| last % 2 == 0) => {
                Err(InvalidKey::Member("e"))
            }
            ([first, rest @ ..], _) => {
                let bits = rest.len() * 8 + (8 - first.leading_zeros() as usize);
                if RSA_BITS.contains(&bits) { Ok(()) } else { Err(InvalidKey::Size) }
            }
        }
    }

    /// Returns whether keys of this type can make signatures of this algorithm.
    const fn suits(&self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
                | (Self::P256 { .. }, Algorithm::Es256)
                | (Self::P384 { .. }, Algorithm::Es384)
                | (Self::Ed25519 { .. }, Algorithm::EdDsa | Algorithm::Ed25519)
        )
    }

    /// Returns the JWK members that a thumbprint covers, ordered by name (RFC 7638 §3.3).
    fn members(&self) -> Vec<(&'static str, String)> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let on = |curve: &str| ("crv", curve.to_owned());
        let kty = |kty: &str| ("kty", kty.to_owned());
        match self {
            Self::Rsa { n, e } => vec![("e", text(e)), kty("RSA"), ("n", text(n))],
            Self::P256 { x, y } => vec![on("P-256"), kty("EC"), ("x", text(x)), ("y", text(y))],
            Self::P384 { x, y } => vec![on("P-384"), kty("EC"), ("x", text(x)), ("y", text(y))],
            Self::Ed25519 { x } => vec![on("Ed25519"), kty("OKP"), ("x", text(x))],
        }
    }
}

/// Refuses a key that is declared for another purpose than verifying signatures (RFC 7517 §4.2, §4.3).
fn check_use(jwk: &Map<String, Value>) -> Result<(), InvalidKey> {
    if text(jwk, "use")?.is_some_and(|used_for| used_for != "sig") {
        return Err(InvalidKey::Use);
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations))
            if operations.iter().any(|operation| operation == "verify" || operation == "sign") =>
        {
            Ok(())
        }
        Some(Value::Array(_)) => Err(InvalidKey::Use),
        Some(_) => Err(InvalidKey::Member("key_ops")),
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, InvalidKey> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(InvalidKey::Member(name)),
    }
}

/// Returns a number of any size.
pub(super) fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, InvalidKey> {
    let text = text(jwk, name)?.ok_or(InvalidKey::Member(name))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidKey::Member(name))
}

/// Returns a number of a fixed size (RFC 7518 §6.2.1.2, RFC 8037 §2).
fn fixed<const N: usize>(jwk: &Map<String, Value>, name: &'static str) -> Result<[u8; N], InvalidKey> {
    bytes(jwk, name)?.try_into().map_err(|_| InvalidKey::Member(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638 §3.1
    const RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    /// RFC 8037 Appendix A.2
    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// RFC 7515 Appendix A.3
    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

    fn members(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    // covers: KM-07 (RFC 7638 §3.1; RFC 8037 Appendix A.3)
    #[test]
    fn thumbprints_are_those_of_the_specifications() {
        let rsa = PublicKey::from_jwk(RSA).unwrap();
        assert_eq!(rsa.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let ed25519 = PublicKey::from_jwk(ED25519).unwrap();
        assert_eq!(ed25519.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    /// The vectors do not cover this, because `serde_json` sorts members unless a crate enables its feature
    /// `preserve_order`.
    #[test]
    fn thumbprint_members_are_sorted() {
        let p384 = Material::P384 { x: [1; 48], y: [2; 48] };
        let read = |jwk| PublicKey::from_jwk(jwk).unwrap().material;
        for material in [read(RSA), read(P256), p384, read(ED25519)] {
            assert!(material.members().is_sorted_by_key(|(name, _)| *name), "{:?}", material.members());
        }
    }

    #[test]
    fn published_key_equals_the_key_that_was_read() {
        let key = PublicKey::from_jwk(RSA).unwrap();
        assert_eq!((key.id(), key.algorithm()), (Some("2011-04-29"), Some(Algorithm::Rs256)));
        let mut expected = members(RSA);
        expected.insert("use".into(), "sig".into());
        assert_eq!(key.to_jwk(), Value::Object(expected));
        assert_eq!(PublicKey::from_members(key.to_jwk().as_object().unwrap()), Ok(key));
    }

    // covers: KM-02 (RFC 8725 §3.1)
    #[test]
    fn key_type_and_alg_member_decide_the_algorithms() {
        for (jwk, own) in [
            (RSA.replace(r#""alg":"RS256","#, ""), vec![Algorithm::Rs256, Algorithm::Ps256]),
            (RSA.to_owned(), vec![Algorithm::Rs256]),
            (RSA.replace("RS256", "PS256"), vec![Algorithm::Ps256]),
            (P256.to_owned(), vec![Algorithm::Es256]),
            (ED25519.to_owned(), vec![Algorithm::EdDsa, Algorithm::Ed25519]),
            (ED25519.replace('{', r#"{"alg":"EdDSA","#), vec![Algorithm::EdDsa, Algorithm::Ed25519]),
        ] {
            let key = PublicKey::from_jwk(&jwk).unwrap();
            for algorithm in Algorithm::ALL {
                assert_eq!(key.is_for(algorithm), own.contains(&algorithm), "{jwk} {algorithm}");
            }
        }
        assert_eq!(PublicKey::from_jwk(&RSA.replace("RS256", "ES256")), Err(InvalidKey::Use));
        assert_eq!(PublicKey::from_jwk(&RSA.replace("RS256", "none")), Err(InvalidKey::Use));
        assert_eq!(PublicKey::from_jwk(P256).unwrap().with_algorithm(Algorithm::Es384), Err(InvalidKey::Use));
    }

    // covers: KM-08 (OpenID Connect Discovery §3)
    #[test]
    fn private_and_symmetric_keys_are_refused() {
        for name in PRIVATE_MEMBERS {
            let jwk = ED25519.replace('{', &format!(r#"{{"{name}":"AQ","#));
            assert_eq!(PublicKey::from_jwk(&jwk), Err(InvalidKey::Private), "{name}");
        }
        assert_eq!(PublicKey::from_jwk(r#"{"kty":"oct"}"#), Err(InvalidKey::Private));
        assert_eq!(PublicKey::from_jwk(r#"{"kty":"oct","k":"AQ"}"#), Err(InvalidKey::Private));
    }

    // covers: KM-09 (RFC 7518 §6.2.1, §6.3.1)
    #[test]
    fn members_of_a_wrong_width_are_refused() {
        let with = |jwk: &str, name: &str, value: &[u8]| {
            let mut jwk = members(jwk);
            jwk.insert(name.into(), URL_SAFE_NO_PAD.encode(value).into());
            PublicKey::from_members(&jwk).map(|_| ())
        };
        // A coordinate that begins with a zero keeps it.
        assert_eq!(with(P256, "x", &[[0].as_slice(), &[1; 31]].concat()), Ok(()));
        for x in [&[1; 31][..], &[1; 33], &[]] {
            assert_eq!(with(P256, "x", x), Err(InvalidKey::Member("x")));
            assert_eq!(with(ED25519, "x", x), Err(InvalidKey::Member("x")));
        }
        assert_eq!(with(RSA, "n", &[[0].as_slice(), &[0xff; 256]].concat()), Err(InvalidKey::Member("n")));
        assert_eq!(with(RSA, "n", &[]), Err(InvalidKey::Member("n")));
        for e in [&[][..], &[0, 3], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 0, 1]] {
            assert_eq!(with(RSA, "e", e), Err(InvalidKey::Member("e")), "{e:?}");
        }
        assert_eq!(with(RSA, "e", &[3]), Ok(()));
    }

    // covers: KM-03 (RFC 7518 §3.3)
    #[test]
    fn rsa_keys_have_2048_to_8192_bits() {
        let size = |first: u8, rest: usize| {
            let mut jwk = members(RSA);
            let n = [&[first][..], &vec![0xff; rest]].concat();
            jwk.insert("n".into(), URL_SAFE_NO_PAD.encode(n).into());
            PublicKey::from_members(&jwk).map(|_| ())
        };
        for (first, rest) in [(0x80, 255), (1, 256), (0xff, 1023)] {
            assert_eq!(size(first, rest), Ok(()), "{first} {rest}");
        }
        for (first, rest) in [(0xff, 127), (0x7f, 255), (1, 1024)] {
            assert_eq!(size(first, rest), Err(InvalidKey::Size), "{first} {rest}");
        }
    }

    #[test]
    fn unsupported_or_malformed_keys_are_refused() {
        let cases = [
            (P256.replace("P-256", "P-521"), InvalidKey::Type),
            (P256.replace("P-256", "secp256k1"), InvalidKey::Type),
            (ED25519.replace("Ed25519", "X25519"), InvalidKey::Type),
            (P256.replace(r#""EC""#, r#""ec""#), InvalidKey::Type),
            (P256.replace(r#""EC""#, "1"), InvalidKey::Member("kty")),
            (P256.replace(r#""kty":"EC","#, ""), InvalidKey::Member("kty")),
            (P256.replace('{', r#"{"use":"enc","#), InvalidKey::Use),
            (P256.replace('{', r#"{"key_ops":["encrypt"],"#), InvalidKey::Use),
            (P256.replace('{', r#"{"key_ops":"verify","#), InvalidKey::Member("key_ops")),
            (P256.replace('{', r#"{"kid":1,"#), InvalidKey::Member("kid")),
            (P256.replace("x_FE", "x_F="), InvalidKey::Member("y")),
            (P256.replace('{', r#"{"kty":"EC","#), InvalidKey::NotAnObject),
            ("[]".into(), InvalidKey::NotAnObject),
        ];
        for (jwk, error) in cases {
            assert_eq!(PublicKey::from_jwk(&jwk), Err(error), "{jwk}");
        }
        assert!(PublicKey::from_jwk(&P256.replace('{', r#"{"key_ops":["verify"],"use":"sig","x5c":["AA"],"#)).is_ok());
    }
}
