use grantor::jose::JwkSet;
use grantor::{Client, ClientRegistry};

/// Registers a web application that signs all its authorization requests.
pub async fn register_signing_app(clients: &impl ClientRegistry, jwks: &str) -> Result<(), Box<dyn std::error::Error>> {
    let app = Client::private_key_jwt("mailer")
        .jwks(JwkSet::from_json(jwks)?)
        .authorization_code(["https://mailer.example/callback"])
        .scope("mail:read")
        .require_signed_request_object();
    Ok(clients.register(app.build()?).await?)
}
