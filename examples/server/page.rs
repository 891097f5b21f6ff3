//! The frame around every page.

use axum::response::{IntoResponse, Response};
use grantor::authorize::{ConfirmRedirectPage, ErrorCause, ErrorPage, OutOfBandPage, PageTemplates};
use grantor::client::Logo;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::session::Session;

const STYLE: &str = include_str!("style.css");

/// Renders a page with navigation and, for a user who is logged in, a button to log out.
pub(crate) fn show(session: &Session, status: u16, title: &str, content: &Markup) -> Response {
    let body = html! { (navigation(session)) main.wide { (content) } };
    grantor::Response::page(status, document(title, &body)).into_response()
}

/// Renders a page that asks one question: no navigation leads away from it.
pub(crate) fn ask(status: u16, title: &str, content: &Markup) -> Response {
    grantor::Response::page(status, question(title, content)).into_response()
}

/// Renders a page that asks one question and may load the logo of a client from its host.
pub(crate) fn ask_with_logo(title: &str, content: &Markup, logo: Option<&Logo<'_>>) -> Response {
    let page = grantor::Response::page(200, question(title, content));
    logo.into_iter().fold(page, grantor::Response::with_logo).into_response()
}

/// Renders a page that tells the user what went wrong.
pub(crate) fn error(status: u16, title: &str, hint: &str) -> Response {
    ask(status, title, &html! { h1 { (title) } p { (hint) } p { a href="/" { "To the start page" } } })
}

pub(crate) async fn not_found() -> Response {
    error(404, "There is nothing here", "The address is mistyped, or the page is gone.")
}

/// Renders the hidden field that every form carries.
pub(crate) fn csrf_field(session: &Session) -> Markup {
    html! { input type="hidden" name="csrf" value=(session.csrf_token()); }
}

fn navigation(session: &Session) -> Markup {
    html! {
        header {
            a.brand href="/" { "grantor" span { " example" } }
            nav { a href="/demo" { "Demo" } a href="/applications" { "Applications" } a href="/connected" { "Connected" } }
            div.me {
                @if let Some(user) = session.user() {
                    form method="post" action="/logout" {
                        (csrf_field(session))
                        button.link { "Log out " span.who { (user.as_str()) } }
                    }
                } @else { a href="/login" { "Log in" } }
            }
        }
    }
}

fn question(title: &str, content: &Markup) -> String {
    document(title, &html! { main.narrow { p.brand { "grantor" span { " example" } } div.card { (content) } } })
}

fn document(title: &str, body: &Markup) -> String {
    let head = html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        title { (title) " \u{b7} grantor example" }
        style { (PreEscaped(STYLE)) }
    };
    html! { (DOCTYPE) html lang="en" { head { (head) } body { (body) } } }.into_string()
}

/// The pages that the library shows by itself, in the look of this server.
#[derive(Debug)]
pub(crate) struct OwnPages;

impl PageTemplates for OwnPages {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        let (title, problem, advice) = match page.cause {
            ErrorCause::OldPage => (
                "This page can\u{2019}t be used any more",
                "Nothing was decided",
                "Go back to the application and start again.",
            ),
            ErrorCause::User => ("Access was denied", "The application gets no access", "You can close this page."),
            ErrorCause::Server => (
                "This server has a problem",
                "Your request can\u{2019}t be answered at the moment",
                "That is not your fault, nor the application\u{2019}s. Try again in a while.",
            ),
            _ => (
                "This request can\u{2019}t be completed",
                "The application that sent you here made a mistake",
                "Go back to it and try again. If that does not help, tell its makers.",
            ),
        };
        let content = html! {
            h1 { (title) }
            p { (problem) ": " (page.description) "." }
            p { (advice) }
            p.soft { code { (page.code) } }
        };
        question(title, &content)
    }

    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        let content = html! {
            h1 { "Copy this code" }
            p { "Paste it into the application that asked for it. It works once, and only for a short time." }
            p { code.copy #code { (page.code) } }
            p.caution { "Give it to nobody else: whoever has it can act as you." }
        };
        question("Copy this code", &content)
    }

    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        let content = html! {
            h1 { "Leave this site?" }
            p { "An application sent you here with a request that can\u{2019}t be completed: " (page.description) "." }
            p {
                "It asks to send you on to " strong { (page.host) } ". "
                "If you do not know that address, close this page."
            }
            p { a.button href=(page.location) rel="noreferrer" { "Continue to " (page.host) } }
        };
        question("Leave this site?", &content)
    }
}
