//! A test suite for a host's [`Signer`].

use crate::jose::{Algorithm, AwsLc, Signer, Verifier};

/// The inputs that are signed. Services limit them; a token has some hundred bytes.
const SIZES: [usize; 4] = [0, 1, 300, 4_000];

/// Checks that a [`Signer`] does what a server expects of it: its public key has an identifier and an algorithm and stays the same, and
/// its signatures are in the form of JOSE and verify, each with this key and for its own input alone. It makes eight signatures.
///
/// ```
/// use grantor::jose::{Algorithm, SigningKey};
/// use grantor::testing::check_signer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signer = SigningKey::generate(Algorithm::Es256)?; // your own here
/// assert_eq!(check_signer(&signer).await, Ok(()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// What is wrong, in a sentence for the person who writes the signer.
pub async fn check_signer(signer: &dyn Signer) -> Result<(), String> {
    let key = signer.key().clone();
    let id = key.id().ok_or("its public key has no identifier: call PublicKey::with_id")?;
    if id.is_empty() || id.len() > 256 {
        return Err("the identifier of its public key has not 1 to 256 bytes".to_owned());
    }
    let algorithm = key.algorithm().ok_or("its public key has no algorithm: call PublicKey::with_algorithm")?;
    for size in SIZES {
        for fill in [b'a', b'b'] {
            let (input, other) = (vec![fill; size], vec![fill; size + 1]);
            let signature =
                signer.sign(&input).await.map_err(|error| format!("it does not sign {size} bytes: {error}"))?;
            let verifies = |input: &[u8]| AwsLc.verify(algorithm, &key, input, signature.as_bytes()).is_ok();
            if !verifies(&input) {
                return Err(reason(algorithm, signature.as_bytes(), size));
            }
            if verifies(&other) {
                return Err("a signature verifies for another input".to_owned());
            }
            if *signer.key() != key {
                return Err("its public key has changed: give another signer for another key".to_owned());
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
        return "a signature is in the DER form: convert it by Signature::from_der".to_owned();
    }
    format!(
        "a signature of {size} bytes does not verify: is it the key that the public half belongs to, is the algorithm {algorithm}, and \
         is the input hashed once?"
    )
}
