//! Clients of the example server whose keys are at a URL (`jwks_uri`).

use std::time::{SystemTime, UNIX_EPOCH};

use end_to_end::example::Example;
use grantor::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::signed::{header, jwks, key, sign};
use super::token;

/// Serves a key set at a URL on this device, and nothing else.
async fn publish(key: &SigningKey) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let body = serde_json::to_string(&jwks(key)).unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 1_024];
            let length = connection.read(&mut request).await.unwrap();
            let status = if request[..length].starts_with(b"GET /jwks ") { "200 OK" } else { "404 Not Found" };
            let headers = format!("content-type: application/json\r\ncontent-length: {}", body.len());
            let response = format!("HTTP/1.1 {status}\r\n{headers}\r\nconnection: close\r\n\r\n{body}");
            connection.write_all(response.as_bytes()).await.unwrap();
        }
    });
    url
}

/// A client credentials request of a client with this key.
async fn request(example: &Example, id: &str, key: &SigningKey) -> (u16, Value) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let jti = format!("{id}-{:?}", key.public_key().id());
    let claims = json!({ "iss": id, "sub": id, "aud": example.base, "exp": now + 60, "jti": jti });
    let text = sign(key, header(key, "JWT"), claims).await;
    let assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let assertion = [("client_assertion_type", assertion_type), ("client_assertion", &*text)];
    token(example, &[&[("grant_type", "client_credentials")][..], &assertion].concat()).await
}

#[tokio::test]
async fn keys_are_fetched_from_the_client() {
    let (own, other) = (key(Algorithm::Es256), key(Algorithm::Rs256));
    let url = publish(&own).await;
    let client = |id: &str, url: &str| {
        json!({ "client_id": id, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": url,
                "grant_types": ["client_credentials"], "scope": "user:read" })
    };
    let clients = json!([client("reports", &url), client("broken", &url.replace("jwks", "nothing"))]).to_string();
    let example = Example::with(&clients, "{}", r#"{"user:read":"Read"}"#, &[]);
    let (status, tokens) = request(&example, "reports", &own).await;
    assert_eq!((status, &tokens["token_type"]), (200, &json!("Bearer")), "{tokens}");
    let (status, refused) = request(&example, "reports", &other).await;
    assert_eq!((status, &refused["error"]), (401, &json!("invalid_client")));
    // Clients forget their registration after invalid_client, so a failed fetch has another error.
    let (status, failed) = request(&example, "broken", &own).await;
    assert_eq!((status, &failed["error"]), (503, &json!("temporarily_unavailable")));
}
