use grantor::{Client, ClientCredential, ClientRegistry, ClientSecret, MemoryStorage};

pub async fn register_api(storage: &MemoryStorage) -> Result<ClientSecret, Box<dyn std::error::Error>> {
    let secret = ClientSecret::random()?; // for the settings of the API
    let api = Client::confidential("notes-api", ClientCredential::secret(&secret)).resource_server();
    storage.register(api.build()?).await?;
    Ok(secret)
}
