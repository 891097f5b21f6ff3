//! Logging in and out.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use grantor::{Clock, Password, SystemClock, Verdict};
use maud::html;
use serde::Deserialize;

use crate::app::App;
use crate::form::AnyForm;
use crate::page;
use crate::session::{Origin, Session};

/// The fields of the login form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entered {
    username: String,
    password: String,
    next: String,
}

/// The page to which the browser goes after login or logout.
#[derive(Debug, Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

/// `GET /login`
pub(crate) async fn show(State(app): State<App>, session: Session, Query(Next { next }): Query<Next>) -> Response {
    let next = way_on(&app, &next);
    if session.user().is_some() { Redirect::to(next).into_response() } else { form(&session, 200, next, "", None) }
}

/// `POST /login`
///
/// A form of an unknown origin does not log in: another site could log its visitors in as another user. If the form was
/// opened before a login in another tab, or is sent twice, the browser continues with the login that it has.
pub(crate) async fn log_in(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    AnyForm { session, origin, fields }: AnyForm<Entered>,
) -> Response {
    let Entered { username, password, next } = fields;
    let next = way_on(&app, &next);
    let is_logged_in_already = session.user().is_some_and(|user| user.as_str() == username);
    match origin {
        // An application may demand another login.
        Origin::Session => {}
        // Another user may log in.
        Origin::Browser if !is_logged_in_already => {}
        _ if session.user().is_some() => return Redirect::to(next).into_response(),
        Origin::Browser => {}
        Origin::Unknown => {
            let problem = "This page was too old, or your browser blocks cookies. Please try again.";
            return form(&session, 403, next, &username, Some(problem));
        }
    }
    // The password grant uses the same limiter. Otherwise an attacker could guess twice as often.
    let peer = Some(peer.ip());
    let check = app.users.check(&username, Password::new(password), peer);
    match app.limiter.limit_login(&username, peer, SystemClock.now(), check).await {
        Ok(Verdict::Throttled { .. }) => {
            form(&session, 429, next, &username, Some("Too many attempts. Wait a minute, then try again."))
        }
        Ok(Verdict::Rejected) => form(&session, 401, next, &username, Some("The user name or the password is wrong.")),
        Ok(Verdict::Accepted(user)) if session.log_in(&user).await.is_ok() => Redirect::to(next).into_response(),
        _ => page::error(503, "The login failed", "The server has a problem. Please try again in a moment."),
    }
}

/// `POST /logout`
///
/// A form of this server logs out, however old it is. For a form of an unknown origin, the user has to confirm.
pub(crate) async fn log_out(State(app): State<App>, AnyForm { session, origin, fields }: AnyForm<Next>) -> Response {
    let next = way_on(&app, &fields.next);
    let Some(user) = session.user() else { return Redirect::to(next).into_response() };
    if origin == Origin::Unknown {
        let content = html! {
            h1 { "Log out?" }
            p { "You are logged in as " strong { bdi { (user.as_str()) } } "." }
            form method="post" action="/logout" {
                (page::csrf_field(&session))
                input type="hidden" name="next" value=(next);
                button.button { "Log out" }
            }
        };
        return page::ask(403, "Log out?", &content);
    }
    match session.log_out().await {
        Ok(cookie) => ([(SET_COOKIE, cookie.to_string())], Redirect::to(next)).into_response(),
        Err(_) => page::error(503, "The logout failed", "You are still logged in. Please try again in a moment."),
    }
}

/// Renders the login form. `next` is where the browser goes afterwards; it is checked when the form is submitted.
pub(crate) fn form(session: &Session, status: u16, next: &str, username: &str, problem: Option<&str>) -> Response {
    let (described_by, invalid) = (problem.map(|_| "problem"), problem.map(|_| "true"));
    let content = html! {
        h1 { "Log in" }
        @if next.starts_with("/authorize?") {
            p.soft {
                @if session.user().is_some() { "An application asks you to log in again, to confirm that it is you." }
                @else { "An application asks for access to your account. Log in to allow or deny it." }
            }
        }
        (page::problem("problem", problem))
        form method="post" action="/login" {
            (page::csrf_field(session))
            input type="hidden" name="next" value=(next);
            div.field {
                label for="username" { "User name" }
                input #username name="username" value=(username) autocomplete="username" autocapitalize="none"
                    spellcheck="false" dir="auto" required autofocus[username.is_empty()]
                    aria-describedby=[described_by] aria-invalid=[invalid];
            }
            div.field {
                label for="password" { "Password" }
                input #password name="password" type="password" autocomplete="current-password" required
                    autofocus[!username.is_empty()] aria-describedby=[described_by] aria-invalid=[invalid];
            }
            button.button { "Log in" }
        }
    };
    page::ask(status, "Log in", &content)
}

/// Returns `next` if it is a page of this server that needs a login, or an authorization request, and else the start
/// page. Any other target would be an open redirect.
fn way_on<'a>(app: &App, next: &'a str) -> &'a str {
    match next {
        "/connected" | "/applications" | "/applications/new" => next,
        _ => app.oauth.check_return_target(next).unwrap_or("/"),
    }
}
