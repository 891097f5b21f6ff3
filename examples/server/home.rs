//! The start page.

use axum::extract::State;
use axum::response::Response;

use crate::app::App;
use crate::html::{Html, html};
use crate::page;
use crate::session::Session;

/// `GET /`
pub(crate) async fn show(State(app): State<App>, session: Session) -> Response {
    let issuer = app.oauth.issuer();
    let scopes =
        app.scopes.iter().map(|(token, text)| html! { "<dt><code>" (token) "</code></dt><dd>" (text) "</dd>" });
    let content = html! {
        "<h1>An OAuth 2.0 provider, small enough to read</h1>"
        "<p class=\"lead\">Log in, let an application act for you, see what it may do, and stop it again. Every page "
        "here is part of the example <code>examples/server</code>.</p>"
        "<div class=\"tiles\">"
        (tile("/demo", "Walk through the flow", "A built-in client asks for access and shows all it sends and gets."))
        (tile("/connected", "Connected applications", "Who may act for you, and the way to end it."))
        (tile("/applications", "Your applications", "Register a client of your own and get its identifier and secret."))
        "</div><h2>For a client of your own</h2><dl class=\"card\">"
        "<dt>Issuer</dt><dd><code>" (issuer) "</code></dd>"
        "<dt>Authorization endpoint</dt><dd><code>" (issuer) "/authorize</code></dd>"
        "<dt>Token endpoint</dt><dd><code>" (issuer) "/token</code></dd>"
        "<dt>API</dt><dd><code>" (issuer) "/api/me</code></dd></dl>"
        "<h2>Permissions</h2><dl class=\"card\">" (scopes.collect::<Html>()) "</dl>"
    };
    page::show(&session, 200, "Start", &content)
}

fn tile(href: &str, title: &str, text: &str) -> Html {
    html! { "<a class=\"card tile\" href=\"" (href) "\"><strong>" (title) "</strong><span>" (text) "</span></a>" }
}
