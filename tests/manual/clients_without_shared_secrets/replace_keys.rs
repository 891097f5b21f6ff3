use grantor::jose::JwkSet;
use grantor::{Client, ClientId, ClientRegistry};

/// Replaces the public keys of a client. They count from the next request.
pub async fn replace_keys(
    clients: &impl ClientRegistry,
    id: &ClientId,
    keys: JwkSet,
) -> Result<(), Box<dyn std::error::Error>> {
    let old = clients.find_client(id.as_str()).await?.ok_or("the client is unknown")?;
    let mut parts = old.parts().clone();
    parts.jwks = Some(keys);
    Ok(clients.update(Client::from_parts(parts)?, old.version()).await?)
}
