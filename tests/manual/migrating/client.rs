use grantor::client::ClientError;
use grantor::secret::SecretDigest;
use grantor::{Client, ClientCredential};

/// `digest`: the SHA-256 of the secret, read from the old database.
pub fn carried_over(id: &str, digest: [u8; 32]) -> Result<Client, ClientError> {
    let credential = ClientCredential::from_digest(SecretDigest::from_bytes(digest));
    let client = Client::confidential(id, credential).scope("user:read");
    client.authorization_code(["https://app.example/cb"]).build()
}
