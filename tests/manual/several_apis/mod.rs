//! Runs the code of the page about several APIs.
#![allow(unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod app;
mod files_api;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use grantor::error::BoxError;
use grantor::resource_server::{Introspector, OutgoingRequest, ReceivedResponse};
use grantor::testing::approve;
use grantor::{
    AccessToken, Approval, AuthorizationRequest, AuthorizationServer, Client, ClientCredential, ClientRegistry,
    ClientSecret, CodeVerifier, MemoryStorage, Subject, TokenRequest,
};
use tower::ServiceExt;

const CB: &str = "https://app.example/cb";
const SECRET: &str = "the secret of the files API";

/// Calls the introspection endpoint without a network.
struct InProcess(AuthorizationServer);

#[async_trait::async_trait]
impl Introspector for InProcess {
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
        let own = grantor::Request::new("POST", "/introspect");
        let response = self.0.introspect(&own.with_headers(request.headers()).with_body(request.body())).await;
        let mut received = ReceivedResponse::new(response.status(), response.header("content-type").unwrap());
        received.push(response.body(), request)?;
        Ok(received)
    }
}

/// The server, with an application and the API in another process.
async fn server() -> AuthorizationServer {
    let storage = MemoryStorage::new();
    let client = Client::public("app").authorization_code([CB]).scope("notes:read mail:read files:read");
    storage.register(client.build().unwrap()).await.unwrap();
    let api = Client::confidential("files-api", ClientCredential::secret(&ClientSecret::new(SECRET)));
    storage.register(api.resource_server().build().unwrap()).await.unwrap();
    app::server(storage).await.unwrap()
}

async fn token_for(oauth: &AuthorizationServer, resource: &str) -> AccessToken {
    let (verifier, challenge) =
        ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let request = AuthorizationRequest::code("app").redirect_uri(CB).scope("notes:read mail:read files:read");
    let request = request.code_challenge_s256(challenge).parameter("resource", resource);
    let pending = oauth.authorization_request(&request).await.unwrap();
    let answer = approve(pending, Approval::by(Subject::new("alice").unwrap())).await;
    let code = answer.code().unwrap();
    let verifier = CodeVerifier::new(verifier);
    let request = TokenRequest::authorization_code(code).client_id("app").redirect_uri(CB).code_verifier(&verifier);
    oauth.token_request(&request).await.unwrap().access_token
}

async fn asked(oauth: &AuthorizationServer, path: &str, token: &AccessToken) -> (u16, String) {
    let request = Request::get(path).header("authorization", format!("Bearer {}", token.expose()));
    let answer = app::app(oauth).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, String::from_utf8(to_bytes(answer.into_body(), 1000).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn each_api_accepts_only_its_own_tokens() {
    let oauth = server().await;
    let files = files_api::files_api(&ClientSecret::new(SECRET), InProcess(oauth.clone())).unwrap();
    for (resource, statuses) in [
        ("", [200, 401, 401]),
        ("https://example.com/notes", [200, 401, 401]),
        ("https://example.com/mail", [401, 200, 401]),
        ("https://files.example.com", [401, 401, 200]),
    ] {
        let token = token_for(&oauth, resource).await;
        let (of_notes, of_mail) = (asked(&oauth, "/notes", &token).await, asked(&oauth, "/mail", &token).await);
        let request = grantor::Request::get("/").with_header("authorization", format!("Bearer {}", token.expose()));
        let of_files = files.bearer(&request).await.and_then(|bearer| bearer.require("files:read"));
        let of_files = of_files.map_or_else(|error| error.status(), |_| 200);
        assert_eq!([of_notes.0, of_mail.0, of_files], statuses, "{resource}");
        assert!(of_notes.0 != 200 || of_notes.1 == "The notes of alice", "{}", of_notes.1);
        assert!(of_mail.0 != 200 || of_mail.1 == "The mail of alice", "{}", of_mail.1);
    }
}
