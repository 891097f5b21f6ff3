// refused: E0369
//! A challenge is asked whether a verifier meets it.

fn same(left: &grantor::CodeChallenge, right: &grantor::CodeChallenge) -> bool {
    left == right
}

fn main() {}
