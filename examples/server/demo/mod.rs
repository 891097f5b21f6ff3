//! A client of this server, with pages that show what it sends and receives.

mod client;
mod exchange;
mod visits;

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use tower_cookies::Cookies;

pub(crate) use self::client::DemoClient;
use self::exchange::{Answer, shorten};
use self::visits::Visit;
use crate::app::App;
use crate::page;
use crate::session::{Session, cookie, random_text};

/// The client's own cookie. A real client runs on another site and never sees the cookies of the server.
const COOKIE: &str = "grantor_demo";

/// `GET /demo` makes a new request and shows it.
pub(crate) async fn start(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    session: Session,
    cookies: Cookies,
) -> Response {
    let asked = app.demo.ask();
    let content = html! {
        h1 { "A client asks for access" }
        p.lead {
            "This page is an application that wants to use your profile on this server. It never sees your password. "
            "Follow it step by step."
        }
        section.card.step {
            h2 { "The client makes a request" }
            p { "It sends your browser to the authorization endpoint with these parameters." }
            dl {
                @for (name, value) in &asked.parameters {
                    dt { code { (name) } }
                    dd { code { (shorten(name, value)) } small { (meaning(name)) } }
                }
            }
            p { a.button href=(app.demo.address(&asked)) { "Continue to the server" } }
            p.soft { "There you log in and decide. If you allowed this before, you come back at once." }
        }
    };
    let browser = random_text();
    app.demo.visits.remember(&browser, peer.ip(), Visit::Asked(asked), Instant::now());
    cookies.add(cookie(COOKIE, browser, app.secure));
    page::show(&session, 200, "Demo", &content)
}

/// `GET /demo/callback` receives the response of the authorization endpoint.
pub(crate) async fn callback(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    cookies: Cookies,
    Query(answer): Query<Answer>,
) -> Response {
    let Some(browser) = cookies.get(COOKIE) else { return unexpected() };
    let asked = app.demo.visits.take_asked(browser.value(), |asked| app.demo.is_answer(asked, &answer));
    let Some(asked) = asked else { return unexpected() };
    match app.demo.go_on(&asked, &answer).await {
        Ok(exchanges) => {
            let answered = Visit::Answered(exchanges);
            app.demo.visits.remember(browser.value(), peer.ip(), answered, Instant::now());
        }
        Err(_) => return page::error(502, "The server did not respond to the client", "Start the demo again."),
    }
    // The redirect removes the code from the address bar.
    Redirect::to("/demo/result").into_response()
}

/// `GET /demo/result` shows the requests and responses.
pub(crate) async fn result(State(app): State<App>, session: Session, cookies: Cookies) -> Response {
    let visit = cookies.get(COOKIE).and_then(|browser| app.demo.visits.recall(browser.value()));
    let Some(Visit::Answered(exchanges)) = visit else { return Redirect::to("/demo").into_response() };
    let succeeded = exchanges.iter().all(|exchange| exchange.succeeded);
    let has_refreshed = exchanges.iter().any(|exchange| exchange.request.contains("grant_type=refresh_token"));
    let content = html! {
        h1 { (if succeeded { "The client has access" } else { "The client has no access" }) }
        p.lead { "It sent and received this after your decision. Secrets are shortened." }
        div.second {
            @for exchange in &exchanges {
                section.card.step.failed[!exchange.succeeded] {
                    h2 { (exchange.title) }
                    p { (exchange.remark) }
                    pre { (exchange.request) }
                    @if !exchange.response.is_empty() { pre.response { (exchange.response) } }
                }
            }
        }
        @if succeeded && !has_refreshed {
            p.soft { "No refresh token was issued, so the client has access until its token expires." }
        }
        p.actions {
            a.button href="/demo" { "Start again" } " "
            a.button.quiet href="/connected" { "See connected applications" }
        }
    };
    page::show(&session, 200, "Demo", &content)
}

/// Rejects a response without a request: it is an attack (RFC 6749 §10.12), or a page that was reloaded.
fn unexpected() -> Response {
    let hint = "This browser made no such request, or the response was used before. Start the demo again.";
    page::error(400, "The client did not expect this response", hint)
}

fn meaning(parameter: &str) -> &'static str {
    match parameter {
        "response_type" => "The client wants a code. It exchanges the code for tokens without your browser.",
        "client_id" => "The client.",
        "redirect_uri" => "You come back to this address. Exactly this address must be registered.",
        "scope" => "The permissions that the client asks for. You can allow fewer.",
        "state" => "A random value that ties the response to this browser.",
        "code_challenge" => "The hash of a random secret (PKCE). A stolen code is useless without the secret.",
        _ => "The hash function.",
    }
}
