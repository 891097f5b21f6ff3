//! Private keys in this process.

use std::fmt;

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::aws_lc::point;
use super::key::{InvalidKey, Material, PublicKey, bytes};
use super::sign::{Signature, Signer, SignerError};
use super::strict_json::parse_object;

/// A private key in the memory of this process, for one algorithm. By default, its identifier is the thumbprint of the
/// public key (RFC 7638).
///
/// ```
/// use grantor::jose::{Algorithm, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::Es256)?;
/// assert_eq!(key.public_key().id(), Some(&*key.public_key().thumbprint()));
/// # Ok::<(), grantor::jose::InvalidKey>(())
/// ```
pub struct SigningKey {
    public: PublicKey,
    private: Private,
}

enum Private {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Generates a key with the randomness of the operating system. RSA keys have 2048 bits and take some tenths of a
    /// second.
    ///
    /// # Errors
    /// [`InvalidKey::Unreadable`] if the generator fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, InvalidKey> {
        let private = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => RsaKeyPair::generate(KeySize::Rsa2048).map(Private::Rsa),
            Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Private::Ec),
            Algorithm::Es384 => EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Private::Ec),
            Algorithm::EdDsa | Algorithm::Ed25519 => Ed25519KeyPair::generate().map(Private::Ed25519),
        };
        Self::of(algorithm, private.map_err(|_| InvalidKey::Unreadable)?)
    }

    /// Reads an unencrypted key in PEM: `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` or `EC PRIVATE KEY`, as OpenSSL
    /// writes them.
    ///
    /// # Errors
    /// The text is not such a key, the key is not for this algorithm, or it is an RSA key with fewer than 2048 or more
    /// than 8192 bits.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, InvalidKey> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidKey::Unreadable)?;
        Self::from_der(algorithm, der.secret_der())
    }

    /// Reads a key that [`to_pkcs8`](Self::to_pkcs8) has written, or one of the other forms of
    /// [`from_pem`](Self::from_pem).
    pub(crate) fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, InvalidKey> {
        let private = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => {
                RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).map(Private::Rsa)
            }
            Algorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, der),
            Algorithm::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, der),
            Algorithm::EdDsa | Algorithm::Ed25519 => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Private::Ed25519)
            }
        };
        Self::of(algorithm, private.map_err(|_| InvalidKey::Unreadable)?)
    }

    /// Reads a private JWK (RFC 7518 §6, RFC 8037 §2). It must have the member `alg`. An RSA key needs all its numbers.
    ///
    /// # Errors
    /// The JWK is not a private key, names no supported algorithm, or its numbers do not belong together.
    pub fn from_jwk(json: &str) -> Result<Self, InvalidKey> {
        let jwk = Zeroized(parse_object(json.as_bytes()).ok_or(InvalidKey::NotAnObject)?);
        let public = PublicKey::from_public_members(&jwk.0)?;
        let algorithm = public.algorithm().ok_or(InvalidKey::Member("alg"))?;
        let number = |name| bytes(&jwk.0, name).map(Zeroizing::new);
        let private = match public.material() {
            Material::Rsa { n, e } => RsaKeyPair::from_components(&KeyPairComponents {
                public_key: RsaPublicKeyComponents { n: n.to_vec(), e: e.to_vec() },
                d: number("d")?.to_vec(),
                p: number("p")?.to_vec(),
                q: number("q")?.to_vec(),
                dP: number("dp")?.to_vec(),
                dQ: number("dq")?.to_vec(),
                qInv: number("qi")?.to_vec(),
            })
            .map(Private::Rsa),
            Material::P256 { x, y } => {
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number("d")?, &point(x, y)).map(Private::Ec)
            }
            Material::P384 { x, y } => {
                let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number("d")?, &point(x, y)).map(Private::Ec)
            }
            Material::Ed25519 { x } => Ed25519KeyPair::from_seed_and_public_key(&number("d")?, x).map(Private::Ed25519),
        };
        let key = Self::of(algorithm, private.map_err(|_| InvalidKey::Unreadable)?)?;
        Ok(match public.id() {
            Some(id) => key.with_id(id),
            None => key,
        })
    }

    fn of(algorithm: Algorithm, private: Private) -> Result<Self, InvalidKey> {
        let public = PublicKey::new(private.public().ok_or(InvalidKey::Unreadable)?, algorithm)?;
        let id = public.thumbprint();
        Ok(Self { public: public.with_id(id), private })
    }

    /// Sets the identifier (`kid`). Never change the identifier of a key that has signed.
    #[must_use]
    pub fn with_id(self, id: impl Into<Box<str>>) -> Self {
        Self { public: self.public.with_id(id), private: self.private }
    }

    /// Returns the public half.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Writes the private key in PKCS#8.
    pub(crate) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, InvalidKey> {
        let der = match &self.private {
            Private::Rsa(key) => AsDer::<Pkcs8V1Der<'_>>::as_der(key).map(|der| der.as_ref().to_vec()),
            Private::Ec(key) => key.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Private::Ed25519(key) => key.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
        };
        der.map(Zeroizing::new).map_err(|_| InvalidKey::Unreadable)
    }
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, der: &[u8]) -> Result<Private, aws_lc_rs::error::KeyRejected> {
    EcdsaKeyPair::from_private_key_der(algorithm, der).map(Private::Ec)
}

impl Private {
    fn public(&self) -> Option<Material> {
        Some(match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let number = |number: aws_lc_rs::io::Positive<'_>| number.big_endian_without_leading_zero().into();
                Material::Rsa { n: number(public.modulus()), e: number(public.exponent()) }
            }
            Self::Ec(key) => match key.public_key().as_ref() {
                [4, point @ ..] if point.len() == 64 => {
                    let (x, y) = point.split_at(32);
                    Material::P256 { x: x.try_into().ok()?, y: y.try_into().ok()? }
                }
                [4, point @ ..] if point.len() == 96 => {
                    let (x, y) = point.split_at(48);
                    Material::P384 { x: x.try_into().ok()?, y: y.try_into().ok()? }
                }
                _ => return None,
            },
            Self::Ed25519(key) => Material::Ed25519 { x: key.public_key().as_ref().try_into().ok()? },
        })
    }
}

/// A private JWK, whose texts are overwritten when it is dropped.
struct Zeroized(Map<String, Value>);

impl Drop for Zeroized {
    fn drop(&mut self) {
        for value in self.0.values_mut() {
            if let Value::String(text) = value {
                zeroize::Zeroize::zeroize(text);
            }
        }
    }
}

#[async_trait]
impl Signer for SigningKey {
    fn key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, input: &[u8]) -> Result<Signature, SignerError> {
        let random = SystemRandom::new();
        let failed = |_| SignerError::new("the key refused to sign");
        match &self.private {
            Private::Rsa(key) => {
                let padding =
                    if self.public.algorithm() == Some(Algorithm::Ps256) { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, input, &mut signature).map_err(failed)?;
                Ok(Signature::from_bytes(signature))
            }
            Private::Ec(key) => Ok(Signature::from_bytes(key.sign(&random, input).map_err(failed)?.as_ref())),
            Private::Ed25519(key) => Ok(Signature::from_bytes(key.try_sign(input).map_err(failed)?.as_ref())),
        }
    }
}

impl fmt::Debug for SigningKey {
    /// Omits the private half.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}
