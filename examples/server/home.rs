//! The start page.

use axum::extract::State;
use axum::response::Response;

use crate::app::App;
use crate::html::{Html, html};
use crate::page;
use crate::session::Session;

/// `GET /`
pub(crate) async fn show(State(app): State<App>, session: Session) -> Response {
    let (issuer, endpoints) = (app.oauth.issuer(), app.oauth.endpoints());
    let origin = issuer.trim_end_matches('/');
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
        (address("Issuer", issuer))
        (address("Metadata", &format!("{origin}{}", app.oauth.metadata_path())))
        (address("Authorization endpoint", &endpoints.authorization))
        (address("Token endpoint", &endpoints.token))
        (endpoints.revocation.as_ref().map(|url| address("Revocation endpoint", url)))
        (endpoints.introspection.as_ref().map(|url| address("Introspection endpoint", url)))
        (address("API", &format!("{origin}/api/me"))) "</dl>"
        "<h2>Permissions</h2><dl class=\"card\">" (scopes.collect::<Html>()) "</dl>"
    };
    page::show(&session, 200, "Start", &content)
}

fn address(what: &'static str, url: &str) -> Html {
    html! { "<dt>" (what) "</dt><dd><code>" (url) "</code></dd>" }
}

fn tile(href: &str, title: &str, text: &str) -> Html {
    html! { "<a class=\"card tile\" href=\"" (href) "\"><strong>" (title) "</strong><span>" (text) "</span></a>" }
}
