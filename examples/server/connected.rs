//! The applications that may act for a user, and the way to stop them.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use grantor::storage::{GrantSelector, Page};
use grantor::{Grant, GrantId};
use time::OffsetDateTime;

use crate::app::App;
use crate::form::{Fields, OwnForm};
use crate::html::{Html, html};
use crate::page;
use crate::session::Session;

/// So many grants are on one page.
const A_PAGE: usize = 100;

/// `GET /connected`
pub(crate) async fn list(State(app): State<App>, session: Session, RawQuery(query): RawQuery) -> Response {
    let user = match session.require_user("/connected") {
        Ok(user) => user,
        Err(response) => return *response,
    };
    let mut page = Page::first(A_PAGE + 1);
    page.after = place(Fields::of_query(&query.unwrap_or_default()).get("after"));
    let Ok(mut grants) = app.oauth.grants(&GrantSelector::Subject(user.clone()), &page).await else {
        return page::error(503, "The list can\u{2019}t be read", "Try again in a moment.");
    };
    let has_more = grants.len() > A_PAGE;
    grants.truncate(A_PAGE);
    let mut applications = Html::default();
    for grants in by_client(&grants) {
        let id = &grants[0].client_id;
        let client = app.clients.client(id.as_str()).await.ok().flatten();
        let name = client.as_ref().and_then(|client| client.name()).unwrap_or(id.as_str());
        let grants = grants.iter().map(|grant| entry(&app, &session, grant, name));
        let section = html! { "<section class=\"card\"><h2>" (name) "</h2>" (grants.collect::<Html>()) "</section>" };
        applications = html! { (applications) (section) };
    }
    let is_first = page.after.is_none();
    let none = if is_first { "No application may act for you." } else { "There are no older ones." };
    let none = grants.is_empty().then(|| html! { "<p class=\"soft empty\">" (none) "</p>" });
    let content = html! {
        "<h1>Connected applications</h1><p class=\"soft\">These may act for you until you end it.</p>"
        (none) (applications) (ways_on(is_first, has_more.then_some(()).and(grants.last()).map(Arc::as_ref)))
        (way_out(&session))
    };
    page::show(&session, 200, "Connected applications", &content)
}

/// `POST /connected/revoke`. Selected by user *and* identifier: nobody can end another user's grant.
pub(crate) async fn revoke(State(app): State<App>, form: OwnForm) -> Response {
    let user = match form.session.require_user("/connected") {
        Ok(user) => user,
        Err(response) => return *response,
    };
    let Ok(id) = form.fields.get("grant").parse::<GrantId>() else {
        return page::error(400, "There is no such connection", "Go back and reload the page.");
    };
    match app.oauth.revoke_grants(&GrantSelector::SubjectAndId(user.clone(), id)).await {
        Ok(_) => Redirect::to("/connected").into_response(),
        Err(_) => page::error(503, "It is not ended yet", "The application may still have access. Try again."),
    }
}

/// `POST /connected/revoke-all`. The sessions end first: one of somebody else's could allow an application anew.
pub(crate) async fn revoke_all(State(app): State<App>, form: OwnForm) -> Response {
    let user = match form.session.require_user("/connected") {
        Ok(user) => user,
        Err(response) => return *response,
    };
    app.sessions.log_out_everywhere(user);
    let session = app.sessions.log_out(&form.session);
    if app.oauth.revoke_grants(&GrantSelector::Subject(user.clone())).await.is_err() {
        let hint = "You are logged out, but applications may still have access. Log in and try again.";
        return session.attach(page::error(503, "It is not ended yet", hint));
    }
    let content = html! {
        "<h1>Everything has ended</h1><p>You are logged out in every browser, and no application may act for you any "
        "more.</p><p><a href=\"/login\">Log in again</a></p>"
    };
    page::ask(&session, 200, "Everything has ended", &content)
}

/// Where a page begins, see [`ways_on`]; at the first grant if it is none of ours.
fn place(text: &str) -> Option<(OffsetDateTime, GrantId)> {
    let (opened_at, id) = text.split_once('.')?;
    let opened_at = OffsetDateTime::from_unix_timestamp_nanos(opened_at.parse().ok()?).ok()?;
    Some((opened_at, id.parse().ok()?))
}

/// Links to the newest grants and to those older than `last`.
fn ways_on(is_first: bool, last: Option<&Grant>) -> Html {
    let newest = (!is_first).then(|| html! { "<a class=\"button quiet\" href=\"/connected\">Newest</a>" });
    let older = last.map(|last| {
        let place = format!("{}.{}", last.opened_at.unix_timestamp_nanos(), last.id);
        html! { "<a class=\"button quiet\" href=\"/connected?after=" (place) "\">Older</a>" }
    });
    if newest.is_none() && older.is_none() {
        return Html::default();
    }
    html! { "<p class=\"actions\">" (newest) (older) "</p>" }
}

/// For somebody who fears that another person is in their account.
fn way_out(session: &Session) -> Html {
    html! {
        "<h2>Has somebody else been here?</h2>"
        "<form class=\"card\" method=\"post\" action=\"/connected/revoke-all\">" (page::csrf_field(session))
        "<p>This logs you out in every browser, here too, and ends the access of every application.</p>"
        "<button class=\"button quiet\">Log out everywhere and end all access</button></form>"
    }
}

/// The grants of each client, newest first.
fn by_client(grants: &[Arc<Grant>]) -> Vec<Vec<&Grant>> {
    let mut clients: Vec<Vec<&Grant>> = Vec::new();
    for grant in grants {
        match clients.iter_mut().find(|known| known[0].client_id == grant.client_id) {
            Some(known) => known.push(grant),
            None => clients.push(vec![grant]),
        }
    }
    clients
}

fn entry(app: &App, session: &Session, grant: &Grant, name: &str) -> Html {
    let permissions = app.describe(&grant.scope).into_iter().map(|text| html! { "<li>" (text) "</li>" });
    html! {
        "<div class=\"grant\"><div><ul>" (permissions.collect::<Html>()) "</ul>"
        "<small>Since " (grant.opened_at.date().to_string()) ". Last used " (grant.last_used_at.date().to_string())
        ". Ends " (grant.expires_at.date().to_string()) " unless it is used before.</small></div>"
        "<form method=\"post\" action=\"/connected/revoke\">" (page::csrf_field(session))
        "<input type=\"hidden\" name=\"grant\" value=\"" (grant.id.to_string()) "\">"
        "<button class=\"button quiet\">End access<span class=\"unseen\"> of " (name) "</span></button></form></div>"
    }
}
