// refused: E0423
//! A client that was only looked up is not an authenticated one.

use std::sync::Arc;

fn forge(client: Arc<grantor::Client>) -> grantor::AuthenticatedClient {
    grantor::AuthenticatedClient(client)
}

fn main() {}
