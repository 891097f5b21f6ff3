// refused: E0599
//! A client that can keep no secret is given none.

fn register(secret: &grantor::ClientSecret) {
    let credential = grantor::ClientCredential::secret(secret);
    let _client = grantor::Client::public("app").credential(credential).build();
}

fn main() {}
