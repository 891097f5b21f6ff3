// refused: E0599
//! A password has no place in a storage, hashed or not.

fn stored(password: &grantor::Password) -> grantor::secret::TokenHash {
    password.hash()
}

fn main() {}
