use grantor::{AuthorizationServer, BuildError, ClientSignatures, MemoryStorage};

pub async fn server(storage: MemoryStorage) -> Result<AuthorizationServer, BuildError> {
    AuthorizationServer::builder("https://id.example.com")
        .storage(storage)
        .scope("report:read", "Read reports")
        .client_signatures(ClientSignatures::new())
        .build()
        .await
}
