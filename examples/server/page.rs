//! The frame around every page.

use axum::response::{IntoResponse, Response};
use grantor::authorize::{ConfirmRedirectPage, ErrorPage, OutOfBandPage, Pages};

use crate::html::{Html, html};
use crate::session::Session;

const STYLE: &str = include_str!("style.css");

/// A page for a session: with navigation and the way out for whoever is logged in.
pub(crate) fn show(session: &Session, status: u16, title: &str, content: &Html) -> Response {
    let content = html! { (navigation(session)) "<main class=\"wide\">" (content) "</main>" };
    session.attach(grantor::Response::page(status, document(title, &content)).into_response())
}

/// A page for a session that asks one question: nothing on it leads elsewhere.
pub(crate) fn ask(session: &Session, status: u16, title: &str, content: &Html) -> Response {
    session.attach(grantor::Response::page(status, question(title, content)).into_response())
}

/// What went wrong, in words for a person.
pub(crate) fn error(status: u16, title: &str, hint: &str) -> Response {
    let content = html! { "<h1>" (title) "</h1><p>" (hint) "</p><p><a href=\"/\">To the start page</a></p>" };
    grantor::Response::page(status, question(title, &content)).into_response()
}

pub(crate) async fn not_found() -> Response {
    error(404, "There is nothing here", "The address is mistyped, or the page is gone.")
}

/// The field that every form of ours carries.
pub(crate) fn csrf_field(session: &Session) -> Html {
    html! { "<input type=\"hidden\" name=\"csrf\" value=\"" (session.csrf_token()) "\">" }
}

fn navigation(session: &Session) -> Html {
    let account = if let Some(user) = session.user() {
        html! {
            "<form method=\"post\" action=\"/logout\">" (csrf_field(session))
            "<button class=\"link\">Log out <span class=\"who\">" (user.as_str()) "</span></button></form>"
        }
    } else {
        html! { "<a href=\"/login\">Log in</a>" }
    };
    html! {
        "<header><a class=\"brand\" href=\"/\">grantor<span> example</span></a><nav>"
        "<a href=\"/demo\">Demo</a><a href=\"/applications\">Applications</a><a href=\"/connected\">Connected</a>"
        "</nav><div class=\"me\">" (account) "</div></header>"
    }
}

fn question(title: &str, content: &Html) -> String {
    let brand = html! { "<p class=\"brand\">grantor<span> example</span></p>" };
    document(title, &html! { "<main class=\"narrow\">" (brand) "<div class=\"card\">" (content) "</div></main>" })
}

fn document(title: &str, body: &Html) -> String {
    let mut style = Html::default();
    style.markup(STYLE);
    html! {
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
        "<title>" (title) " \u{b7} grantor example</title><style>" (style) "</style></head>"
        "<body>" (body) "</body></html>\n"
    }
    .into_string()
}

/// The pages that the library shows by itself, in the look of this server.
#[derive(Debug)]
pub(crate) struct OwnPages;

impl Pages for OwnPages {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        let content = html! {
            "<h1>This request can\u{2019}t be completed</h1>"
            "<p>The application that sent you here made a mistake: " (page.description) ".</p>"
            "<p>Go back to it and try again. If that does not help, tell its makers.</p>"
            "<p class=\"soft\"><code>" (page.code) "</code></p>"
        };
        question("This request can\u{2019}t be completed", &content)
    }

    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        let content = html! {
            "<h1>Copy this code</h1>"
            "<p>Paste it into the application that asked for it. It works once, and only for a short time.</p>"
            "<p><code class=\"copy\" id=\"code\">" (page.code) "</code></p>"
            "<p class=\"caution\">Give it to nobody else: whoever has it can act as you.</p>"
        };
        question("Copy this code", &content)
    }

    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        let content = html! {
            "<h1>Leave this site?</h1>"
            "<p>An application sent you here with a request that can\u{2019}t be completed: " (page.description) ".</p>"
            "<p>It asks to send you on to <strong>" (page.host) "</strong>. "
            "If you do not know that address, close this page.</p>"
            "<p><a class=\"button\" href=\"" (page.location) "\" rel=\"noreferrer\">Continue to " (page.host) "</a></p>"
        };
        question("Leave this site?", &content)
    }
}
