//! Runs the code of the page about an API in another process.
#![allow(unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod api;
mod register;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use grantor::error::BoxError;
use grantor::resource_server::{Introspector, OutgoingRequest, ReceivedResponse};
use grantor::{ClientSecret, ClientStore, MemoryStorage};
use tower::ServiceExt;

/// An authorization server that reports every token as a token of alice.
struct Http;

#[async_trait::async_trait]
impl Introspector for Http {
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
        let token = br#"{"active":true,"scope":"notes:read","client_id":"app","sub":"alice","token_type":"Bearer","exp":4102444800}"#;
        let mut response = ReceivedResponse::new(200, "application/json");
        response.push(token, request)?;
        Ok(response)
    }
}

#[tokio::test]
async fn separate_api_accepts_live_tokens_only() {
    let app = api::app(&ClientSecret::new("s"), Http).unwrap();
    let request = Request::get("/notes").header("authorization", "Bearer a").body(Body::empty()).unwrap();
    let answer = app.clone().oneshot(request).await.unwrap();
    assert_eq!(&to_bytes(answer.into_body(), 100).await.unwrap()[..], b"The notes of alice");
    let refused = app.oneshot(Request::get("/notes").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn separate_api_registers_confidential_client() {
    let storage = MemoryStorage::new();
    register::register_api(&storage).await.unwrap();
    let api = storage.find_client("notes-api").await.unwrap().unwrap();
    assert!(api.is_confidential());
}
