//! A provider for one user, on actix-web: `cargo run --example actix --features actix-web`, then follow what it prints.
//! Alice's password is drawn at every start, so nobody guesses it; a provider for many people hashes theirs slowly and
//! limits attempts, as `examples/server` does. Served over https, it gives its cookie the attribute `Secure`.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use actix_web::http::header::{HeaderValue, SET_COOKIE};
use actix_web::web::{Data, get, post};
use actix_web::{App, HttpResponse, HttpServer, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use grantor::actix::{routes, run_to_completion};
use grantor::{Approval, AuthorizationServer, Authorize, Bearer, BearerError, Client, ClientRegistry, CodeChallenge};
use grantor::{CodeVerifier, MemoryStorage, PendingAuthorization, Request, Subject, authorize::escape};
use subtle::ConstantTimeEq;
use url::form_urlencoded::parse;

struct Host {
    oauth: AuthorizationServer,
    alice: Subject,
    password: String,
    logged_in: Mutex<HashSet<String>>,
}

/// A browser, known by the random value of its cookie, and who is logged in there.
struct Session(String, Option<Subject>);

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8080"))?;
    let issuer = format!("http://{}", listener.local_addr()?);
    let storage = MemoryStorage::new();
    let demo = Client::native("demo").scope("profile").authorization_code(["http://127.0.0.1/callback"]);
    storage.register(demo.build()?).await?;
    let oauth = AuthorizationServer::builder(&issuer).storage(storage).scope("profile", "See your name").build()?;
    let (alice, password, verifier) = (Subject::new("alice")?, random_text(), CodeVerifier::new(random_text()));
    let (challenge, callback) = (CodeChallenge::s256(&verifier), format!("redirect_uri={issuer}/callback"));
    let query = format!("response_type=code&client_id=demo&{callback}&scope=profile&code_challenge_method=S256");
    println!("open {issuer}/authorize?{query}&code_challenge={}", challenge.as_str());
    println!("the password is {password}");
    let form = format!("grant_type=authorization_code&client_id=demo&{callback}&code_verifier={}", verifier.expose());
    println!("curl {issuer}/token -d '{form}' -d code=CODE\ncurl {issuer}/me -H 'Authorization: Bearer TOKEN'");
    let host = Data::new(Host { oauth, alice, password, logged_in: Mutex::default() });
    let app = move || {
        App::new()
            .app_data(host.clone())
            .configure(routes(&host.oauth))
            .route("/authorize", get().to(authorize))
            .route("/answer", post().to(answer))
            .route("/callback", get().to(async || "The code is in the address of this page."))
            .route("/me", get().to(me))
    };
    Ok(HttpServer::new(app).listen(listener)?.run().await?)
}

async fn authorize(host: Data<Host>, request: Request) -> HttpResponse {
    match host.oauth.authorize(&request).await {
        Authorize::Respond(response) => response.into(),
        Authorize::Pending(pending) => ask(&pending, &host.session(&request), 200, ""),
    }
}

/// Takes the form back: first with the password, then with the decision.
async fn answer(host: Data<Host>, request: Request) -> Result<HttpResponse> {
    let session = host.session(&request);
    let (pending, form) = host.oauth.resume_form(&request, &session.0).await?;
    if let Some(user) = session.1 {
        let act = async move { if form.approved { pending.approve(Approval::by(user)).await } else { pending.deny() } };
        return Ok(run_to_completion(act).await.into());
    }
    let typed = parse(request.body()).find(|(name, _)| name == "password").unwrap_or_default().1;
    if !bool::from(host.password.as_bytes().ct_eq(typed.as_bytes())) {
        return Ok(ask(&pending, &session, 403, "The password is wrong."));
    }
    // A new session: a cookie that somebody has seen or planted before is worth nothing after the login.
    let session = Session(random_text(), Some(host.alice.clone()));
    host.logged_in.lock().unwrap_or_else(PoisonError::into_inner).insert(session.0.clone());
    Ok(ask(&pending, &session, 200, ""))
}

async fn me(token: Bearer) -> Result<String, BearerError> {
    Ok(format!("You are {}.", token.require("profile")?.user()?))
}

impl Host {
    fn session(&self, request: &Request) -> Session {
        let cookies = request.header_values("cookie").filter_map(|line| str::from_utf8(line).ok());
        let id = cookies.flat_map(|line| line.split("; ")).find_map(|cookie| cookie.strip_prefix("session="));
        let logged_in = self.logged_in.lock().unwrap_or_else(PoisonError::into_inner);
        let user = id.filter(|id| logged_in.contains(*id)).map(|_| self.alice.clone());
        Session(id.map_or_else(random_text, str::to_owned), user)
    }
}

/// The form carries the request, sealed and bound to the session: no other site can send it, nobody can change it.
fn ask(pending: &PendingAuthorization, Session(id, user): &Session, status: u16, problem: &str) -> HttpResponse {
    let (client, host) = (escape(pending.client().id().as_str()), escape(pending.redirect_host().unwrap_or_default()));
    let wishes: Vec<String> = pending.scopes().map(|scope| escape(scope.description)).collect();
    let fields = match user {
        None => "<input type=\"password\" name=\"password\" placeholder=\"Alice's password\"><button>Log in</button>",
        Some(_) => "<button name=\"decision\" value=\"approve\">Allow</button> <button>Deny</button>",
    };
    let page = format!(
        "<!doctype html><meta name=viewport content=width=device-width><title>Allow?</title><h1>{client} wants to: {}</h1>\
         <p>Then it takes you to {host}.</p><p role=\"alert\">{problem}</p>\
         <form method=\"post\" action=\"/answer\"><input type=\"hidden\" name=\"form_token\" value=\"{}\">{fields}</form>",
        wishes.join(", "),
        pending.form_token(id)
    );
    let mut response = HttpResponse::from(grantor::Response::page(status, page));
    if let Ok(cookie) = HeaderValue::try_from(format!("session={id}; Path=/; HttpOnly; SameSite=Lax")) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
