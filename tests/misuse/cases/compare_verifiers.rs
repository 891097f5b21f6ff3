// refused: E0369
//! A verifier is compared by its challenge.

fn same(left: &grantor::CodeVerifier, right: &grantor::CodeVerifier) -> bool {
    left == right
}

fn main() {}
