// refused: E0451
//! A client exists only with a registration that makes sense.

fn forge(parts: grantor::client::ClientParts) -> grantor::Client {
    grantor::Client { parts }
}

fn main() {}
