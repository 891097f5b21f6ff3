//! Registering applications: users of this server can write clients for it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use grantor::client::{ClientCredential, ClientError, RedirectUri, Registration};
use grantor::{Client, ClientId, ClientSecret, SystemEntropy};

use crate::app::App;
use crate::clients::keep_legacy_habits;
use crate::form::OwnForm;
use crate::html::{Html, html};
use crate::page;
use crate::session::Session;

/// What the registration form asks for, as it was typed.
#[derive(Debug, Default)]
struct Entered<'a> {
    name: &'a str,
    website: &'a str,
    redirect_uri: &'a str,
}

/// What is wrong with a field, or with [`FORM`].
struct Problem {
    field: &'static str,
    text: String,
}

/// Stands for no field of its own.
const FORM: &str = "";

/// `GET /applications`
pub(crate) async fn list(State(app): State<App>, session: Session) -> Response {
    let user = match session.require_user("/applications") {
        Ok(user) => user,
        Err(response) => return *response,
    };
    let Ok(applications) = app.accounts.applications(user).await else {
        return page::error(503, "The applications can\u{2019}t be read", "Try again in a moment.");
    };
    let none = applications
        .is_empty()
        .then(|| html! { "<p class=\"soft empty\">You have not registered any application yet.</p>" });
    let content = html! {
        "<div class=\"heading\"><h1>Your applications</h1>"
        "<a class=\"button\" href=\"/applications/new\">Register an application</a></div>"
        (none) (applications.iter().map(entry).collect::<Html>())
    };
    page::show(&session, 200, "Your applications", &content)
}

/// `GET /applications/new`
pub(crate) async fn form(session: Session) -> Response {
    match session.require_user("/applications/new") {
        Ok(_) => form_page(&session, 200, &Entered::default(), None),
        Err(response) => *response,
    }
}

/// `POST /applications/new`
pub(crate) async fn register(State(app): State<App>, form: OwnForm) -> Response {
    let OwnForm { session, fields } = form;
    let user = match session.require_user("/applications/new") {
        Ok(user) => user,
        Err(response) => return *response,
    };
    let entered = Entered {
        name: fields.get("name").trim(),
        website: fields.get("website").trim(),
        redirect_uri: fields.get("redirect_uri").trim(),
    };
    let (Ok(id), Ok(secret)) = (ClientId::generate(&SystemEntropy), ClientSecret::generate(&SystemEntropy)) else {
        return page::error(500, "The registration failed", "Try again in a moment.");
    };
    let client = match client(&app, &id, &secret, &entered) {
        Ok(client) => client,
        Err(problem) => return form_page(&session, 422, &entered, Some(&problem)),
    };
    // First its place, then the client, so that requests sent at once can't get past the limit together. If the second step
    // fails, the place stays taken; the other way round a client would be nobody's.
    match app.accounts.add_application(user, &id, MOST).await {
        Ok(true) => {}
        Ok(false) => return form_page(&session, 422, &entered, Some(&too_many())),
        Err(_) => return failed(),
    }
    match app.clients.register(client).await {
        Ok(()) => secret_page(&session, entered.name, &id, &secret),
        Err(_) => failed(),
    }
}

/// The client that was described, or the first thing that is wrong with it.
fn client(app: &App, id: &ClientId, secret: &ClientSecret, entered: &Entered<'_>) -> Result<Client, Problem> {
    if entered.redirect_uri == RedirectUri::OUT_OF_BAND && !app.legacy {
        let text = "Showing the code for copying is not offered by this server.".to_owned();
        return Err(Problem { field: "redirect_uri", text });
    }
    let scopes: Vec<&str> = app.scopes.iter().map(|(token, _)| token.as_str()).collect();
    let mut builder = Client::confidential(id.as_str(), ClientCredential::secret(secret))
        .name(entered.name)
        .registration(Registration::SelfService)
        .authorization_code([entered.redirect_uri])
        .refresh_token()
        .client_credentials()
        .scope(scopes.join(" "));
    if !entered.website.is_empty() {
        builder = builder.website(entered.website);
    }
    let mut parts = builder.build().map_err(Problem::from)?.into_parts();
    if app.legacy {
        keep_legacy_habits(&mut parts);
    }
    Client::from_parts(parts).map_err(Problem::from)
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let (field, text) = match &error {
            ClientError::Website => ("website", error.to_string()),
            ClientError::RedirectUri { error, .. } => ("redirect_uri", error.to_string()),
            ClientError::NativeRedirectUri(_) => (
                "redirect_uri",
                "private-use schemes and localhost are for native apps; take https or 127.0.0.1".to_owned(),
            ),
            _ => ("name", error.to_string()),
        };
        Self { field, text: sentence(&text) }
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

fn failed() -> Response {
    page::error(503, "The registration failed", "Try again in a moment.")
}

fn entry(client: &Arc<Client>) -> Html {
    let redirect_uri = client.redirect_uris().first().map(RedirectUri::as_str);
    html! {
        "<section class=\"card\"><h2>" (client.name()) "</h2><dl>"
        "<dt>Client ID</dt><dd><code>" (client.id().as_str()) "</code></dd>"
        "<dt>Redirect URI</dt><dd><code>" (redirect_uri) "</code></dd>"
        (client.website().map(|website| html! { "<dt>Website</dt><dd>" (website) "</dd>" }))
        "</dl></section>"
    }
}

fn form_page(session: &Session, status: u16, entered: &Entered<'_>, problem: Option<&Problem>) -> Response {
    let problem_of = |field| problem.filter(|problem| problem.field == field).map(|problem| problem.text.as_str());
    let content = html! {
        "<div class=\"form\"><h1>Register an application</h1><p class=\"soft\">It can then ask the users of this "
        "server for access, and act for itself.</p>"
        (problem_of(FORM).map(|text| html! { "<p class=\"problem\" role=\"alert\">" (text) "</p>" }))
        "<form class=\"card\" method=\"post\" action=\"/applications/new\">" (page::csrf_field(session))
        (field("Name", "name", "Shown to users when they are asked.", entered.name, problem_of("name")))
        (field("Website (optional)", "website", "Its home page, such as https://app.example.",
            entered.website, problem_of("website")))
        (field("Redirect URI", "redirect_uri", "Where users come back to: https, or http on 127.0.0.1.",
            entered.redirect_uri, problem_of("redirect_uri")))
        "<button class=\"button\">Register</button></form></div>"
    };
    page::show(session, status, "Register an application", &content)
}

fn field(label: &str, name: &str, hint: &str, value: &str, problem: Option<&str>) -> Html {
    let invalid = problem.map(|_| html! { " aria-invalid=\"true\" autofocus" });
    let problem = problem.map(|text| html! { "<span class=\"problem\" role=\"alert\">" (text) "</span> " });
    html! {
        "<label>" (label) "<input name=\"" (name) "\" value=\"" (value) "\" maxlength=\"2000\" spellcheck=\"false\""
        " autocomplete=\"off\" aria-describedby=\"" (name) "-hint\"" (invalid) ">"
        "<small id=\"" (name) "-hint\">"
        (problem) (hint) "</small></label>"
    }
}

/// The only time the secret is seen: the server keeps its digest.
fn secret_page(session: &Session, name: &str, id: &ClientId, secret: &ClientSecret) -> Response {
    let content = html! {
        "<div class=\"form\"><h1>" (name) " is registered</h1><div class=\"card\">"
        "<p class=\"caution\"><strong>Copy the secret now.</strong> It is shown this once "
        "and can\u{2019}t be recovered.</p>"
        "<dl class=\"wide\"><dt>Client ID</dt><dd><code class=\"copy\" id=\"client_id\">" (id.as_str()) "</code></dd>"
        "<dt>Client secret</dt><dd><code class=\"copy\" id=\"client_secret\">" (secret.expose()) "</code></dd></dl>"
        "<a class=\"button\" href=\"/applications\">I have copied it</a></div></div>"
    };
    page::show(session, 200, "Application registered", &content)
}
