//! Logging in and out.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use grantor::Password;

use crate::app::App;
use crate::form::{Fields, OwnForm};
use crate::html::html;
use crate::page;
use crate::session::Session;

/// `GET /login`
pub(crate) async fn show(session: Session, RawQuery(query): RawQuery) -> Response {
    let query = Fields::of_query(&query.unwrap_or_default());
    let next = path_of_ours(query.get("next"));
    if session.user().is_some() { Redirect::to(next).into_response() } else { form(&session, 200, next, "", None) }
}

/// `POST /login`
pub(crate) async fn log_in(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    form: OwnForm,
) -> Response {
    let OwnForm { session, fields } = form;
    let (username, next) = (fields.get("username"), path_of_ours(fields.get("next")));
    if !app.attempts.begin(username, peer.ip()) {
        let wait = "Too many attempts for this user name. Wait a minute, then try again.";
        return self::form(&session, 429, next, username, Some(wait));
    }
    match app.users.check(username, Password::new(fields.get("password"))).await {
        Ok(Some(user)) => app.sessions.log_in(&session, user).attach(Redirect::to(next).into_response()),
        Ok(None) => {
            let wrong = "The user name or the password is wrong.";
            self::form(&session, 401, next, username, Some(wrong))
        }
        Err(_) => page::error(503, "Logging in failed", "That is not your fault. Try again in a moment."),
    }
}

/// `POST /logout`
pub(crate) async fn log_out(State(app): State<App>, form: OwnForm) -> Response {
    let next = path_of_ours(form.fields.get("next"));
    app.sessions.log_out(&form.session).attach(Redirect::to(next).into_response())
}

/// The login form. `next` is where the browser goes afterwards; it is checked again when it comes back.
pub(crate) fn form(session: &Session, status: u16, next: &str, username: &str, problem: Option<&str>) -> Response {
    let problem = problem.map(|text| html! { "<p class=\"problem\" role=\"alert\">" (text) "</p>" });
    let asked = next.starts_with("/authorize?");
    let reason =
        asked.then(|| html! { "<p class=\"soft\">An application wants to act for you. Log in to decide.</p>" });
    let (at_name, at_password) = if username.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
    let content = html! {
        "<h1>Log in</h1>" (reason) (problem)
        "<form method=\"post\" action=\"/login\">" (page::csrf_field(session))
        "<input type=\"hidden\" name=\"next\" value=\"" (next) "\">"
        "<label>User name<input name=\"username\" value=\"" (username) "\" autocomplete=\"username\""
        " autocapitalize=\"none\" spellcheck=\"false\" required" (at_name) "></label>"
        "<label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\""
        " required" (at_password) "></label>"
        "<button class=\"button\">Log in</button></form>"
    };
    page::ask(session, status, "Log in", &content)
}

/// The path to go on to, if it is one of this server; the start page otherwise.
///
/// Whatever a browser could take for another server is refused: an absolute address, `//`, a backslash (which browsers
/// read as a slash) and control characters (which they drop).
pub(crate) fn path_of_ours(text: &str) -> &str {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if plain && text.starts_with('/') && !text.starts_with("//") { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_on_after_login_stays_on_this_server() {
        for ours in ["/", "/connected", "/authorize?client_id=a&redirect_uri=https%3A%2F%2Fb.example%2F&state=//c"] {
            assert_eq!(path_of_ours(ours), ours);
        }
        let theirs = [
            "",
            "connected",
            "https://evil.example/",
            "HTTPS:/evil.example",
            "javascript:alert(1)",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/.\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\nset-cookie: a=b",
            "\0//evil.example",
            " //evil.example",
            "/caf\u{e9}",
        ];
        for text in theirs {
            assert_eq!(path_of_ours(text), "/", "{text:?}");
        }
    }

    #[test]
    fn a_browser_resolves_every_accepted_path_to_this_server() {
        let base = url::Url::parse("http://ours.example/login").unwrap();
        for path in ["/./evil.example", "/..//evil.example", "/.//evil.example", "/@evil.example", "/%2f/evil.example"]
        {
            let resolved = base.join(path_of_ours(path)).unwrap();
            assert_eq!(resolved.host_str(), Some("ours.example"), "{path}");
        }
    }
}
