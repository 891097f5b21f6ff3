// refused: unused_must_use
//! Whether a secret matches is not thrown away.
#![deny(unused_must_use)]

fn check(digest: &grantor::secret::SecretDigest, secret: &grantor::ClientSecret) {
    digest.matches(secret);
}

fn main() {}
