//! A test suite for implementations of [`Signer`].

use crate::jose::{Algorithm, AwsLc, Signer, Verifier};

/// The sizes of the signed inputs in bytes. A token has some hundred bytes, and signing services limit the size.
const SIZES: [usize; 4] = [0, 1, 300, 4_000];

/// Checks that a [`Signer`] meets the requirements of the server. Its public key must have an identifier and an
/// algorithm and must not change. Its signatures must have the JOSE format, and must verify with the public key, each
/// only for its own input. The check makes eight signatures.
///
/// ```
/// use grantor::jose::{Algorithm, SigningKey};
/// use grantor::testing::check_signer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = SigningKey::generate(Algorithm::Es256)?; // use your implementation here
/// assert_eq!(check_signer(&signer).await, Ok(()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The text says what is wrong with the signer and what to do.
pub async fn check_signer(signer: &dyn Signer) -> Result<(), String> {
    let key = signer.key().clone();
    let id = key.id().ok_or("the public key has no identifier: call PublicKey::with_id")?;
    if id.is_empty() || id.len() > 256 {
        return Err("the identifier of the public key is empty or longer than 256 bytes: choose another one".to_owned());
    }
    let algorithm = key.algorithm().ok_or("the public key has no algorithm: call PublicKey::with_algorithm")?;
    for size in SIZES {
        for fill in [b'a', b'b'] {
            let (input, other) = (vec![fill; size], vec![fill; size + 1]);
            let signature = signer
                .sign(&input)
                .await
                .map_err(|error| format!("the signer failed to sign {size} bytes: {error}"))?;
            let verifies = |input: &[u8]| AwsLc.verify(algorithm, &key, input, signature.as_bytes()).is_ok();
            if !verifies(&input) {
                return Err(reason(algorithm, signature.as_bytes(), size));
            }
            if verifies(&other) {
                return Err("a signature also verifies for another input: sign exactly the given bytes".to_owned());
            }
            if *signer.key() != key {
                return Err("the public key has changed: use a separate signer for each key".to_owned());
            }
        }
    }
    Ok(())
}

fn reason(algorithm: Algorithm, signature: &[u8], size: usize) -> String {
    let size_of_pair = match algorithm {
        Algorithm::Es256 => Some(64),
        Algorithm::Es384 => Some(96),
        _ => None,
    };
    if signature.first() == Some(&0x30) && size_of_pair.is_some_and(|size| signature.len() != size) {
        return "a signature has the DER format: convert it with Signature::from_der".to_owned();
    }
    format!(
        "a signature of {size} bytes does not verify: check that the private key belongs to the public key, that the \
         algorithm is {algorithm}, and that the input is hashed only once"
    )
}
