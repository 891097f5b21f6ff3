use grantor::{AuthorizationServer, BuildError, ClientSignatures, MemoryStorage};

pub async fn server_for_signed_requests(storage: MemoryStorage) -> Result<AuthorizationServer, BuildError> {
    AuthorizationServer::builder("https://id.example.com")
        .storage(storage)
        .scope("mail:read", "Read your mail")
        .client_signatures(ClientSignatures::new().request_objects())
        .build()
        .await
}
