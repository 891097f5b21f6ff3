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
        h1 { "A small OAuth 2.0 provider" }
        p.lead {
            "Log in, give an application access to your account, see what it can do, and end its access. The code is in "
            code { "examples/server" } "."
        }
        div.tiles {
            (tile("/demo", "Demo", "A built-in client asks for access and shows every request and response."))
            (tile("/connected", "Connected applications", "See who has access to your account, and end it."))
            (tile("/applications", "Your applications", "Register a client and get its ID and secret."))
        }
        h2 { "Addresses for your own client" }
        dl.card {
            (address("Issuer", issuer))
            (address("Metadata", &format!("{origin}{}", app.oauth.metadata_path())))
            @if let Some(url) = &endpoints.authorization { (address("Authorization endpoint", url)) }
            (address("Token endpoint", &endpoints.token))
            @if let Some(url) = &endpoints.revocation { (address("Revocation endpoint", url)) }
            @if let Some(url) = &endpoints.introspection { (address("Introspection endpoint", url)) }
            (address("API", &format!("{origin}/api/me")))
            (address("API for an application\u{2019}s own registration", &format!("{origin}/api/application")))
        }
        h2 { "Permissions" }
        dl.card {
            @for (token, text) in &app.scopes { dt { code { (token) } } dd dir="auto" { (text) } }
        }
    };
    page::show(&session, 200, "Start", &content)
}

fn address(name: &str, url: &str) -> Markup {
    html! { dt { (name) } dd { code { (url) } } }
}

fn tile(href: &str, title: &str, text: &str) -> Markup {
    html! { a.card.tile href=(href) { strong { (title) } span { (text) } } }
}
