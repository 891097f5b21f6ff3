use axum::Router;
use axum::routing::get;
use grantor::axum::require;
use grantor::resource_server::Introspector;
use grantor::{Access, BearerError, BuildError, ClientSecret, ResourceServer};

pub fn app(secret: &ClientSecret, http: impl Introspector + 'static) -> Result<Router, BuildError> {
    let api = ResourceServer::builder("https://id.example.com", "notes-api", secret, http).build()?;
    Ok(Router::new().route("/notes", get(notes).layer(require(&api, ["notes:read"]))))
}

async fn notes(access: Access) -> Result<String, BearerError> {
    Ok(format!("The notes of {}", access.user()?)) // a token without a user gets 403
}
