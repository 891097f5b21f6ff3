use actix_web::web::{ServiceConfig, get};
use grantor::actix::{require, routes};
use grantor::{Access, AuthorizationServer, Client, ClientCredential, ClientRegistry};
use grantor::{ClientSecret, ClientSecrets, Limiter, MemoryStorage};

/// `settings` returns the secret of a client, such as the value of an environment variable.
pub async fn server(
    settings: impl Fn(&str) -> ClientSecret,
) -> Result<AuthorizationServer, Box<dyn std::error::Error>> {
    let storage = MemoryStorage::new();
    // The storage keeps the digest of a secret only.
    let batch = Client::confidential("batch", ClientCredential::secret(&settings("batch")))
        .client_credentials()
        .own_scope("jobs:read reports:read") // without a user
        .default_scope("jobs:read"); // for requests without a scope
    // An API in another process. It gets no tokens, but may ask about the tokens of all clients.
    let api = Client::confidential("reports-api", ClientCredential::secret(&settings("reports-api"))).resource_server();
    for client in [batch, api] {
        storage.register(client.build()?).await?;
    }
    let server = AuthorizationServer::builder("https://id.example.com")
        .storage(storage)
        .authenticator(Limiter::new(ClientSecrets)) // limits guessing
        .scope("jobs:read", "Read the list of jobs")
        .scope("reports:read", "Read reports")
        .endpoints(|urls| urls.authorization = None) // no users
        .build()
        .await?;
    Ok(server)
}

/// In the closure of `HttpServer::new`: `App::new().configure(app(&server))`. Build the server once, outside of the
/// closure.
pub fn app(server: &AuthorizationServer) -> impl FnOnce(&mut ServiceConfig) {
    let server = server.clone();
    move |config| {
        config
            .configure(routes(&server)) // token, revocation, introspection, metadata
            .route("/jobs", get().to(jobs).wrap(require(&server, ["jobs:read"])));
    }
}

async fn jobs(access: Access) -> String {
    format!("The jobs that {} may see", access.client_id())
}
