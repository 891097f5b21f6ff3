//! Registering applications: users of this server can write clients for it.

use axum::extract::State;
use axum::response::{Redirect, Response};
use grantor::client::{ClientCredential, ClientError, RegisteredBy};
use grantor::{Client, ClientId, ClientSecret};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::App;
use crate::attempts::Changer;
use crate::authorize::website_link;
use crate::clients::keep_legacy_habits;
use crate::form::{self, AnyForm};
use crate::registration::ChangeError;
use crate::session::{Origin, Session};
use crate::{page, registration};

/// The fields of the registration form, as they were typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entered {
    name: String,
    website: String,
    redirect_uri: String,
    /// A checkbox: there if it is checked.
    native: Option<String>,
}

/// What is wrong with a field, or with [`FORM`].
pub(crate) struct Problem {
    pub(crate) field: &'static str,
    pub(crate) text: String,
}

/// Stands for no field of its own.
const FORM: &str = "";

/// `GET /applications`
pub(crate) async fn list(State(app): State<App>, session: Session) -> Result<Response, Redirect> {
    let user = session.require_user("/applications")?;
    let Ok(applications) = app.accounts.applications(user).await else {
        return Ok(page::error(503, "The applications can\u{2019}t be read", "Try again in a moment."));
    };
    let content = html! {
        div.heading {
            h1 { "Your applications" } a.button href="/applications/new" { "Register an application" }
        }
        @if applications.is_empty() { p.soft.empty { "You have not registered any application yet." } }
        @for application in &applications { (entry(application)) }
    };
    Ok(page::show(&session, 200, "Your applications", &content))
}

/// `GET /applications/new`
pub(crate) async fn form(session: Session) -> Result<Response, Redirect> {
    session.require_user("/applications/new")?;
    Ok(form_page(&session, 200, &Entered::default(), None))
}

/// `POST /applications/new`
pub(crate) async fn register(
    State(app): State<App>,
    AnyForm { session, origin, fields: entered }: AnyForm<Entered>,
) -> Result<Response, Redirect> {
    if origin == Origin::Unknown {
        return Ok(form::refused());
    }
    let user = session.require_user("/applications/new")?;
    if origin == Origin::Browser {
        // The user may be another one by now, and is asked again.
        let text = "You have logged in again since you opened this form. Check it, and send it once more.".to_owned();
        return Ok(form_page(&session, 409, &entered, Some(&Problem { field: FORM, text })));
    }
    if !app.attempts.begin_change(Changer::Owner(user)) {
        return Ok(too_fast());
    }
    let (Ok(id), Ok(secret)) = (ClientId::random(), ClientSecret::random()) else {
        return Ok(page::error(500, "The registration failed", "Try again in a moment."));
    };
    // A program on a user's device can't keep a secret (RFC 8252 §8.5).
    let secret = entered.native.is_none().then_some(secret);
    let client = match client(&app, &id, secret.as_ref(), &entered) {
        Ok(client) => client,
        Err(problem) => return Ok(form_page(&session, 422, &entered, Some(&problem))),
    };
    // First its place, then the client, so that requests sent at once can't get past the limit together. If the second step
    // fails, the place stays taken; the other way round a client would be nobody's.
    match app.accounts.add_application(user, &id, MOST).await {
        Ok(true) => {}
        Ok(false) => return Ok(form_page(&session, 422, &entered, Some(&too_many()))),
        Err(_) => return Ok(failed()),
    }
    match app.clients.register(client).await {
        Ok(()) => {
            let title = format!("{} is registered", entered.name.trim());
            Ok(secret_page(&session, &title, &id, secret.as_ref(), None))
        }
        Err(_) => Ok(failed()),
    }
}

/// The client that was described, or the first thing that is wrong with it. Without a secret it is a native application.
fn client(app: &App, id: &ClientId, secret: Option<&ClientSecret>, entered: &Entered) -> Result<Client, Problem> {
    let scopes: Vec<&str> = app.scopes.iter().map(|(token, _)| token.as_str()).collect();
    let builder = match secret {
        // Nobody vouches for it, so on its own authority it can look after its own registration, and no more.
        Some(secret) => Client::confidential(id.as_str(), ClientCredential::secret(secret))
            .client_credentials()
            .own_scope(registration::SCOPE)
            .default_scope(format!("{} {}", app.default_scope, registration::SCOPE)),
        None if app.oauth.policy().undotted_schemes.is_empty() => Client::native(id.as_str()),
        None => Client::native(id.as_str()).undotted_schemes(),
    };
    let mut builder = builder
        .name(entered.name.trim())
        .registered_by(RegisteredBy::SelfService)
        .authorization_code([entered.redirect_uri.trim()])
        .refresh_token()
        .scope(scopes.join(" "));
    let website = entered.website.trim();
    if !website.is_empty() {
        builder = builder.client_uri(website);
    }
    let mut parts = builder.build().map_err(Problem::from)?.into_parts();
    if app.legacy {
        keep_legacy_habits(&mut parts);
    }
    let client = Client::from_parts(parts).map_err(Problem::from)?;
    registration::with_allowed_redirects(&app.oauth, client).map_err(Problem::from)
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let (field, text) = match &error {
            ClientError::WebUri(_) => ("website", error.to_string()),
            ClientError::RedirectUri { error, .. } => ("redirect_uri", error.to_string()),
            ClientError::NativeRedirectUri(_) | ClientError::LocalhostRedirectUri(_) => (
                "redirect_uri",
                "private-use schemes and localhost are for native apps; take https or 127.0.0.1".to_owned(),
            ),
            ClientError::UndottedScheme(uri) => (
                "redirect_uri",
                format!("{uri}: take a scheme of the app\u{2019}s own and one slash, as in com.example.app:/callback"),
            ),
            ClientError::NoRedirectUri | ClientError::TooLarge => ("redirect_uri", error.to_string()),
            _ => ("name", error.to_string()),
        };
        Self { field, text: sentence(&text) }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Client(error) => error.into(),
            // The other members are texts, and so is what a form sends.
            ChangeError::Member(_) | ChangeError::NotOffered(_) => {
                Self { field: "redirect_uri", text: sentence(&error.to_string()) }
            }
            ChangeError::Unreadable(_) => Self { field: FORM, text: sentence(&error.to_string()) },
        }
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(chars).chain(['.']).collect()
}

/// So many applications a user can register: each takes room at the server for good.
const MOST: u32 = 20;

fn too_many() -> Problem {
    let text = format!("You have registered {MOST} applications. This server takes no more from one user.");
    Problem { field: FORM, text }
}

pub(crate) fn too_fast() -> Response {
    page::error(429, "You have changed a lot in a short time", "Wait a moment, then try again.")
}

fn failed() -> Response {
    page::error(503, "The registration failed", "Try again in a moment.")
}

fn entry(client: &Client) -> Markup {
    let name = client.name().unwrap_or(client.id().as_str());
    html! {
        section.card {
            div.heading {
                h2 { (name) }
                a href={ "/applications/change?client=" (client.id()) } {
                    "Change" span.unseen { " " (name) }
                }
            }
            dl {
                dt { "Client ID" } dd { code { (client.id().as_str()) } }
                dt { "Redirect URI" }
                dd { @for uri in client.redirect_uris() { code { (uri.as_str()) } br; } }
                @if let Some(link) = client.client_uri().and_then(website_link) { dt { "Website" } dd { (link) } }
            }
            @for warning in client.warnings() { p.caution { (sentence(&warning.to_string())) } }
        }
    }
}

/// A text field of a form, and what is wrong with what was typed.
pub(crate) fn entered_field(label: &str, name: &str, hint: &str, value: &str, problem: Option<&Problem>) -> Markup {
    let problem = problem.filter(|problem| problem.field == name);
    html! {
        label {
            (label)
            input name=(name) value=(value.trim()) maxlength="2000" spellcheck="false" autocomplete="off" dir="auto"
                aria-describedby={ (name) "-hint" } aria-invalid=[problem.map(|_| "true")] autofocus[problem.is_some()];
            small id={ (name) "-hint" } {
                @if let Some(problem) = problem { span.problem role="alert" { (problem.text) } " " }
                (hint)
            }
        }
    }
}

fn form_page(session: &Session, status: u16, entered: &Entered, problem: Option<&Problem>) -> Response {
    let field = |label, name, hint, value: &str| entered_field(label, name, hint, value, problem);
    let content = html! {
        div.form {
            h1 { "Register an application" }
            p.soft { "It can then ask the users of this server for access, and act for itself." }
            @if let Some(problem) = problem.filter(|problem| problem.field == FORM) {
                p.problem role="alert" { (problem.text) }
            }
            form.card method="post" action="/applications/new" {
                (page::csrf_field(session))
                (field("Name", "name", "Shown to users when they are asked.", &entered.name))
                (field("Website (optional)", "website", "Its home page, such as https://app.example.", &entered.website))
                (field("Redirect URI", "redirect_uri", "Where users come back to: https, or http on 127.0.0.1.",
                    &entered.redirect_uri))
                label.permission {
                    input type="checkbox" name="native" value="yes" checked[entered.native.is_some()];
                    span {
                        "It is an app on the user\u{2019}s device"
                        small { "It has no secret, and may come back by a scheme of its own." }
                    }
                }
                button.button { "Register" }
            }
        }
    };
    page::show(session, status, "Register an application", &content)
}

/// The only time the secret is seen: the server keeps its digest.
pub(crate) fn secret_page(
    session: &Session,
    title: &str,
    id: &ClientId,
    secret: Option<&ClientSecret>,
    note: Option<&str>,
) -> Response {
    let content = html! {
        div.form {
            h1 { (title) }
            div.card {
                @if secret.is_some() {
                    p.caution { strong { "Copy the secret now." } " It is shown this once and can\u{2019}t be recovered." }
                }
                dl.wide {
                    dt { "Client ID" } dd { code.copy #client_id { (id.as_str()) } }
                    @if let Some(secret) = secret {
                        dt { "Client secret" } dd { code.copy #client_secret { (secret.expose()) } }
                    }
                }
                @if let Some(note) = note { p { (note) } }
                a.button href="/applications" { "I have copied it" }
            }
        }
    };
    page::show(session, 200, title, &content)
}
