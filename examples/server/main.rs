//! A small but complete OAuth 2.0 provider on axum: login, consent, registration of applications, connected
//! applications, a protected API, and a built-in client that shows the flow step by step.
//!
//! ```text
//! cargo run --example server --features axum,sqlite
//! ```
//!
//! It is meant to be copied. What a host must supply is here, one file a subject:
//!
//! | file | what it shows |
//! |---|---|
//! | `authorize.rs` | the authorization and consent pages: the heart of a host |
//! | `session.rs`, `form.rs`, `login.rs` | who is logged in; forms that other sites can't submit |
//! | `users.rs`, `hashing.rs` | passwords, the `Authenticator`, and a bound on the work of hashing |
//! | `attempts.rs`, `peer.rs` | the limit on guessing, and who is counted as one peer |
//! | `storage.rs`, `accounts/` | memory, an SQLite file or PostgreSQL, for the library's records and for one's own |
//! | `api.rs`, `registration.rs` | a protected API for users' data, and one for the application's own account |
//! | `applications.rs`, `manage.rs` | registering clients; changing and removing them |
//! | `connected.rs` | listing and revoking grants |
//! | `secret.rs`, `signing.rs` | the secret of the server, and the keys that it signs with |
//! | `purge.rs` | getting rid of what has expired |
//! | `serve.rs` | deadlines for slow clients, a limit of connections, and stopping without cutting requests off |
//! | `clients.rs`, `config.rs`, `flags.rs`, `app.rs`, `setup.rs`, `intro.rs` | setting it all up |
//! | `page.rs` | the frame around every page; `maud` escapes what is put into it |
//! | `demo/` | the other side: a client of this server |
//!
//! # The application's own account
//! An application reads and changes its own name, website and redirect URIs at `/api/application`, with a token that it gets by the
//! client credentials grant (RFC 6749 §4.4). The scope is `application`. Each client with that grant may ask for it; for an
//! application that a user registered it is the default, and the only scope on its own authority. `PUT` replaces all three members,
//! and with `If-Match` only if the registration is still the one that `GET` has returned.
//!
//! ```text
//! curl -u ID:SECRET -d grant_type=client_credentials -d scope=application http://127.0.0.1:3000/token
//! curl -i -H "Authorization: Bearer TOKEN" http://127.0.0.1:3000/api/application
//! curl -X PUT -H "Authorization: Bearer TOKEN" -H 'If-Match: "VERSION"' http://127.0.0.1:3000/api/application -d \
//!     '{"client_name": "My app", "client_uri": "https://app.example", "redirect_uris": ["https://app.example/cb"]}'
//! ```
//!
//! The token of a user is refused there, and that of a machine at `/api/me`. As nobody has checked what an application says of itself,
//! it counts as registered by a user from its first change on.

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
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{any, get, post, put};
use clap::Parser;
use grantor::axum::require;
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Config;
use crate::flags::Flags;
use crate::serve::Limits;

/// Anything that keeps the server from starting, in words for whoever started it.
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
        // The library refuses other methods, HEAD too, which axum would allow beside GET.
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
    pages
        .merge(grantor::axum::routes(&app.oauth))
        .route("/api/me", get(api::read).layer(require(&app.oauth, [&app.api_scopes.read]).any_origin()))
        .route("/api/application", get(registration::read).put(registration::change).layer(own_account))
        .route("/api/me", put(api::change).layer(require(&app.oauth, [&app.api_scopes.change]).any_origin()))
        .fallback(page::not_found)
        .layer(DefaultBodyLimit::max(64 * 1024))
        .layer(map_response(async |answer| page::with_retry_after(answer)))
        .layer(from_fn_with_state(app.clone(), peer::behind_proxies))
        .with_state(app)
}

/// Ends with Ctrl-C, and with the signal by which a service manager stops a server. It listens from this call on. Where a signal can't be
/// listened for, it does not end.
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

/// Ends with Ctrl-C. Where it can't be listened for, it does not end.
#[cfg(not(unix))]
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Locks a map. No step under such a lock can leave its map half changed, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
