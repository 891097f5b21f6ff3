//! A registration makes sense, and only the server authenticates a client.

use std::sync::Arc;

use grantor::{AuthenticatedClient, Client, ClientCredential, ClientSecret, Password};

// refused: E0423
/// A client that was looked up is not an authenticated one.
fn forge_authenticated_client(client: Arc<Client>) -> AuthenticatedClient {
    AuthenticatedClient(client)
}

// refused: E0277
/// No conversion authenticates a client.
fn convert_to_an_authenticated_client(client: Arc<Client>) -> AuthenticatedClient {
    client.into()
}

// refused: E0061
/// A confidential client has a credential.
fn confidential_client_without_a_credential() {
    let _client = Client::confidential("machine").client_credentials().build();
}

// refused: E0599
/// A client that can keep no secret is given none.
fn public_client_with_a_secret(secret: &ClientSecret) {
    let credential = ClientCredential::secret(secret);
    let _client = Client::public("app").credential(credential).build();
}

// refused: E0599
/// A public client gets no token for itself.
fn public_client_for_itself() {
    let _client = Client::public("app").client_credentials().build();
}

// refused: E0308
/// A user's password is not the secret of a client.
fn password_as_client_secret(password: &Password) -> ClientCredential {
    ClientCredential::secret(password)
}

fn main() {}
