// refused: E0061
//! A confidential client has a credential.

fn register() {
    let _client = grantor::Client::confidential("machine").client_credentials().build();
}

fn main() {}
