use grantor::jose::JwkSet;
use grantor::{Client, ClientRegistry};

/// Registers a client with the public keys that it has sent.
pub async fn register(clients: &impl ClientRegistry, jwks: &str) -> Result<(), Box<dyn std::error::Error>> {
    let keys = JwkSet::from_json(jwks)?; // refuses private keys
    let client = Client::private_key_jwt("reports").jwks(keys).client_credentials().scope("report:read");
    Ok(clients.register(client.build()?).await?)
}
