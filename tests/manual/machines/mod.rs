//! Runs the server of the page about machines.
#![allow(unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod server;

use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE};
use actix_web::test::TestRequest;
use actix_web::{App, test};
use grantor::{ClientSecret, TokenRequest};
use serde_json::Value;

#[tokio::test(flavor = "local")]
async fn machine_server_serves_registered_machines_only() {
    let secret = |name: &str| ClientSecret::new(format!("a long secret of {name}"));
    let server = server::server(secret).await.unwrap();
    assert!(!server.metadata_document().contains_key("authorization_endpoint"));
    let app = test::init_service(App::new().configure(server::app(&server))).await;
    let form = "grant_type=client_credentials&client_id=batch&client_secret=a+long+secret+of+batch";
    let token = TestRequest::post().uri("/token").set_payload(form);
    let token = token.insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded")).to_request();
    let answer: Value = test::call_and_read_body_json(&app, token).await;
    let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let jobs = TestRequest::get().uri("/jobs").insert_header((AUTHORIZATION, bearer)).to_request();
    assert_eq!(&test::call_and_read_body(&app, jobs).await[..], b"The jobs that batch may see");
    let authorize = TestRequest::get().uri("/authorize").to_request();
    assert_eq!(test::call_service(&app, authorize).await.status(), 404);

    let api = secret("reports-api");
    let refused = TokenRequest::client_credentials().client_secret_basic("reports-api", &api).scope("jobs:read");
    assert_eq!(server.token_request(&refused).await.unwrap_err().code().as_str(), "unauthorized_client");
    let batch = secret("batch");
    let request = TokenRequest::client_credentials().client_secret_basic("batch", &batch);
    assert_eq!(server.token_request(&request).await.unwrap().scope.as_str(), "jobs:read");
    let refused = server.token_request(&request.scope("jobs:write")).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "invalid_scope");
}
