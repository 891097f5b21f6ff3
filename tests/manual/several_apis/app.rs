use axum::Router;
use axum::routing::get;
use grantor::axum::{require, routes};
use grantor::{Access, AuthorizationServer, BearerError, BuildError, MemoryStorage, ProtectedResource};

pub async fn server(storage: MemoryStorage) -> Result<AuthorizationServer, BuildError> {
    AuthorizationServer::builder("https://example.com")
        .storage(storage)
        .scope("notes:read", "Read your notes")
        .scope("mail:read", "Read your mail")
        .scope("files:read", "Read your files")
        .protected_resource(ProtectedResource::new("https://example.com/notes").scope("notes:read")) // the default
        .resource(ProtectedResource::new("https://example.com/mail").scope("mail:read"))
        .resource(
            ProtectedResource::new("https://files.example.com") // in another process
                .scope("files:read")
                .introspected_by("files-api"),
        )
        .build()
        .await
}

pub fn app(oauth: &AuthorizationServer) -> Router {
    let mail = oauth.resource("https://example.com/mail").expect("it was declared");
    Router::new()
        .route("/notes", get(notes).layer(require(oauth, ["notes:read"]))) // tokens for the default
        .route("/mail", get(inbox).layer(require(&mail, ["mail:read"]))) // tokens for the mail
        .merge(routes(oauth).with_state(oauth.clone()))
}

async fn notes(access: Access) -> Result<String, BearerError> {
    Ok(format!("The notes of {}", access.user()?))
}

async fn inbox(access: Access) -> Result<String, BearerError> {
    Ok(format!("The mail of {}", access.user()?))
}
