use grantor::{ClientCredential, ClientId, ClientRegistry, ClientSecret};
use time::{Duration, OffsetDateTime};

/// Gives a client a second secret; the first one works for another week.
pub async fn rotate(clients: &impl ClientRegistry, id: &ClientId) -> Result<ClientSecret, Box<dyn std::error::Error>> {
    let new = ClientSecret::random()?;
    let week = OffsetDateTime::now_utc() + Duration::WEEK;
    clients.rotate_credential(id, ClientCredential::secret(&new), week).await?;
    Ok(new) // shown once, stored nowhere
}
