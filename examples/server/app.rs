//! The state that all handlers share.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
#[cfg(feature = "http-client")]
use grantor::http_client::GuardedHttpClient;
use grantor::storage::IssuerError;
use grantor::{AuthorizationServer, BuildError, ClientRegistry, Limiter, Scope};
use url::Url;

use crate::StartError;
use crate::accounts::Accounts;
use crate::attempts::Attempts;
use crate::config::Config;
use crate::demo::DemoClient;
use crate::flags::Flags;
use crate::page::OwnPages;
use crate::peer::TrustedProxy;
use crate::refusals::LogRefusals;
use crate::registration;
use crate::secret;
use crate::session::Sessions;
use crate::setup::{FromBefore, put_beside, set_up};
#[cfg(feature = "jwt")]
use crate::signing;
use crate::storage::{self, Opened};
use crate::users::Users;

/// The state of the router. Each request clones it, so all parts are behind one `Arc`.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) oauth: AuthorizationServer,
    pub(crate) clients: Arc<dyn ClientRegistry>,
    /// Users, and which applications they have registered.
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) users: Arc<Users>,
    /// Limits guessing at one user name. It is the authenticator of the server, and the login page uses it, too.
    pub(crate) limiter: Arc<Limiter<Arc<Users>>>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) sessions: Sessions,
    /// Whether cookies have the attribute `Secure`.
    pub(crate) secure: bool,
    /// The proxies whose `X-Forwarded-For` and `Forwarded` are trusted.
    pub(crate) trusted_proxies: Vec<TrustedProxy>,
    /// The scopes and their descriptions, in the order in which they are shown.
    pub(crate) scopes: Vec<(String, String)>,
    /// The scope of clients that ask for none.
    pub(crate) default_scope: String,
    /// The scopes that the API requires to read and to change a profile.
    pub(crate) api_scopes: ApiScopes,
    pub(crate) demo: DemoClient,
    pub(crate) legacy: bool,
    /// The place of the storage, for users to read. `None` if it is in memory.
    pub(crate) place: Option<String>,
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The scopes of the example API.
#[derive(Debug)]
pub(crate) struct ApiScopes {
    pub(crate) read: String,
    pub(crate) change: String,
}

impl App {
    /// Builds the server and stores the configured users and clients. Also returns those that an earlier start has
    /// stored.
    pub(crate) async fn start(
        flags: &Flags,
        config: &Config,
        address: SocketAddr,
    ) -> Result<(Self, FromBefore), StartError> {
        let issuer = flags.issuer.clone().unwrap_or_else(|| default_issuer(address));
        if Url::parse(&issuer).is_ok_and(|issuer| issuer.path() != "/") {
            return Err(format!("the issuer {issuer:?} has a path, which this server does not support").into());
        }
        let opened = storage::open(flags.storage.as_deref()).await?;
        let secret = secret::load(flags.secret_file.as_deref(), opened.place.is_some())?;
        let Opened { storage, accounts, place } = opened;
        if let Some(former) = &flags.moved_from {
            storage.rebind_issuer(former, &issuer).await?;
        }
        let attempts = Arc::new(Attempts::new());
        let users = Users::new(Arc::clone(&accounts), Arc::clone(&attempts))?;
        let limiter = Arc::new(Limiter::new(Arc::clone(&users)));
        let mut policy = flags.policy();
        policy.fetch.allow_loopback_for_development = is_on_loopback(&issuer);
        let builder = AuthorizationServer::builder(&issuer)
            .storage(Arc::clone(&storage))
            .authenticator(Arc::clone(&limiter))
            .token_customizer(Arc::clone(&attempts))
            .policy(policy)
            .default_scope(&config.default_scope)
            .protected_resource(config.api(&issuer, &flags.resource))
            .page_templates(OwnPages)
            .server_key(&secret, &[]);
        #[cfg(feature = "jwt")]
        let builder = signing::add(signing::accept(builder, flags), flags, Arc::clone(&storage), &secret)?;
        #[cfg(feature = "http-client")]
        let builder = builder.http_client(GuardedHttpClient::new()?);
        let builder = if flags.log_refusals { builder.observer(LogRefusals) } else { builder };
        let builder = builder.scope(registration::SCOPE, registration::DESCRIPTION);
        let builder = config.scopes.iter().fold(builder, |builder, (token, text)| builder.scope(token, text.as_str()));
        let builder = flags.resource.iter().fold(builder, |builder, api| builder.resource(api.resource()));
        let oauth = builder.build().await.map_err(|error| explain(error, flags))?;

        let from_before = set_up(flags, config, &*accounts, &storage, &storage).await?;
        let demo = DemoClient::new(&issuer, address, &config.all_scopes())?;
        let registration = demo.registration().map_err(|error| format!("the demo client: {error}"))?;
        put_beside(&storage, &registration).await.map_err(|error| format!("the demo client: {error}"))?;

        let parts = Parts {
            sessions: Sessions::default(),
            secure: issuer.starts_with("https:"),
            trusted_proxies: flags.trusted_proxy.clone(),
            scopes: config.scopes.clone(),
            default_scope: config.default_scope.clone(),
            api_scopes: config.api_scopes(),
            demo,
            legacy: flags.legacy,
            oauth,
            clients: storage,
            accounts,
            users,
            limiter,
            attempts,
            place,
        };
        Ok((Self(Arc::new(parts)), from_before))
    }

    /// Returns the descriptions of the scopes of a grant. Scopes that the server no longer offers come last, without
    /// descriptions.
    pub(crate) fn describe<'a>(&'a self, scope: &'a Scope) -> Vec<&'a str> {
        let described = self.scopes.iter().filter(|(token, _)| scope.contains(token));
        let described = described.map(|(_, description)| description.as_str());
        let is_offered = |token: &str| self.scopes.iter().any(|(own, _)| own == token);
        described.chain(scope.iter().filter(|token| !is_offered(token))).collect()
    }
}

/// Returns an issuer with the host `localhost` for a server on the loopback interface. Redirect URIs of local programs
/// have the host 127.0.0.1. Browsers send the cookies of a host to all of its ports, so with the same host those
/// programs would get the session cookie.
fn default_issuer(address: SocketAddr) -> String {
    if address.ip().is_loopback() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Returns whether this is a server for development. Such a server also fetches keys from its own machine.
fn is_on_loopback(issuer: &str) -> bool {
    let host = Url::parse(issuer).ok().and_then(|issuer| issuer.host_str().map(str::to_owned));
    host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str()))
}

/// Adds the flags that help to the errors of the library.
fn explain(error: BuildError, flags: &Flags) -> StartError {
    match error {
        BuildError::Issuer(_) if flags.issuer.is_none() => {
            format!("{error}; set --issuer to the address by which browsers reach this server").into()
        }
        BuildError::Storage(IssuerError::Claimed { owner }) => format!(
            "the storage belongs to the issuer {owner}: use --issuer {owner}, or move it with --moved-from {owner}"
        )
        .into(),
        _ => error.into(),
    }
}

/// Lets the extractors of `grantor::axum` find the server.
impl FromRef<App> for AuthorizationServer {
    fn from_ref(app: &App) -> Self {
        app.oauth.clone()
    }
}
