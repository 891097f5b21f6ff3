//! An axum server that does no work, which shows the maximum speed of an axum handler on this machine. It responds to
//! `POST /token` and `GET /api/me` with the bodies of two files, and with the headers of the example server.
//!
//! ```text
//! constant TOKEN_BODY ME_BODY
//! ```

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = std::env::args().skip(1);
    let (Some(token), Some(me), None) = (files.next(), files.next(), files.next()) else {
        return Err("usage: constant TOKEN_BODY ME_BODY".into());
    };
    let (token, me) = (Bytes::from(std::fs::read(token)?), Bytes::from(std::fs::read(me)?));
    let app = Router::new()
        // Reads the whole form, as a real handler must.
        .route("/token", post(move |_: Bytes| std::future::ready((FOR_TOKENS, json(&token)))))
        .route("/api/me", get(move || std::future::ready(json(&me))))
        .layer(DefaultBodyLimit::max(64 * 1024));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// The headers of a token response (RFC 6749 §5.1), including CORS.
const FOR_TOKENS: [(header::HeaderName, &str); 3] = [
    (header::PRAGMA, "no-cache"),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "www-authenticate, retry-after"),
];

fn json(body: &Bytes) -> Response {
    ([(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "application/json")], body.clone()).into_response()
}
