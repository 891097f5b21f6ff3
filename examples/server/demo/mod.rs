//! The other side: a client of this very server, and the pages that show what it sends and receives.

mod client;
mod exchange;
mod visits;

use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};

pub(crate) use self::client::DemoClient;
use self::exchange::{Exchange, shorten};
use self::visits::Visit;
use crate::app::App;
use crate::form::Fields;
use crate::html::{Html, html};
use crate::page;
use crate::session::{Session, cookie, cookie_value, random_text};

/// The client's own cookie. A real one is another site and never sees the server's.
const COOKIE: &str = "grantor_demo";

/// `GET /demo`: a new request, for the user to take to the server.
pub(crate) async fn start(State(app): State<App>, session: Session, headers: HeaderMap) -> Response {
    let asked = app.demo.ask();
    let parameters = asked.parameters.iter().map(|(name, value)| {
        html! {
            "<dt><code>" (name) "</code></dt>"
            "<dd><code>" (shorten(name, value)) "</code><small>" (meaning(name)) "</small></dd>"
        }
    });
    let content = html! {
        "<h1>A client asks for access</h1>"
        "<p class=\"lead\">You are now looking at an application that wants to read your profile on this server. It "
        "never sees your password. Follow what it does, step by step.</p>"
        "<section class=\"card step\"><h2>The client makes a request</h2>"
        "<p>It sends your browser to the authorization endpoint with these parameters.</p>"
        "<dl>" (parameters.collect::<Html>()) "</dl>"
        "<p><a class=\"button\" href=\"" (app.demo.address(&asked)) "\">Take it to the server</a></p>"
        "<p class=\"soft\">There you log in and decide. If you have agreed before, you come straight back.</p>"
        "</section>"
    };
    let browser = cookie_value(&headers, COOKIE).map_or_else(random_text, str::to_owned);
    app.demo.visits.remember(&browser, Visit::Asked(asked), Instant::now());
    let mut response = page::show(&session, 200, "Demo", &content);
    let cookie = cookie(COOKIE, &browser, app.demo.issuer.starts_with("https:"));
    response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

/// `GET /demo/callback`: the browser comes back from the server.
pub(crate) async fn callback(State(app): State<App>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let answer = Fields::of_query(&query.unwrap_or_default());
    let Some(browser) = cookie_value(&headers, COOKIE) else { return unexpected() };
    let asked = app.demo.visits.take_asked(browser, |asked| app.demo.is_answer(asked, &answer));
    let Some(asked) = asked else { return unexpected() };
    match app.demo.go_on(&asked, &answer).await {
        // The code goes out of the address bar.
        Ok(exchanges) => app.demo.visits.remember(browser, Visit::Answered(exchanges), Instant::now()),
        Err(_) => return page::error(502, "The server did not answer the client", "Start the demo again."),
    }
    Redirect::to("/demo/result").into_response()
}

/// `GET /demo/result`: what happened since.
pub(crate) async fn result(State(app): State<App>, session: Session, headers: HeaderMap) -> Response {
    let visit = cookie_value(&headers, COOKIE).and_then(|browser| app.demo.visits.recall(browser));
    let Some(Visit::Answered(exchanges)) = visit else { return Redirect::to("/demo").into_response() };
    let succeeded = exchanges.iter().all(|exchange| exchange.succeeded);
    let title = if succeeded { "The client has access" } else { "The client has no access" };
    let has_refreshed = exchanges.iter().any(|exchange| exchange.request.contains("grant_type=refresh_token"));
    let no_refresh = (succeeded && !has_refreshed).then(|| {
        html! { "<p class=\"soft\">No refresh token was issued, so the client has access until its token expires.</p>" }
    });
    let content = html! {
        "<h1>" (title) "</h1><p class=\"lead\">This is what it has sent and received since you decided. "
        "Secrets are cut short here.</p>"
        "<div class=\"second\">" (exchanges.iter().map(step).collect::<Html>()) "</div>" (no_refresh)
        "<p class=\"actions\"><a class=\"button\" href=\"/demo\">Start again</a> "
        "<a class=\"button quiet\" href=\"/connected\">See connected applications</a></p>"
    };
    page::show(&session, 200, "Demo", &content)
}

/// An answer that nobody asked for is an attack (RFC 6749 §10.12), or a page that was reloaded.
fn unexpected() -> Response {
    let hint = "It does not belong to a request of this browser, or it was used before. Start the demo again.";
    page::error(400, "The client did not expect this answer", hint)
}

fn step(exchange: &Exchange) -> Html {
    let failed = (!exchange.succeeded).then(|| html! { " failed" });
    let response =
        (!exchange.response.is_empty()).then(|| html! { "<pre class=\"response\">" (exchange.response) "</pre>" });
    html! {
        "<section class=\"card step" (failed) "\"><h2>" (exchange.title) "</h2><p>" (exchange.remark) "</p>"
        "<pre>" (exchange.request) "</pre>" (response) "</section>"
    }
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
