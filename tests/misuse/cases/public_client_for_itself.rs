// refused: E0599
//! A client that proves nothing acts for no one, itself included.

fn register() {
    let _client = grantor::Client::native("app").client_credentials().build();
}

fn main() {}
