//! The start page.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use crate::app::App;
use crate::page;
use crate::session::Session;

/// `GET /`
pub(crate) async fn show(State(app): State<App>, session: Session) -> Response {
    let (issuer, endpoints) = (app.oauth.issuer(), app.oauth.endpoints());
    let origin = issuer.trim_end_matches('/');
    let content = html! {
        h1 { "An OAuth 2.0 provider, small enough to read" }
        p.lead {
            "Log in, let an application act for you, see what it may do, and stop it again. Every page here is part of the "
            "example " code { "examples/server" } "."
        }
        div.tiles {
            (tile("/demo", "Walk through the flow", "A built-in client asks for access and shows all it sends and gets."))
            (tile("/connected", "Connected applications", "Who may act for you, and the way to end it."))
            (tile("/applications", "Your applications", "Register a client of your own and get its identifier and secret."))
        }
        h2 { "For a client of your own" }
        dl.card {
            (address("Issuer", issuer))
            (address("Metadata", &format!("{origin}{}", app.oauth.metadata_path())))
            @if let Some(url) = &endpoints.authorization { (address("Authorization endpoint", url)) }
            (address("Token endpoint", &endpoints.token))
            @if let Some(url) = &endpoints.revocation { (address("Revocation endpoint", url)) }
            @if let Some(url) = &endpoints.introspection { (address("Introspection endpoint", url)) }
            (address("API", &format!("{origin}/api/me")))
            (address("API for the application itself", &format!("{origin}/api/application")))
        }
        h2 { "Permissions" }
        dl.card {
            @for (token, text) in &app.scopes { dt { code { (token) } } dd dir="auto" { (text) } }
        }
    };
    page::show(&session, 200, "Start", &content)
}

fn address(what: &str, url: &str) -> Markup {
    html! { dt { (what) } dd { code { (url) } } }
}

fn tile(href: &str, title: &str, text: &str) -> Markup {
    html! { a.card.tile href=(href) { strong { (title) } span { (text) } } }
}
