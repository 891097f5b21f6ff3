//! Runs the code of the page about defaults.

mod client;
mod policy;

use grantor::client::AuthenticationMethod::{ClientSecretBasic, ClientSecretPost};
use grantor::{Client, ClientCredential, ClientSecret};

#[test]
fn client_without_method_may_use_header_and_body() {
    let secret = ClientSecret::random().unwrap();
    let client = Client::confidential("my-site", ClientCredential::secret(&secret));
    let client = client.authorization_code(["https://app.example/cb"]).build().unwrap();
    assert!(client.allows_authentication_method(ClientSecretBasic));
    assert!(client.allows_authentication_method(ClientSecretPost));
}
