// refused: E0599
//! A secret has one place.

fn copy(token: grantor::RefreshToken) -> [grantor::RefreshToken; 2] {
    [token.clone(), token]
}

fn main() {}
