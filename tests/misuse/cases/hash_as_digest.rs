// refused: E0308
//! The hash of a token is not the digest of a client secret.

fn matches(token: &grantor::AccessToken, digest: &grantor::secret::SecretDigest) -> bool {
    digest.matches(token)
}

fn main() {}
