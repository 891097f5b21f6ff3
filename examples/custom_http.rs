//! A provider on plain hyper, without a framework: `cargo run --example custom_http --features http`, then follow the
//! printed steps.
//!
//! `to_grantor` and `to_hyper` connect the HTTP stack. The feature `http` converts the types of the crate `http`, which
//! hyper uses. There is no login: every visitor is alice. The cookie binds the consent form to the browser.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use grantor::authorize::escape;
use grantor::{Approval, AuthorizationServer, Client, ClientRegistry, CodeChallenge, CodeVerifier, Consent};
use grantor::{Interaction, MemoryStorage, Refusal, Request, Response, Route, Subject};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{HeaderValue, SET_COOKIE};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};

type Answer = hyper::Response<Full<Bytes>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
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
    println!("open {issuer}/authorize?{query}&code_challenge={}", challenge.as_str());
    let form = format!("grant_type=authorization_code&client_id=demo&{callback}&code_verifier={}", verifier.expose());
    println!("curl {issuer}/token -d '{form}' -d code=CODE\ncurl {issuer}/me -H 'Authorization: Bearer TOKEN'");

    loop {
        // It fails if no file descriptor is free, for example. A peer can cause that with many connections.
        let Ok((tcp, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let oauth = oauth.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| serve(oauth.clone(), request, peer));
            // An error concerns this connection only. With the timer, hyper waits 30 seconds for headers.
            let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(tcp), service).await;
        });
    }
}

/// Hyper drops this future if the client disconnects. The spawned task still finishes, so no decision is lost halfway.
pub(crate) async fn serve(
    oauth: AuthorizationServer,
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
) -> Result<Answer, BoxError> {
    let request = to_grantor(&oauth, request, peer).await;
    tokio::spawn(async move { answer(&oauth, &request).await }).await?
}

async fn answer(oauth: &AuthorizationServer, request: &Request) -> Result<Answer, BoxError> {
    Ok(match request.path() {
        "/authorize" => match oauth.interaction(request, Some(&Subject::new("alice")?.into())).await {
            Interaction::Consent(consent) => consent_page(&consent, &cookie(request).unwrap_or_else(random_text))?,
            Interaction::Proceed(proceed) => to_hyper(proceed.approve().await),
            Interaction::Respond(response) => to_hyper(response),
            // There is no login page, so alice can neither log in again nor choose another account.
            Interaction::Login(login) => to_hyper(login.fail(Refusal::LoginRequired)),
            Interaction::SelectAccount(accounts) => to_hyper(accounts.fail(Refusal::AccountSelectionRequired)),
        },
        "/consent" => match oauth.resume_form(request, cookie(request).unwrap_or_default()).await {
            Err(error) => to_hyper(error.to_response()),
            Ok((consent, form)) if form.approved => {
                to_hyper(consent.approve(Approval::by(Subject::new("alice")?)).await)
            }
            Ok((consent, _)) => to_hyper(consent.deny().await),
        },
        "/me" => match oauth.bearer(request).await.and_then(|token| token.require("profile")) {
            Err(error) => to_hyper(error.to_response()),
            Ok(access) => match access.user() {
                Err(error) => to_hyper(error.to_response()),
                Ok(user) => Answer::new(format!("You are {user}.").into()),
            },
        },
        "/callback" => Answer::new("The code is in the address of this page.".into()),
        // Token, revocation, introspection, metadata and CORS; 404 for any other path.
        _ => to_hyper(oauth.handle(request).await),
    })
}

/// The form token seals the request and binds it to the cookie, so no other site can forge the form.
fn consent_page(consent: &Consent, cookie: &str) -> Result<Answer, BoxError> {
    let request = consent.request();
    let (client, host) = (escape(request.client().id().as_str()), escape(request.redirect_host().unwrap_or_default()));
    let wanted: Vec<String> = request.scopes().map(|scope| escape(scope.description)).collect();
    let page = format!(
        "<!doctype html><html lang=en><meta name=viewport content=width=device-width><title>Allow?</title>\
         <main><h1>{client} wants to: {}</h1><p>You then go to {host}.</p>\
         <form method=\"post\" action=\"/consent\"><input type=\"hidden\" name=\"form_token\" value=\"{}\">\
         <button name=\"decision\" value=\"approve\">Allow</button> <button>Deny</button></form></main>",
        wanted.join(", "),
        consent.form_token(cookie)
    );
    let mut answer = to_hyper(Response::page(200, page));
    let cookie = HeaderValue::try_from(format!("browser={cookie}; Path=/; HttpOnly; SameSite=Lax"))?;
    answer.headers_mut().append(SET_COOKIE, cookie);
    Ok(answer)
}

fn cookie(request: &Request) -> Option<String> {
    let lines = request.header_values("cookie").filter_map(|line| str::from_utf8(line).ok());
    lines.flat_map(|line| line.split("; ")).find_map(|pair| pair.strip_prefix("browser=")).map(str::to_owned)
}

/// Passes everything on unchanged: repeated headers, the raw query, and a body up to the limit of its route.
async fn to_grantor(oauth: &AuthorizationServer, request: hyper::Request<Incoming>, peer: SocketAddr) -> Request {
    let (parts, body) = request.into_parts();
    let own = Request::from(&parts).with_peer(peer.ip());
    let max_body = oauth.route(parts.uri.path()).map_or(oauth.policy().max_body, Route::max_body);
    if body.size_hint().lower() > max_body as u64 {
        return own.with_body_too_large(); // The client announced it.
    }
    let deadline = oauth.policy().body_deadline.unsigned_abs();
    match tokio::time::timeout(deadline, Limited::new(body, max_body).collect()).await {
        Ok(Ok(body)) => own.with_body(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => own.with_body_too_large(),
        Ok(Err(_)) => own.with_broken_body(),
        Err(_) => own.with_late_body(),
    }
}

fn to_hyper(response: impl Into<hyper::Response<Vec<u8>>>) -> Answer {
    response.into().map(Full::from)
}

fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
