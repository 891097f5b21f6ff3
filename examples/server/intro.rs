//! The texts that the server prints when it is ready.

use std::io::{self, Write};
use std::net::SocketAddr;

use crate::app::App;
use crate::clients::ClientMetadata;
use crate::config::Config;
use crate::flags::Flags;
use crate::setup::FromBefore;

/// Prints where the server listens, for programs that start it, and then instructions for people.
pub(crate) fn print(flags: &Flags, config: &Config, app: &App, from_before: &FromBefore, address: SocketAddr) {
    // The server runs even if its standard output is closed.
    let _ = write(flags, config, app, from_before, address);
}

/// Prints the warnings of the library about the settings and the clients to the standard error.
pub(crate) async fn warn(app: &App) {
    for finding in app.oauth.lint() {
        eprintln!("warning: {finding}");
    }
    // This server does not speak TLS itself.
    if app.secure && app.trusted_proxies.is_empty() {
        eprintln!(
            "warning: the issuer is https, but no proxy is trusted, so limits count all clients as one; set \
             --trusted-proxy to the address of the proxy"
        );
    }
    let clients = app.oauth.lint_clients(&*app.clients, |client, finding| {
        eprintln!("warning: the client {}: {finding}", client.id());
    });
    if let Err(error) = clients.await {
        eprintln!("warning: the check of the clients failed: {error}");
    }
}

fn write(flags: &Flags, config: &Config, app: &App, from_before: &FromBefore, address: SocketAddr) -> io::Result<()> {
    let issuer = app.oauth.issuer();
    let mut out = io::stdout().lock();
    let here = if flags.issuer.is_some() { format!("http://{address}") } else { issuer.to_owned() };
    writeln!(out, "listening on {here}\n")?;
    writeln!(out, "Open {issuer}/ in a browser. At {issuer}/demo you see the code flow step by step.\n")?;

    match &flags.users {
        Some(file) => writeln!(out, "Users: {} from {}\n", config.users.len(), file.display())?,
        None => {
            for (name, password) in &config.users {
                let password = if from_before.user { FROM_BEFORE } else { password };
                writeln!(out, "Log in as {name} with the password {password}\n")?;
            }
        }
    }

    match &flags.clients {
        Some(file) => writeln!(out, "Clients: {} from {}\n", config.clients.len(), file.display())?,
        None => write_clients(&mut out, config, from_before, issuer)?,
    }
    if !from_before.is_empty() {
        writeln!(
            out,
            "Secrets {FROM_BEFORE} still work. They were printed then. For new secrets, add --new-secrets.\n"
        )?;
    }

    if flags.legacy {
        writeln!(out, "Insecure legacy features are on (--legacy). Do not run a real service like this.\n")?;
    }
    match &app.place {
        Some(place) => {
            writeln!(out, "Users, clients, grants and tokens are stored in {place}.")?;
            writeln!(out, "Sessions are in memory: after a restart, users log in again.")?;
        }
        None => writeln!(out, "Everything is in memory and is lost when the server stops.")?,
    }
    out.flush()
}

/// The text that replaces a secret that an earlier start printed.
const FROM_BEFORE: &str = "from an earlier start";

fn write_clients(out: &mut impl Write, config: &Config, from_before: &FromBefore, issuer: &str) -> io::Result<()> {
    let is_from_before = |client: &ClientMetadata| from_before.clients.contains(&client.client_id);
    writeln!(out, "Clients:")?;
    for client in &config.clients {
        let secret = match &client.client_secret {
            None => "none, it is public",
            Some(_) if is_from_before(client) => FROM_BEFORE,
            Some(secret) => secret,
        };
        let name = client.client_name().unwrap_or_default();
        writeln!(out, "  client_id {:<8} client_secret {secret:<43}  {name}", client.client_id)?;
    }
    writeln!(out, "  redirect_uri http://127.0.0.1/callback, with any port\n")?;
    let secret_of = |id: &str| {
        let client = config.clients.iter().find(|client| client.client_id == id)?;
        if is_from_before(client) { Some("THE_SECRET") } else { client.client_secret.as_deref() }
    };
    if let (Some(machine), Some(api)) = (secret_of("machine"), secret_of("api")) {
        writeln!(out, "Get an access token for the client machine, and introspect it as the client api:")?;
        writeln!(out, "  curl -u machine:{machine} -d grant_type=client_credentials {issuer}/token")?;
        writeln!(out, "  curl -u api:{api} -d token=THE_TOKEN {issuer}/introspect\n")?;
    }
    Ok(())
}
