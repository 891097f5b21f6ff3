//! Runs the code of the page about outbound requests.
#![allow(unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod limits;
mod proxy;
mod server;

use grantor::http_client::{FetchError, FetchPolicy, GetRequest};
use grantor::{ClientStore, HttpClient, MemoryStorage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn server_that_fetches_keys_has_no_findings_about_its_client() {
    let storage = MemoryStorage::new();
    let oauth = server::server(&storage).await.unwrap();
    let client = storage.find_client("reports").await.unwrap().unwrap();
    assert_eq!(client.jwks_uri(), Some("https://reports.example.com/jwks"));
    assert_eq!(oauth.lint_client(&client), []);
}

#[tokio::test]
async fn fetch_goes_through_the_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = proxy::ThroughProxy::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    // The proxy refuses the target.
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 1_024];
        let length = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head[..length].to_vec()).unwrap()
    });
    let policy = FetchPolicy::default();
    let result = client.get(&GetRequest::new("https://app.example/jwks", &policy)).await;
    assert!(matches!(result, Err(FetchError::Client(_))), "{result:?}");
    assert!(proxy.await.unwrap().starts_with("CONNECT app.example:443 HTTP/1.1\r\n"));
}

#[tokio::test]
async fn loopback_is_for_development_only() {
    for (issuer, is_development, builds) in [
        ("http://localhost:8080", true, true),
        ("https://id.example.com", true, false),
        ("https://id.example.com", false, true),
    ] {
        let builder = grantor::AuthorizationServer::builder(issuer).storage(MemoryStorage::new());
        let builder = builder.scope("report:read", "Read reports").policy(limits::policy(is_development));
        assert_eq!(builder.build().await.is_ok(), builds, "{issuer} {is_development}");
    }
}
