//! What all handlers share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::FromRef;
use grantor::storage::MemoryStorage;
use grantor::{AuthorizationServer, ClientId, ClientRegistry, Scope, Storage, Subject};

use crate::StartError;
use crate::config::Config;
use crate::demo::DemoClient;
use crate::flags::{Flags, StorageKind};
use crate::page::OwnPages;
use crate::session::Sessions;
use crate::users::{MyUsers, Users};

/// The state of the router; cloning it gives the same.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) oauth: AuthorizationServer,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clients: Arc<dyn ClientRegistry>,
    pub(crate) users: Arc<Users>,
    pub(crate) sessions: Arc<Sessions>,
    /// The scopes and their descriptions, in the order in which they are shown.
    pub(crate) scopes: Arc<[(String, String)]>,
    /// What the API requires to read and to change a profile.
    pub(crate) api_scopes: Arc<ApiScopes>,
    /// Which applications a user has registered.
    pub(crate) applications: Arc<Mutex<HashMap<Subject, Vec<ClientId>>>>,
    pub(crate) demo: Arc<DemoClient>,
    pub(crate) legacy: bool,
}

/// The scopes of the example API.
#[derive(Debug)]
pub(crate) struct ApiScopes {
    pub(crate) read: String,
    pub(crate) change: String,
}

impl App {
    /// Puts everything together and registers the clients.
    pub(crate) async fn start(flags: &Flags, config: &Config, address: SocketAddr) -> Result<Self, StartError> {
        let issuer = flags.issuer.clone().unwrap_or_else(|| format!("http://{address}"));
        let users = Users::new(&config.users)?;
        let (storage, clients): (Arc<dyn Storage>, Arc<dyn ClientRegistry>) = match flags.storage {
            StorageKind::Memory => {
                let storage = MemoryStorage::new();
                (Arc::new(storage.clone()), Arc::new(storage))
            }
        };
        let builder = AuthorizationServer::builder(&issuer)
            .storage_and_clients(Arc::clone(&storage), clients.clone())
            .authenticator(MyUsers(Arc::clone(&users)))
            .policy(flags.policy())
            .default_scope(&config.default_scope)
            .pages(OwnPages);
        let oauth =
            config.scopes.iter().fold(builder, |builder, (token, text)| builder.scope(token, text.as_str())).build()?;

        for metadata in &config.clients {
            let client = metadata.to_client(flags.legacy)?;
            let id = client.id().clone();
            clients.register(client).await.map_err(|error| format!("the client {id}: {error}"))?;
        }
        let demo = DemoClient::new(&issuer, address, &config.all_scopes())?;
        clients.register(demo.registration()?).await.map_err(|error| format!("the demo client: {error}"))?;

        Ok(Self {
            sessions: Arc::new(Sessions::new(issuer.starts_with("https:"))),
            scopes: config.scopes.as_slice().into(),
            api_scopes: Arc::new(config.api_scopes()),
            applications: Arc::default(),
            demo: Arc::new(demo),
            legacy: flags.legacy,
            oauth,
            storage,
            clients,
            users,
        })
    }

    /// What a scope means, token by token.
    pub(crate) fn describe(&self, scope: &Scope) -> Vec<&str> {
        let described = self.scopes.iter().filter(|(token, _)| scope.contains(token));
        described.map(|(_, description)| description.as_str()).collect()
    }
}

/// Lets the extractors of `grantor::axum` find the server.
impl FromRef<App> for AuthorizationServer {
    fn from_ref(app: &App) -> Self {
        app.oauth.clone()
    }
}
