//! The pages on which users register applications.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Redirect, Response};
use grantor::axum::run_to_completion;
use grantor::client::{ClientCredential, ClientError, RegisteredBy};
use grantor::{Client, ClientId, ClientRegistry, ClientSecret, Subject};
use maud::{Markup, html};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::accounts::{self, Accounts};
use crate::app::App;
use crate::attempts::Changer;
use crate::authorize::website_link;
use crate::clients::keep_legacy_habits;
use crate::form::{self, AnyForm};
use crate::registration::ChangeError;
use crate::session::{Origin, Session};
use crate::{page, registration};

/// The fields of the registration form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entered {
    name: String,
    website: String,
    redirect_uri: String,
    /// A checkbox: there if it is checked.
    native: Option<String>,
}

/// A problem with a field, or with the whole [`FORM`].
pub(crate) struct Problem {
    pub(crate) field: &'static str,
    pub(crate) text: String,
}

/// The field of a problem that concerns no single field.
pub(crate) const FORM: &str = "";

/// `GET /applications`
pub(crate) async fn list(State(app): State<App>, session: Session) -> Result<Response, Redirect> {
    let user = session.require_user("/applications")?;
    let Ok(applications) = app.accounts.applications(user).await else {
        return Ok(page::error(503, "Your applications can\u{2019}t be shown", TRY_AGAIN));
    };
    let content = html! {
        div.heading {
            h1 { "Your applications" } a.button href="/applications/new" { "Register an application" }
        }
        @if applications.is_empty() { p.soft.empty { "You have not registered an application yet." } }
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
        // Another user may have logged in since.
        let text = "You logged in again after you opened this form. Check it, then submit it again.".to_owned();
        return Ok(form_page(&session, 409, &entered, Some(&Problem { field: FORM, text })));
    }
    if !app.attempts.begin_change(Changer::Owner(user)) {
        return Ok(too_fast());
    }
    let (Ok(id), Ok(secret)) = (ClientId::random(), ClientSecret::random()) else {
        return Ok(page::error(500, "The registration failed", TRY_AGAIN));
    };
    // An app on a user's device can't keep a secret (RFC 8252 §8.5).
    let secret = entered.native.is_none().then_some(secret);
    let client = match client(&app, &id, secret.as_ref(), &entered) {
        Ok(client) => client,
        Err(problem) => return Ok(form_page(&session, 422, &entered, Some(&problem))),
    };
    // Runs even if the browser disconnects. Otherwise a place would stay taken without an application to remove.
    let (accounts, clients, owner) = (Arc::clone(&app.accounts), Arc::clone(&app.clients), user.clone());
    let stored = run_to_completion(async move { store(&*accounts, &*clients, &owner, client).await });
    match stored.await {
        Ok(true) => Ok(secret_page(&session, entered.name.trim(), "is registered", &id, secret.as_ref(), None)),
        Ok(false) => Ok(form_page(&session, 422, &entered, Some(&too_many()))),
        Err(_) => Ok(failed()),
    }
}

/// Stores an application of an owner. Returns `false` if the owner has too many.
///
/// The owner comes first, so that concurrent requests can't exceed the limit. If the second step fails, both are undone:
/// the client first, because it may be stored although the step failed, and a client needs an owner.
async fn store(
    accounts: &dyn Accounts,
    clients: &dyn ClientRegistry,
    owner: &Subject,
    client: Client,
) -> accounts::Result<bool> {
    let id = client.id().clone();
    if !accounts.add_application(owner, &id, MOST).await? {
        return Ok(false);
    }
    if let Err(error) = clients.register(client).await {
        clients.remove(&id, OffsetDateTime::now_utc()).await?;
        accounts.remove_application(owner, &id).await?;
        return Err(error.into());
    }
    Ok(true)
}

/// Returns the client that the form describes, or the first problem. Without a secret, it is a native application.
fn client(app: &App, id: &ClientId, secret: Option<&ClientSecret>, entered: &Entered) -> Result<Client, Problem> {
    let scopes: Vec<&str> = app.scopes.iter().map(|(token, _)| token.as_str()).collect();
    let builder = match secret {
        // No administrator has checked it. Without a user, it may only manage its own registration.
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
                "custom schemes and localhost are for apps on a user\u{2019}s device: use https or 127.0.0.1"
                    .to_owned(),
            ),
            ClientError::UndottedScheme(uri) => (
                "redirect_uri",
                format!("{uri}: use a domain of yours as the scheme, and one slash, as in com.example.app:/callback"),
            ),
            ClientError::NoRedirectUri | ClientError::TooLarge => ("redirect_uri", error.to_string()),
            ClientError::ClientName => {
                ("name", "use 1 to 200 characters, without control, invisible and text-direction characters".to_owned())
            }
            _ => ("name", error.to_string()),
        };
        Self { field, text: sentence(&text) }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Client(error) => error.into(),
            // The other members take any text.
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

/// The most applications that one user can register. Registrations never expire.
const MOST: u32 = 20;

/// The advice if the server fails.
pub(crate) const TRY_AGAIN: &str = "The server has a problem. Please try again in a moment.";

fn too_many() -> Problem {
    let text = format!("You have registered {MOST} applications, which is the limit. Remove one to register another.");
    Problem { field: FORM, text }
}

pub(crate) fn too_fast() -> Response {
    page::error(429, "Too many changes", "You made many changes in a short time. Wait a moment, then try again.")
}

fn failed() -> Response {
    page::error(503, "The registration failed", TRY_AGAIN)
}

fn entry(client: &Client) -> Markup {
    let name = client.name().unwrap_or(client.id().as_str());
    html! {
        section.card {
            div.heading {
                h2 { bdi { (name) } }
                a href={ "/applications/change?client=" (client.id()) } {
                    "Change" span.unseen { " " bdi { (name) } }
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

/// Renders a text field. `dir` is `auto` for texts in any language, and `ltr` for addresses.
pub(crate) fn text_field([label, name, hint, dir]: [&str; 4], value: &str, problem: Option<&Problem>) -> Markup {
    let problem = problem.filter(|problem| problem.field == name);
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(value.trim()) maxlength="2000" spellcheck="false" autocomplete="off"
                dir=(dir) aria-describedby=(described_by(name, problem)) aria-invalid=[problem.map(|_| "true")]
                autofocus[problem.is_some()];
            (below_field(name, hint, problem))
        }
    }
}

/// Returns the identifiers of the elements that [`below_field`] renders.
pub(crate) fn described_by(name: &str, problem: Option<&Problem>) -> String {
    if problem.is_some() { format!("{name}-problem {name}-hint") } else { format!("{name}-hint") }
}

/// Renders the problem of a field, and a hint for it.
pub(crate) fn below_field(name: &str, hint: &str, problem: Option<&Problem>) -> Markup {
    html! {
        @if let Some(problem) = problem { span.problem id={ (name) "-problem" } role="alert" { (problem.text) } }
        small id={ (name) "-hint" } { (hint) }
    }
}

fn form_page(session: &Session, status: u16, entered: &Entered, problem: Option<&Problem>) -> Response {
    let of_form = problem.filter(|problem| problem.field == FORM).map(|problem| problem.text.as_str());
    let uri_hint = "Users return to this address: https, or http on 127.0.0.1.";
    let content = html! {
        div.form {
            h1 { "Register an application" }
            p.soft { "It can then ask the users of this server for access to their accounts." }
            (page::problem("problem", of_form))
            form.card method="post" action="/applications/new" {
                (page::csrf_field(session))
                (text_field(["Name", "name", NAME_HINT, "auto"], &entered.name, problem))
                (text_field(["Website (optional)", "website", WEBSITE_HINT, "ltr"], &entered.website, problem))
                (text_field(["Redirect URI", "redirect_uri", uri_hint, "ltr"], &entered.redirect_uri, problem))
                label.permission {
                    input type="checkbox" name="native" value="yes" checked[entered.native.is_some()];
                    span {
                        "It is an app on the user\u{2019}s device"
                        small { "It gets no secret, and may use a custom scheme such as com.example.app:/callback." }
                    }
                }
                button.button { "Register" }
            }
        }
    };
    page::show(session, status, "Register an application", &content)
}

pub(crate) const NAME_HINT: &str = "Users see it when they are asked for access.";
pub(crate) const WEBSITE_HINT: &str = "Its home page, such as https://app.example.";

/// Shows a new secret. This is the only time: the server stores a digest of it.
pub(crate) fn secret_page(
    session: &Session,
    name: &str,
    news: &str,
    id: &ClientId,
    secret: Option<&ClientSecret>,
    note: Option<&str>,
) -> Response {
    let content = html! {
        div.form {
            h1 { bdi { (name) } " " (news) }
            div.card {
                @if secret.is_some() {
                    p.caution { strong { "Copy the secret now." } " It is shown only once." }
                }
                dl.wide {
                    dt { "Client ID" } dd { code.copy #client_id { (id.as_str()) } }
                    @if let Some(secret) = secret {
                        dt { "Client secret" } dd { code.copy #client_secret { (secret.expose()) } }
                    }
                }
                @if let Some(note) = note { p { (note) } }
                a.button href="/applications" { "Go to your applications" }
            }
        }
    };
    page::show(session, 200, &format!("{} {news}", page::isolated(name)), &content)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use grantor::client::ClientVersion;
    use grantor::storage::RegistryError;
    use grantor::{ClientStore, MemoryStorage, StorageError};

    use super::*;
    use crate::accounts::MemoryAccounts;

    #[test]
    fn error_of_a_name_names_no_member() {
        let client = Client::public("app").name("a\u{202e}b").authorization_code(["https://app.example/cb"]);
        let Problem { field, text } = client.build().unwrap_err().into();
        assert_eq!(field, "name");
        assert_eq!(text, "Use 1 to 200 characters, without control, invisible and text-direction characters.");
    }

    /// Stores each client and then reports a failure, as after a lost response of a database.
    struct Failing(MemoryStorage);

    #[async_trait]
    impl ClientStore for Failing {
        async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
            self.0.find_client(id).await
        }
    }

    #[async_trait]
    impl ClientRegistry for Failing {
        async fn register(&self, client: Client) -> Result<(), RegistryError> {
            self.0.register(client).await?;
            Err(StorageError::unavailable("the response was lost").into())
        }

        async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError> {
            self.0.update(client, expected).await
        }

        async fn rotate_credential(
            &self,
            id: &ClientId,
            new: ClientCredential,
            others_end: OffsetDateTime,
        ) -> Result<(), RegistryError> {
            self.0.rotate_credential(id, new, others_end).await
        }

        async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
            self.0.remove(id, at).await
        }

        async fn list_clients(
            &self,
            after: Option<&ClientId>,
            limit: usize,
        ) -> Result<Vec<Arc<Client>>, RegistryError> {
            self.0.list_clients(after, limit).await
        }
    }

    // Regression: each failed registration took a place for good. Its application was in no list, so the user could not
    // remove it.
    #[tokio::test]
    async fn failed_registration_takes_no_place() {
        let (storage, user) = (MemoryStorage::new(), Subject::new("ada").unwrap());
        let accounts = MemoryAccounts::new(storage.clone());
        accounts.put_user(&user, "hash").await.unwrap();
        let client = |number: u32| {
            let client = Client::public(format!("app-{number}")).authorization_code(["https://app.example/cb"]);
            client.build().unwrap()
        };
        let failing = Failing(storage.clone());
        for number in 0..=MOST {
            assert!(store(&accounts, &failing, &user, client(number)).await.is_err());
        }
        assert!(storage.list_clients(None, 1).await.unwrap().is_empty());
        for number in 0..MOST {
            assert!(store(&accounts, &storage, &user, client(number)).await.unwrap());
        }
        assert!(!store(&accounts, &storage, &user, client(MOST)).await.unwrap());
    }
}
