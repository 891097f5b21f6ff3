// refused: E0369
//! A digest is asked whether a secret matches it.

fn same(left: &grantor::secret::SecretDigest, right: &grantor::secret::SecretDigest) -> bool {
    left == right
}

fn main() {}
