//! A provider for one user, on axum: `cargo run --example axum --features axum`, then follow what it prints. Alice's
//! password is random and new at each start. With passwords that people choose, hash them slowly and limit attempts, as
//! `examples/server` does. Over https, add `Secure` to the cookie.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Router, extract::State, http::StatusCode, http::header::SET_COOKIE};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use grantor::axum::{require, routes, run_to_completion};
use grantor::{Access, Approval, AuthorizationResponse, AuthorizationServer, BearerError, Client, ClientRegistry};
use grantor::{Clock, CodeChallenge, CodeVerifier, Consent, Interaction, MemoryStorage, Request, Response as Page};
use grantor::{Subject, SystemClock, UserSession, authorize::escape};
use subtle::ConstantTimeEq;
use url::form_urlencoded::parse;

static PASSWORD: LazyLock<String> = LazyLock::new(random_text);
/// The users who are logged in, by the random value of their cookies.
static SESSIONS: Mutex<BTreeMap<String, UserSession>> = Mutex::new(BTreeMap::new());

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener =
        tokio::net::TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8080")).await?;
    let port = listener.local_addr()?.port(); // Two hosts, because cookies go to all ports of a host.
    let (issuer, app) = (format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}"));
    let storage = MemoryStorage::new();
    let demo = Client::native("demo").scope("profile").authorization_code(["http://127.0.0.1/callback"]);
    storage.register(demo.build()?).await?;
    let oauth =
        AuthorizationServer::builder(&issuer).storage(storage).scope("profile", "See your name").build().await?;
    let verifier = CodeVerifier::new(random_text());
    let (challenge, callback) = (CodeChallenge::s256(&verifier), format!("redirect_uri={app}/callback"));
    let query = format!("response_type=code&client_id=demo&{callback}&scope=profile&code_challenge_method=S256");
    println!("open {issuer}/authorize?{query}&code_challenge={}\nthe password is {}", challenge.as_str(), *PASSWORD);
    let form = format!("grant_type=authorization_code&client_id=demo&{callback}&code_verifier={}", verifier.expose());
    println!("curl {issuer}/token -d '{form}' -d code=CODE\ncurl {issuer}/me -H 'Authorization: Bearer TOKEN'");
    let router = Router::new()
        .route("/authorize", any(authorize))
        .route("/login", post(log_in))
        .route("/consent", post(decide))
        .route("/callback", get("The code is in the address of this page."))
        .route("/me", get(me).layer(require(&oauth, ["profile"])))
        .merge(routes(&oauth))
        .with_state(oauth);
    Ok(axum::serve(listener, router).await?)
}

async fn authorize(State(oauth): State<AuthorizationServer>, request: Request) -> Response {
    let (id, user) = session(&request);
    match oauth.interaction(&request, user.as_ref()).await {
        Interaction::Login(login) => ask_password(200, "Log in", &login.return_target()),
        Interaction::SelectAccount(accounts) => ask_password(200, "Log in again", &accounts.return_target()),
        Interaction::Consent(consent) => ask_consent(&consent, &id),
        Interaction::Proceed(proceed) => run_to_completion(proceed.approve()).await.into_response(),
        Interaction::Respond(response) => response.into_response(),
    }
}

/// Needs no CSRF token: a form of another site could log in only alice, and only with her password.
async fn log_in(State(oauth): State<AuthorizationServer>, request: Request) -> Result<Response, StatusCode> {
    let field = |name| parse(request.body()).find(|(own, _)| own == name).unwrap_or_default().1;
    let (target, password) = (field("return_target"), field("password"));
    let target = oauth.check_return_target(&target).ok_or(StatusCode::BAD_REQUEST)?;
    if !bool::from(PASSWORD.as_bytes().ct_eq(password.as_bytes())) {
        return Ok(ask_password(403, "The password is wrong", target));
    }
    let alice = Subject::new("alice").map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let (id, user) = (random_text(), UserSession::new(alice).authenticated_at(SystemClock.now()));
    let cookie = format!("session={id}; Path=/; HttpOnly; SameSite=Lax");
    SESSIONS.lock().unwrap_or_else(PoisonError::into_inner).insert(id, user);
    Ok(([(SET_COOKIE, cookie)], Redirect::to(target)).into_response())
}

async fn decide(State(oauth): State<AuthorizationServer>, request: Request) -> Result<AuthorizationResponse, Page> {
    let (id, user) = session(&request);
    let (consent, form) = oauth.resume_form(&request, id).await?;
    let Some(user) = user.filter(|_| form.approved) else { return Ok(run_to_completion(consent.deny()).await) };
    Ok(run_to_completion(consent.approve(Approval::by(user))).await)
}

async fn me(access: Access) -> Result<String, BearerError> {
    Ok(format!("You are {}.", access.user()?))
}

fn session(request: &Request) -> (String, Option<UserSession>) {
    let cookies = request.header_values("cookie").filter_map(|line| str::from_utf8(line).ok());
    let id = cookies.flat_map(|line| line.split("; ")).find_map(|cookie| cookie.strip_prefix("session="));
    let id = id.unwrap_or_default();
    (id.to_owned(), SESSIONS.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned())
}

fn ask_password(status: u16, title: &str, return_target: &str) -> Response {
    let fields = "<label>Alice's password <input type=\"password\" name=\"password\"></label> <button>Log in</button>";
    page(status, title, ["/login", "return_target", &escape(return_target)], fields)
}

/// The form token seals the request and binds it to the session, so no other site can forge the form.
fn ask_consent(consent: &Consent, session: &str) -> Response {
    let request = consent.request();
    let (client, host) = (escape(request.client().id().as_str()), escape(request.redirect_host().unwrap_or_default()));
    let wanted: Vec<String> = request.scopes().map(|scope| escape(scope.description)).collect();
    let title = format!("{client} wants to: {}. You then go to {host}", wanted.join(", "));
    let fields = "<button name=\"decision\" value=\"approve\">Allow</button> <button>Deny</button>";
    page(200, &title, ["/consent", "form_token", &consent.form_token(session)], fields)
}

fn page(status: u16, title: &str, [action, name, value]: [&str; 3], fields: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=en><meta name=viewport content=width=device-width><title>{title}</title><main><h1>{title}</h1>\
         <form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"{name}\" value=\"{value}\">{fields}</form></main>"
    );
    Page::page(status, page).into_response()
}

fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
