//! Verifying with AWS-LC.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::algorithm::Algorithm;
use super::key::{Material, PublicKey};
use super::verify::{BadSignature, Verifier};

/// Verifies with the crate `aws-lc-rs`.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct AwsLc;

impl Verifier for AwsLc {
    fn algorithms(&self) -> &[Algorithm] {
        &Algorithm::ALL
    }

    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        input: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let verified = match (algorithm, key.material()) {
            (Algorithm::Rs256, Material::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, input, signature)
            }
            (Algorithm::Ps256, Material::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, input, signature)
            }
            (Algorithm::Es256, Material::P256 { x, y }) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(x, y)).verify(input, signature)
            }
            (Algorithm::Es384, Material::P384 { x, y }) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point(x, y)).verify(input, signature)
            }
            (Algorithm::EdDsa | Algorithm::Ed25519, Material::Ed25519 { x }) => {
                UnparsedPublicKey::new(&ED25519, x).verify(input, signature)
            }
            _ => return Err(BadSignature),
        };
        verified.map_err(|_| BadSignature)
    }
}

/// The uncompressed form of a point (SEC 1 §2.3.3).
pub(super) fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}
