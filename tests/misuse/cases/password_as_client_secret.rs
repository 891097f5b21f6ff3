// refused: E0308
//! A user's password is not a client's.

fn credential(password: &grantor::Password) -> grantor::ClientCredential {
    grantor::ClientCredential::secret(password)
}

fn main() {}
