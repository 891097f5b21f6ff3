use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use axum::Router;
use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use grantor::axum::{require, routes, run_to_completion};
use grantor::{Access, Approval, AuthenticatorError, AuthorizationServer, BearerError, Client};
use grantor::{
    ClientRegistry, ClientSecrets, Consent, Interaction, Limiter, MemoryStorage, Params,
};
use grantor::{PendingAuthorization, Request, Subject, UserSession, Verdict};
use maud::{DOCTYPE, Markup, html};
use tokio::sync::Semaphore;
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{self, Id};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

/// The address that browsers and clients use. In production: `https`, and your domain.
const ISSUER: &str = "http://localhost:3000";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let storage = MemoryStorage::new();
    let demo = Client::native("demo") // or `confidential`, with a secret
        .name("Demo")
        .authorization_code(["http://127.0.0.1/callback"]) // any port
        .refresh_token()
        .scope("user:read user:write");
    storage.register(demo.build()?).await?;

    let password = Id::default().to_string(); // random
    println!("Log in as alice with the password {password}");
    let users = Users::new([("alice", password.as_str())])?;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let app = app(storage, users).await?.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}

#[derive(Clone)]
struct App {
    oauth: AuthorizationServer,
    users: Arc<Users>,
    limiter: Arc<Limiter<ClientSecrets>>,
}

/// Lets the library's extractors find the server.
impl FromRef<App> for AuthorizationServer {
    fn from_ref(app: &App) -> Self {
        app.oauth.clone() // cheap: it shares the server
    }
}

async fn app(storage: MemoryStorage, users: Users) -> Result<Router, Box<dyn Error>> {
    let limiter = Arc::new(Limiter::new(ClientSecrets)); // ten failures a minute
    let oauth = AuthorizationServer::builder(ISSUER)
        .storage(storage)
        .authenticator(limiter.clone())
        .scope("user:read", "Read your profile")
        .scope("user:write", "Change your profile")
        .build()
        .await?;
    let sessions = SessionManagerLayer::new(MemoryStore::default()) // its cookie is HttpOnly
        .with_same_site(SameSite::Lax) // `Strict` would drop the cookie on links from clients
        .with_secure(ISSUER.starts_with("https:"));
    let pages = Router::new()
        .route("/authorize", any(authorize))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/consent", post(decide))
        .layer(sessions);
    Ok(Router::new()
        .route("/me", get(me).layer(require(&oauth, ["user:read"])))
        .merge(pages)
        .merge(routes(&oauth)) // token, revocation, introspection, metadata
        .with_state(App { oauth, users: Arc::new(users), limiter }))
}

/// The authorization endpoint: the library decides what has to happen next.
async fn authorize(
    State(app): State<App>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let user = logged_in(&session).await?;
    Ok(match app.oauth.interaction(&request, user.as_ref()).await {
        Interaction::Login(login) => {
            login_page(&session, 200, &login.return_target(), Some(login.request()), "").await?
        }
        Interaction::SelectAccount(accounts) => {
            login_page(&session, 200, &accounts.return_target(), Some(accounts.request()), "")
                .await?
        }
        Interaction::Consent(consent) => consent_page(&session, &consent).await?,
        // The user agreed before, or the client is your own.
        Interaction::Proceed(proceed) => run_to_completion(proceed.approve()).await.into_response(),
        // An error, for the browser or for the client.
        Interaction::Respond(response) => response.into_response(),
    })
}

/// A field of a form, or an empty text.
fn field<'a>(form: &'a Params<'_>, name: &'static str) -> &'a str {
    form.get(name).ok().flatten().unwrap_or_default()
}

async fn log_in(
    State(app): State<App>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let form = Params::decode(request.body());
    // Only targets of this server: any other address would be an open redirect.
    let Some(target) = app.oauth.check_return_target(field(&form, "return_target")) else {
        let body = html! { p { "Please go back to the application and try again." } };
        return Ok(page(400, "This page was too old", &body));
    };
    // Without this check, another site could log its visitors in as somebody else.
    if form_secret(&session).await? != field(&form, "form_secret") {
        let problem = "This page was too old. Please try again.";
        return login_page(&session, 403, target, None, problem).await;
    }
    let name = field(&form, "name");
    let check = app.users.check(name, field(&form, "password"));
    match app.limiter.limit_login(name, request.peer(), app.oauth.now(), check).await? {
        Verdict::Accepted(user) => {
            // The session gets new values, because somebody may know the old values.
            session.cycle_id().await?;
            session.insert("form_secret", Id::default().to_string()).await?;
            session.insert("login", (user, app.oauth.now())).await?;
            Ok(Redirect::to(target).into_response())
        }
        Verdict::Rejected => {
            let problem = "The user name or the password is wrong.";
            login_page(&session, 403, target, None, problem).await
        }
        Verdict::Throttled { .. } => {
            let problem = "Too many attempts. Wait a minute, then try again.";
            login_page(&session, 429, target, None, problem).await
        }
    }
}

async fn log_out(
    State(app): State<App>,
    session: Session,
    request: Request,
) -> Result<Redirect, Failure> {
    let form = Params::decode(request.body());
    if form_secret(&session).await? == field(&form, "form_secret") {
        session.flush().await?;
    }
    let target = app.oauth.check_return_target(field(&form, "return_target"));
    Ok(Redirect::to(target.unwrap_or("/")))
}

/// The form of the consent page.
async fn decide(
    State(app): State<App>,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (user, secret) = (logged_in(&session).await?, form_secret(&session).await?);
    let (consent, form) = match app.oauth.resume_form(&request, secret).await {
        Ok(resumed) => resumed,
        // The form is forged, changed or too old: a page that leads back to the request.
        Err(error) => return Ok(error.into_response()),
    };
    let answer = match user {
        Some(user) if form.approved => {
            run_to_completion(consent.approve(Approval::by(user).scope(form.scope))).await
        }
        _ => run_to_completion(consent.deny()).await,
    };
    Ok(answer.into_response())
}

/// Your API. `require` responds with 401 if the token is missing, and 403 if the scope is missing.
async fn me(access: Access) -> Result<String, BearerError> {
    Ok(format!("You are {}.", access.user()?)) // a token without a user gets 403
}

/// The user who is logged in, and since when.
async fn logged_in(session: &Session) -> Result<Option<UserSession>, Failure> {
    let login = session.get("login").await?;
    Ok(login.map(|(user, at)| UserSession::new(user).authenticated_at(at)))
}

/// A random value of this session. Every form carries it, or a value made from it, so that no other
/// site can send a form.
async fn form_secret(session: &Session) -> Result<String, Failure> {
    if let Some(secret) = session.get("form_secret").await? {
        return Ok(secret);
    }
    let secret = Id::default().to_string(); // 128 random bits
    session.insert("form_secret", &secret).await?;
    Ok(secret)
}

/// `request` is `Some` if an application sent the browser here.
async fn login_page(
    session: &Session,
    status: u16,
    target: &str,
    request: Option<&PendingAuthorization>,
    problem: &str,
) -> Result<Response, Failure> {
    let secret = form_secret(session).await?;
    let name = request.and_then(PendingAuthorization::login_hint).unwrap_or_default();
    let body = html! {
        @if let Some(request) = request {
            p { "Log in to continue to " bdi { (client_name(request)) } "." }
        }
        @if !problem.is_empty() { p role="alert" { (problem) } }
        form method="post" action="/login" {
            input type="hidden" name="form_secret" value=(secret);
            input type="hidden" name="return_target" value=(target);
            label {
                "User name "
                input name="name" value=(name) autocomplete="username" required;
            } " "
            label {
                "Password "
                input name="password" type="password" autocomplete="current-password" required;
            } " "
            button { "Log in" }
        }
    };
    Ok(page(status, "Log in", &body))
}

async fn consent_page(session: &Session, consent: &Consent) -> Result<Response, Failure> {
    let secret = form_secret(session).await?;
    let (request, user) = (consent.request(), logged_in(session).await?);
    let lifetime = request.lifetime();
    let body = html! {
        @if let Some(user) = user {
            form method="post" action="/logout" {
                input type="hidden" name="form_secret" value=(secret);
                input type="hidden" name="return_target" value=(request.return_target());
                "You are logged in as " bdi { (user.subject) } ". "
                button { "Not you? Log out" }
            }
        }
        form method="post" action="/consent" {
            // Pressing the Enter key in a checkbox submits the form with its first button. This
            // button does nothing.
            button.unseen formmethod="dialog" tabindex="-1" aria-hidden="true" {}
            input type="hidden" name="form_token" value=(consent.form_token(&secret));
            p { bdi { (client_name(request)) } " wants to:" }
            @for scope in request.scopes() {
                p {
                    label {
                        input type="checkbox" name="scope" value=(scope.token) checked;
                        " " (scope.description)
                    }
                }
            }
            p {
                "Access lasts for "
                @if lifetime.whole_days() > 0 { (lifetime.whole_days()) " days" }
                @else { (lifetime.whole_minutes()) " minutes" }
                " at most. "
                @if let Some(host) = request.redirect_host() {
                    "You will return to " strong { (host) } "."
                }
            }
            button name="decision" value="approve" { "Allow" } " "
            button name="decision" value="deny" { "Deny" }
        }
    };
    Ok(page(200, "Allow access?", &body))
}

fn client_name(request: &PendingAuthorization) -> &str {
    let client = request.client();
    client.name().unwrap_or(client.id().as_str())
}

const STYLE: &str = "body { max-width: 30em; margin: 2em auto; padding: 0 1em }
    body { font-family: sans-serif; overflow-wrap: anywhere }
    .unseen { position: absolute; clip-path: inset(50%) }";

/// A page that browsers neither store nor show in a frame. `maud` escapes the values in it.
fn page(status: u16, title: &str, body: &Markup) -> Response {
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta name="viewport" content="width=device-width";
                title { (title) }
                style { (STYLE) }
            }
            body { h1 { (title) } (body) }
        }
    };
    grantor::Response::page(status, html.into_string()).into_response()
}

/// Users, and the hashes of their passwords. Yours are in your database.
struct Users {
    hashes: HashMap<String, String>,
    /// The hash for unknown users. With it, an attempt takes as long as for a known user, and does
    /// not reveal whether the account exists.
    decoy: String,
    /// Each hash uses a processor and 19 MiB, so only two are computed at the same time.
    workers: Arc<Semaphore>,
}

impl Users {
    fn new<'a>(
        passwords: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Box<dyn Error>> {
        let hash = |password: &str| -> Result<String, Box<dyn Error>> {
            Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
        };
        let mut hashes = HashMap::new();
        for (name, password) in passwords {
            hashes.insert(name.to_owned(), hash(password)?);
        }
        Ok(Self {
            hashes,
            decoy: hash(&Id::default().to_string())?,
            workers: Arc::new(Semaphore::new(2)),
        })
    }

    async fn check(
        &self,
        name: &str,
        password: &str,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        let (known, password) = (self.hashes.get(name), password.to_owned());
        let hash = known.unwrap_or(&self.decoy).clone();
        let worker = self.workers.clone().acquire_owned().await.map_err(AuthenticatorError::new)?;
        let matches = tokio::task::spawn_blocking(move || {
            let _worker = worker; // held even if the browser disconnects
            Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok()
        });
        let matches = matches.await.map_err(AuthenticatorError::new)?;
        match (Subject::new(name), known) {
            (Ok(user), Some(_)) if matches => Ok(Verdict::Accepted(user)),
            _ => Ok(Verdict::Rejected),
        }
    }
}

/// The sessions or the users can't be read.
struct Failure(Box<dyn Error + Send + Sync>);

impl From<session::Error> for Failure {
    fn from(error: session::Error) -> Self {
        Self(error.into())
    }
}

impl From<AuthenticatorError> for Failure {
    fn from(error: AuthenticatorError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("request failed: {}", self.0);
        page(503, "Please try again in a moment", &html! {})
    }
}
