use async_trait::async_trait;
use grantor::jose::{Algorithm, PublicKey, Signature, Signer, SignerError};

pub struct KmsKey {
    pub kms: Kms,
    pub name: String,
    /// With the name of the key as `kid`, and its algorithm as `alg`.
    pub public: PublicKey,
}

#[async_trait]
impl Signer for KmsKey {
    fn key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, input: &[u8]) -> Result<Signature, SignerError> {
        let der = self.kms.sign(&self.name, input).await.map_err(SignerError::new)?;
        Signature::from_der(Algorithm::Es256, &der).ok_or_else(|| SignerError::new("the signature is malformed"))
    }
}
