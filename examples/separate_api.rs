//! An API that runs in another process than its authorization server. It checks access tokens by introspection.
//!
//! ```text
//! API_SECRET=... cargo run --example separate_api --features axum -- 127.0.0.1:8081 http://localhost:8080 api
//! ```
//!
//! The arguments are the address to listen on, the issuer, the identifier of a client that is registered as a resource
//! server, and optionally how many seconds a response is cached (default: 30). `API_SECRET` is the secret of the
//! client.
//!
//! The HTTP client here has no TLS, so the server must run on the same machine. For other servers, use a connector with
//! TLS.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, header::CONTENT_TYPE};
use axum::{Router, routing::get};
use grantor::axum::require;
use grantor::error::BoxError;
use grantor::resource_server::{Introspector, OutgoingRequest, ReceivedResponse};
use grantor::{Access, BearerError, ClientSecret, ResourceServer};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(issuer), Some(client_id)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: separate_api LISTEN ISSUER CLIENT_ID [CACHE_SECONDS], with the secret in API_SECRET".into());
    };
    let cache_seconds = args.next().map_or(Ok(30), |seconds| seconds.parse())?;
    let secret = ClientSecret::new(std::env::var("API_SECRET")?);
    let http = Http(Client::builder(TokioExecutor::new()).build_http());
    let api = ResourceServer::builder(issuer, client_id, &secret, http);
    let api = api.cache_time(time::Duration::seconds(cache_seconds)).build()?;
    let router = Router::new().route("/me", get(me).layer(require(&api, ["user:read"]).any_origin()));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

async fn me(access: Access) -> Result<String, BearerError> {
    Ok(format!("You are {}.", access.user()?))
}

/// An HTTP client that follows no redirects.
struct Http(Client<HttpConnector, Full<Bytes>>);

#[async_trait::async_trait]
impl Introspector for Http {
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
        let post = request
            .headers()
            .iter()
            .fold(Request::post(request.url()), |post, (name, value)| post.header(*name, *value));
        let post = post.body(Full::from(request.body().to_vec()))?;
        let exchange = async {
            let mut response = self.0.request(post).await?;
            let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let mut received = ReceivedResponse::new(response.status().as_u16(), content_type.unwrap_or_default());
            while let Some(frame) = response.body_mut().frame().await {
                if let Ok(data) = frame?.into_data() {
                    received.push(&data, request)?;
                }
            }
            Ok(received)
        };
        tokio::time::timeout(Duration::from_secs(5), exchange).await?
    }
}
