// refused: E0369
//! Tokens are found by their hash, not compared.

fn same(left: &grantor::AccessToken, right: &grantor::AccessToken) -> bool {
    left == right
}

fn main() {}
