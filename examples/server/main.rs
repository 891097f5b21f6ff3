//! A small but complete OAuth 2.0 provider on axum: login, consent, registration of applications, connected
//! applications, a protected API, and a built-in client that shows the flow step by step.
//!
//! ```text
//! cargo run --example server --features axum,sqlite,jwt
//! ```
//!
//! Copy what you need. Each part that an application has to supply has its own file:
//!
//! | file | contents |
//! |---|---|
//! | `authorize.rs` | the authorization endpoint and the consent page: start here |
//! | `session.rs`, `form.rs`, `login.rs` | sessions, login, and forms that other sites can't submit |
//! | `users.rs`, `hashing.rs` | passwords, the `Authenticator`, and a limit on concurrent hashing |
//! | `attempts.rs`, `peer.rs` | limits on guessing, and the addresses of clients behind proxies |
//! | `storage.rs`, `accounts/` | memory, an SQLite file or PostgreSQL, for the library and for users |
//! | `api.rs`, `registration.rs` | a protected API for users' data, and one for an application's own registration |
//! | `applications.rs`, `manage.rs` | registering, changing and removing clients |
//! | `connected.rs` | listing and revoking grants |
//! | `secret.rs`, `signing.rs` | the secret of the server, its signing keys, and what clients sign |
//! | `purge.rs` | removing expired records |
//! | `refusals.rs` | printing why requests are refused |
//! | `serve.rs` | deadlines for slow clients, a limit on connections, and graceful shutdown |
//! | `clients.rs`, `config.rs`, `flags.rs`, `app.rs`, `setup.rs`, `intro.rs` | configuration and start-up |
//! | `page.rs` | the layout of all pages; `maud` escapes what is put into them |
//! | `demo/` | a client of this server |
//!
//! # A client without a secret
//! With the feature `jwt`, a client can authenticate with a key (`private_key_jwt`). It makes the key itself, and the
//! file of `--clients` has only the public half:
//!
//! ```json
//! [{"client_id": "reports", "token_endpoint_auth_method": "private_key_jwt", "grant_types": ["client_credentials"],
//!   "jwks": {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "2026", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}}]
//! ```
//!
//! With the feature `http-client`, `"jwks_uri": "https://reports.example.com/jwks"` can be in place of `jwks`. The
//! server then fetches the keys when it needs them. If its own issuer is on the loopback interface, the URL may be
//! there, too.
//!
//! The page "Clients without shared secrets" of the manual explains the assertion that such a client sends. Every client
//! with `jwks` can also sign its authorization requests. With `"require_signed_request_object": true` it must, and
//! `request_object_signing_alg` restricts it to one algorithm. `--log-refusals` prints why an assertion or a signed
//! request is not accepted, which the client does not learn.
//!
//! # An application's own registration
//! An application reads and changes its name, website and redirect URIs at `/api/application`. It uses an access token
//! from the client credentials grant (RFC 6749 §4.4) with the scope `application`. Every client with that grant may ask
//! for this scope. An application that a user registered gets no other scope by this grant. `PUT` replaces all three
//! members. With `If-Match`, it fails if the registration has changed since `GET`.
//!
//! ```text
//! curl -u ID:SECRET -d grant_type=client_credentials -d scope=application http://127.0.0.1:3000/token
//! curl -i -H "Authorization: Bearer TOKEN" http://127.0.0.1:3000/api/application
//! curl -X PUT -H "Authorization: Bearer TOKEN" -H 'If-Match: "VERSION"' http://127.0.0.1:3000/api/application -d \
//!     '{"client_name": "My app", "client_uri": "https://app.example", "redirect_uris": ["https://app.example/cb"]}'
//! ```
//!
//! `/api/application` rejects tokens that act for a user, and `/api/me` those that don't. A changed application counts
//! as registered by a user, because no administrator has checked the change.

mod accounts;
mod api;
mod app;
mod applications;
mod attempts;
mod authorize;
mod clients;
mod config;
mod connected;
mod demo;
mod flags;
mod form;
mod hashing;
mod home;
mod intro;
mod login;
mod manage;
mod page;
mod peer;
mod purge;
mod refusals;
mod registration;
mod secret;
mod serve;
mod session;
mod setup;
#[cfg(feature = "jwt")]
mod signing;
mod storage;
mod users;

use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post, put};
use clap::Parser;
use grantor::axum::require;
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Config;
use crate::flags::Flags;
use crate::serve::Limits;

/// An error that keeps the server from starting. It is printed.
type StartError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: &Flags) -> Result<(), StartError> {
    flags.check()?;
    #[cfg(feature = "jwt")]
    if let Some(id) = &flags.remove_key {
        return signing::remove(flags, id).await;
    }
    let config = Config::load(flags)?;
    let listener =
        TcpListener::bind(flags.listen).await.map_err(|error| format!("can't listen on {}: {error}", flags.listen))?;
    let address = listener.local_addr()?;
    let (app, from_before) = App::start(flags, &config, address).await?;
    tokio::spawn(purge::every_minute(app.clone()));

    let stop = interrupted();
    intro::warn(&app).await;
    intro::print(flags, &config, &app, &from_before, address);
    let limits = Limits::of(flags.max_connections.get().into());
    let proxies = app.clone();
    let is_proxy = move |peer| peer::is_proxy(peer, &proxies.trusted_proxies);
    serve::serve(listener, routes(app), limits, is_proxy, stop).await;
    Ok(())
}

fn routes(app: App) -> Router {
    let pages = Router::new()
        .route("/", get(home::show))
        // The library answers other methods. With `get`, axum would also allow HEAD.
        .route("/authorize", any(authorize::authorize))
        .route("/consent", post(authorize::decide))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/applications", get(applications::list))
        .route("/applications/new", get(applications::form).post(applications::register))
        .route("/applications/change", get(manage::form).post(manage::change))
        .route("/applications/secret", post(manage::new_secret))
        .route("/applications/remove", post(manage::remove))
        .route("/connected", get(connected::list))
        .route("/connected/end", post(connected::end))
        .route("/connected/revoke", post(connected::revoke))
        .route("/connected/revoke-all", post(connected::revoke_all))
        .route("/demo", get(demo::start))
        .route("/demo/callback", get(demo::callback))
        .route("/demo/result", get(demo::result))
        .layer(app.sessions.layer(app.secure));
    let own_account = require(&app.oauth, [registration::SCOPE]);
    let routes = pages
        .merge(grantor::axum::routes(&app.oauth))
        .route("/api/me", get(api::read).layer(require(&app.oauth, [&app.api_scopes.read]).any_origin()))
        .route("/api/application", get(registration::read).put(registration::change).layer(own_account))
        .route("/api/me", put(api::change).layer(require(&app.oauth, [&app.api_scopes.change]).any_origin()))
        .fallback(page::not_found)
        .layer(DefaultBodyLimit::max(64 * 1024));
    if app.trusted_proxies.is_empty() {
        return routes.with_state(app);
    }
    routes.layer(from_fn_with_state(app.clone(), peer::behind_proxies)).with_state(app)
}

/// Returns a future that is ready after Ctrl-C (SIGINT) or SIGTERM, which service managers send. It listens from this
/// call on, not from the first poll.
#[cfg(unix)]
fn interrupted() -> impl Future<Output = ()> {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    async fn received(signal: Option<Signal>) {
        match signal {
            Some(mut signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    async {
        tokio::select! {
            () = received(interrupt) => {}
            () = received(terminate) => {}
        }
    }
}

/// Returns a future that is ready after Ctrl-C.
#[cfg(not(unix))]
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Locks a map. A poisoned lock is fine, because no code under such a lock leaves its map half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
