use grantor::resource_server::Introspector;
use grantor::{BuildError, ClientSecret, ResourceServer};

pub fn files_api(secret: &ClientSecret, http: impl Introspector + 'static) -> Result<ResourceServer, BuildError> {
    ResourceServer::builder("https://example.com", "files-api", secret, http)
        .audience("https://files.example.com")
        .resource_metadata("https://files.example.com/.well-known/oauth-protected-resource")
        .build()
}
