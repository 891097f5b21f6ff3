//! A registration is valid, and only the server authenticates a client.

use std::sync::Arc;

use grantor::client::RedirectUri;
use grantor::{AuthenticatedClient, Client, ClientCredential, Password};

// refused: E0423
/// A client from the store is not an authenticated client.
fn forge_authenticated_client(client: Arc<Client>) -> AuthenticatedClient {
    AuthenticatedClient(client)
}

// refused: E0061
/// A confidential client must have a credential.
fn confidential_client_without_a_credential() {
    let _client = Client::confidential("machine").client_credentials().build();
}

// refused: E0308
/// A user's password is not the secret of a client.
fn password_as_client_secret(password: &Password) -> ClientCredential {
    ClientCredential::secret(password)
}

// refused: E0616
/// A client is checked as a whole; its parts cannot be changed afterwards.
fn add_a_redirect_uri(mut client: Client, uri: RedirectUri) {
    client.parts.redirect_uris.push(uri);
}

// refused: E0616
/// A redirect URI cannot be changed after it was checked.
fn change_a_redirect_uri(mut uri: RedirectUri) {
    uri.text = "javascript:alert(1)".into();
}

fn main() {}
