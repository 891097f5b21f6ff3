use grantor::http_client::GuardedHttpClient;
use grantor::{AuthorizationServer, Client, ClientRegistry, ClientSignatures, MemoryStorage};

pub async fn server(storage: &MemoryStorage) -> Result<AuthorizationServer, Box<dyn std::error::Error>> {
    let reports = Client::private_key_jwt("reports").jwks_uri("https://reports.example.com/jwks");
    storage.register(reports.client_credentials().scope("report:read").build()?).await?;
    let oauth = AuthorizationServer::builder("https://id.example.com")
        .storage(storage.clone())
        .scope("report:read", "Read reports")
        .client_signatures(ClientSignatures::new())
        .http_client(GuardedHttpClient::new()?)
        .build()
        .await?;
    Ok(oauth)
}
