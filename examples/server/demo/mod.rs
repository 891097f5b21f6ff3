//! The other side: a client of this very server, and the pages that show what it sends and receives.

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

/// The client's own cookie. A real one is another site and never sees the server's.
const COOKIE: &str = "grantor_demo";

/// `GET /demo`: a new request, for the user to take to the server.
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
            "You are now looking at an application that wants to read your profile on this server. It never sees your "
            "password. Follow what it does, step by step."
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
            p { a.button href=(app.demo.address(&asked)) { "Take it to the server" } }
            p.soft { "There you log in and decide. If you have agreed before, you come straight back." }
        }
    };
    let browser = random_text();
    app.demo.visits.remember(&browser, peer.ip(), Visit::Asked(asked), Instant::now());
    cookies.add(cookie(COOKIE, browser, app.secure));
    page::show(&session, 200, "Demo", &content)
}

/// `GET /demo/callback`: the browser comes back from the server.
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
        // The code goes out of the address bar.
        Ok(exchanges) => {
            let answered = Visit::Answered(exchanges);
            app.demo.visits.remember(browser.value(), peer.ip(), answered, Instant::now());
        }
        Err(_) => return page::error(502, "The server did not answer the client", "Start the demo again."),
    }
    Redirect::to("/demo/result").into_response()
}

/// `GET /demo/result`: what happened since.
pub(crate) async fn result(State(app): State<App>, session: Session, cookies: Cookies) -> Response {
    let visit = cookies.get(COOKIE).and_then(|browser| app.demo.visits.recall(browser.value()));
    let Some(Visit::Answered(exchanges)) = visit else { return Redirect::to("/demo").into_response() };
    let succeeded = exchanges.iter().all(|exchange| exchange.succeeded);
    let has_refreshed = exchanges.iter().any(|exchange| exchange.request.contains("grant_type=refresh_token"));
    let content = html! {
        h1 { (if succeeded { "The client has access" } else { "The client has no access" }) }
        p.lead { "This is what it has sent and received since you decided. Secrets are cut short here." }
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

/// An answer that nobody asked for is an attack (RFC 6749 §10.12), or a page that was reloaded.
fn unexpected() -> Response {
    let hint = "It does not belong to a request of this browser, or it was used before. Start the demo again.";
    page::error(400, "The client did not expect this answer", hint)
}

fn meaning(parameter: &str) -> &'static str {
    match parameter {
        "response_type" => "It wants a code, to be exchanged for tokens out of the browser\u{2019}s sight.",
        "client_id" => "Who asks.",
        "redirect_uri" => "Where you come back to. It must be registered, character for character.",
        "scope" => "What it wants to be allowed. You can allow less.",
        "state" => "A random value that ties the answer to this browser.",
        "code_challenge" => "The hash of a random secret (PKCE). A stolen code is of no use without the secret.",
        _ => "How the hash was made.",
    }
}
