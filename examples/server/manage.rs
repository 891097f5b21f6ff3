//! The pages on which owners change and remove their applications, and make new secrets for them.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use grantor::axum::run_to_completion;
use grantor::client::ClientCredential;
use grantor::storage::RegistryError;
use grantor::{Client, ClientId, ClientSecret, Subject};
use maud::{Markup, html};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::app::App;
use crate::applications::{FORM, NAME_HINT, Problem, TRY_AGAIN, WEBSITE_HINT};
use crate::applications::{below_field, described_by, secret_page, text_field, too_fast};
use crate::attempts::Changer;
use crate::form::OwnForm;
use crate::page;
use crate::registration::{Changeable, changed, with_allowed_redirects};
use crate::session::Session;

/// How long the previous secret still works.
const OVERLAP: Duration = Duration::DAY;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Which {
    client: String,
}

/// An application, and the version of it that a page showed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Shown {
    client: String,
    version: String,
}

/// The fields of the form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entered {
    client: String,
    /// The version of the registration that the form showed.
    version: String,
    name: String,
    website: String,
    /// One on each line.
    redirect_uris: String,
}

impl Entered {
    fn of(client: &Client) -> Self {
        let Changeable { client_name, client_uri, redirect_uris } = Changeable::of(client);
        Self {
            client: client.id().as_str().to_owned(),
            version: client.version().to_string(),
            name: client_name.unwrap_or_default(),
            website: client_uri.unwrap_or_default(),
            redirect_uris: redirect_uris.join("\n"),
        }
    }

    fn changes(&self) -> Changeable {
        let website = self.website.trim();
        let lines = self.redirect_uris.lines().map(str::trim).filter(|line| !line.is_empty());
        Changeable {
            client_name: Some(self.name.trim().to_owned()),
            client_uri: (!website.is_empty()).then(|| website.to_owned()),
            redirect_uris: lines.map(str::to_owned).collect(),
        }
    }
}

/// `GET /applications/change`
pub(crate) async fn form(
    State(app): State<App>,
    session: Session,
    Query(Which { client }): Query<Which>,
) -> Result<Response, Response> {
    let user = session.require_user("/applications").map_err(IntoResponse::into_response)?;
    let client = own(&app, user, &client).await?;
    Ok(form_page(&session, 200, &client, &Entered::of(&client), None))
}

/// `POST /applications/change`
pub(crate) async fn change(
    State(app): State<App>,
    OwnForm { session, fields: entered }: OwnForm<Entered>,
) -> Result<Response, Response> {
    let user = session.require_user("/applications").map_err(IntoResponse::into_response)?;
    if !app.attempts.begin_change(Changer::Owner(user)) {
        return Err(too_fast());
    }
    let old = own(&app, user, &entered.client).await?;
    let Ok(version) = entered.version.parse() else { return Err(changed_meanwhile()) };
    let new = match changed(&old, &entered.changes()).and_then(|new| with_allowed_redirects(&app.oauth, new)) {
        Ok(new) => new,
        Err(error) => return Ok(form_page(&session, 422, &old, &entered, Some(&error.into()))),
    };
    app.clients.update(new, version).await.map_err(|error| refused(&error))?;
    Ok(Redirect::to("/applications").into_response())
}

/// `POST /applications/secret`
///
/// The newest secret keeps working for [`OVERLAP`], and older ones stop. A form works once, because a second click
/// would stop the secret that the application uses.
pub(crate) async fn new_secret(
    State(app): State<App>,
    OwnForm { session, fields }: OwnForm<Shown>,
) -> Result<Response, Response> {
    let user = session.require_user("/applications").map_err(IntoResponse::into_response)?;
    if !app.attempts.begin_change(Changer::Owner(user)) {
        return Err(too_fast());
    }
    let client = own(&app, user, &fields.client).await?;
    if !client.is_confidential() {
        return Err(page::error(400, "This application has no secret", "Apps on a user\u{2019}s device have none."));
    }
    let Ok(version) = fields.version.parse() else { return Err(form_was_used()) };
    let secret = ClientSecret::random().map_err(|_| failed())?;
    let mut parts = client.parts().clone();
    parts.credentials.drain(..parts.credentials.len().saturating_sub(1));
    parts.rotate_credential(ClientCredential::secret(&secret), OffsetDateTime::now_utc() + OVERLAP);
    let new = Client::from_parts(parts).map_err(|error| refused(&error.into()))?;
    match app.clients.update(new, version).await {
        Err(RegistryError::Conflict) => return Err(form_was_used()),
        done => done.map_err(|error| refused(&error))?,
    }
    let note = "The previous secret works for 24 more hours.";
    Ok(secret_page(&session, name_of(&client), "has a new secret", client.id(), Some(&secret), Some(note)))
}

/// `POST /applications/remove`
///
/// The owner is removed last. If a step fails, the owner can try again. The steps run even if the browser disconnects.
pub(crate) async fn remove(
    State(app): State<App>,
    OwnForm { session, fields }: OwnForm<Which>,
) -> Result<Response, Response> {
    let user = session.require_user("/applications").map_err(IntoResponse::into_response)?;
    if !app.attempts.begin_change(Changer::Owner(user)) {
        return Err(too_fast());
    }
    let id = own_id(&app, user, &fields.client).await?;
    let user = user.clone();
    run_to_completion(async move {
        app.clients.remove(&id, OffsetDateTime::now_utc()).await.map_err(|error| refused(&error))?;
        app.accounts.remove_application(&user, &id).await.map_err(|_| failed())
    })
    .await?;
    Ok(Redirect::to("/applications").into_response())
}

/// Returns the identifier if the application is the user's.
async fn own_id(app: &App, user: &Subject, id: &str) -> Result<ClientId, Response> {
    let id = ClientId::new(id).map_err(|_| not_yours())?;
    match app.accounts.is_owner(user, &id).await {
        Ok(true) => Ok(id),
        Ok(false) => Err(not_yours()),
        Err(_) => Err(failed()),
    }
}

/// Returns the application if it is the user's.
async fn own(app: &App, user: &Subject, id: &str) -> Result<Arc<Client>, Response> {
    let id = own_id(app, user, id).await?;
    app.clients.find_client(id.as_str()).await.map_err(|_| failed())?.ok_or_else(not_yours)
}

/// Returns the same page for an application of another user and for an unknown application.
fn not_yours() -> Response {
    page::error(404, "You have no such application", "It may have been removed. Go back and reload the page.")
}

fn refused(error: &RegistryError) -> Response {
    match error {
        RegistryError::Conflict | RegistryError::Unknown => changed_meanwhile(),
        _ => failed(),
    }
}

fn changed_meanwhile() -> Response {
    let hint = "Your changes were not saved. Go back to your applications and start again.";
    page::error(409, "The application was changed in the meantime", hint)
}

fn form_was_used() -> Response {
    let hint = "The form was used before, or the application was changed in the meantime. If you did not see the new \
                secret, go back to your applications and make another one.";
    page::error(409, "No new secret was made", hint)
}

fn failed() -> Response {
    page::error(503, "The application can\u{2019}t be changed", TRY_AGAIN)
}

fn name_of(client: &Client) -> &str {
    client.name().unwrap_or(client.id().as_str())
}

fn form_page(
    session: &Session,
    status: u16,
    client: &Client,
    entered: &Entered,
    problem: Option<&Problem>,
) -> Response {
    let own_fields = html! {
        (page::csrf_field(session))
        input type="hidden" name="client" value=(entered.client);
    };
    let of_form = problem.filter(|problem| problem.field == FORM).map(|problem| problem.text.as_str());
    let content = html! {
        div.form {
            h1 { "Change " bdi { (name_of(client)) } }
            (page::problem("problem", of_form))
            form.card method="post" action="/applications/change" {
                (own_fields)
                input type="hidden" name="version" value=(entered.version);
                (text_field(["Name", "name", NAME_HINT, "auto"], &entered.name, problem))
                (text_field(["Website (optional)", "website", WEBSITE_HINT, "ltr"], &entered.website, problem))
                (redirect_uris(&entered.redirect_uris, problem))
                button.button { "Save" }
            }
            @if client.is_confidential() {
                h2 { "New secret" }
                form.card method="post" action="/applications/secret" {
                    (own_fields)
                    input type="hidden" name="version" value=(client.version());
                    p {
                        "The current secret works for 24 more hours. Older ones stop now. If somebody else knows the current "
                        "secret, make two new ones to stop it at once."
                    }
                    button.button.quiet { "Make a new secret" }
                }
            }
            h2 { "Remove this application" }
            form.card method="post" action="/applications/remove" {
                (own_fields)
                p { "It loses all access that users gave it. This can\u{2019}t be undone." }
                button.button.quiet { "Remove " bdi { (name_of(client)) } }
            }
        }
    };
    page::show(session, status, "Change an application", &content)
}

fn redirect_uris(entered: &str, problem: Option<&Problem>) -> Markup {
    let problem = problem.filter(|problem| problem.field == "redirect_uri");
    let hint = "Users return to these addresses, one on each line: https, or http on 127.0.0.1.";
    html! {
        div.field {
            label for="redirect_uris" { "Redirect URIs" }
            textarea #redirect_uris name="redirect_uris" rows="3" maxlength="20000" spellcheck="false" autocomplete="off"
                dir="ltr" aria-describedby=(described_by("redirect_uris", problem)) aria-invalid=[problem.map(|_| "true")]
                autofocus[problem.is_some()] {
                // Browsers ignore a line break at the start of a textarea.
                "\n" (entered)
            }
            (below_field("redirect_uris", hint, problem))
        }
    }
}
