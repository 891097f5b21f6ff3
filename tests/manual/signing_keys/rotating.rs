use grantor::jose::{Algorithm, WrappingKey};
use grantor::storage::AnyStorage;
use grantor::{AuthorizationServer, ProtectedResource, RotatingKeys, SigningKeys};
use std::sync::Arc;

pub async fn server(
    storage: Arc<dyn AnyStorage>,
    secret: &[u8],
) -> Result<AuthorizationServer, Box<dyn std::error::Error>> {
    // `secret` has 32 random bytes, the same for all nodes, and is not in the database.
    let keys = RotatingKeys::new(storage.clone(), WrappingKey::new(secret, &[])?, [Algorithm::Es256]);
    let server = AuthorizationServer::builder("https://id.example.com")
        .storage(storage)
        .scope("mail:read", "Read your mail")
        .protected_resource(ProtectedResource::new("https://api.example.com"))
        .signing_keys(SigningKeys::new(keys).sign_access_tokens());
    Ok(server.build().await?) // fails if the secret is wrong
}
