// refused: E0369
//! Client secrets are compared in constant time, by their digests.

fn same(left: &grantor::ClientSecret, right: &grantor::ClientSecret) -> bool {
    left == right
}

fn main() {}
