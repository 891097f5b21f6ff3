// refused: E0277
//! Nor is it made one by a conversion.

use std::sync::Arc;

fn forge(client: Arc<grantor::Client>) -> grantor::AuthenticatedClient {
    client.into()
}

fn main() {}
