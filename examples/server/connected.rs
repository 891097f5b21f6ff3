//! The applications that may act for a user, and the way to stop them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use grantor::storage::{GrantSelector, Page};
use grantor::{Grant, GrantId};
use time::OffsetDateTime;

use crate::app::App;
use crate::form::OwnForm;
use crate::html::{Html, html};
use crate::page;
use crate::session::Session;

/// `GET /connected`
pub(crate) async fn list(State(app): State<App>, session: Session) -> Response {
    let user = match session.require_user("/connected") {
        Ok(user) => user,
        Err(response) => return *response,
    };
    let which = GrantSelector::Subject(user.clone());
    let Ok(grants) = app.storage.grants(&which, OffsetDateTime::now_utc(), &Page::first(100)).await else {
        return page::error(503, "The list can\u{2019}t be read", "Try again in a moment.");
    };
    let mut applications = Html::default();
    for grants in by_client(&grants) {
        let id = &grants[0].client_id;
        let client = app.clients.client(id.as_str()).await.ok().flatten();
        let name = client.as_ref().and_then(|client| client.name()).unwrap_or(id.as_str());
        let grants = grants.iter().map(|grant| entry(&app, &session, grant, name));
        let section = html! { "<section class=\"card\"><h2>" (name) "</h2>" (grants.collect::<Html>()) "</section>" };
        applications = html! { (applications) (section) };
    }
    let none = grants.is_empty().then(|| html! { "<p class=\"soft empty\">No application may act for you.</p>" });
    let content = html! {
        "<h1>Connected applications</h1><p class=\"soft\">These may act for you until you end it.</p>"
        (none) (applications)
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
    let which = GrantSelector::SubjectAndId(user.clone(), id);
    match app.storage.revoke_grants(&which, OffsetDateTime::now_utc()).await {
        Ok(_) => Redirect::to("/connected").into_response(),
        Err(_) => page::error(503, "It is not ended yet", "The application may still have access. Try again."),
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
        "<small>Since " (grant.opened_at.date().to_string()) ". Ends " (grant.expires_at.date().to_string())
        " unless it is used before.</small></div>"
        "<form method=\"post\" action=\"/connected/revoke\">" (page::csrf_field(session))
        "<input type=\"hidden\" name=\"grant\" value=\"" (grant.id.to_string()) "\">"
        "<button class=\"button quiet\">End access<span class=\"unseen\"> of " (name) "</span></button></form></div>"
    }
}
