//! Servers that never finish. The clock is paused, so that no test waits.

use std::time::Duration;

use grantor::HttpClient;
use grantor::error::BoxError;
use grantor::http_client::{FetchError, GetRequest, GuardedHttpClient, Resolver};
use tokio::time::Instant;

use crate::certificates::AUTHORITY;
use crate::local::{Names, Reply, Server, client, get, on_loopback, outcome};

// covers: KM-17 (RFC 8725bis §3.10)
#[tokio::test(start_paused = true)]
async fn slow_server_is_given_up_after_the_timeout() {
    for (name, reply) in [
        ("no response", Reply::Silence),
        ("slow status", Reply::Slow(b"", b"H")),
        ("slow header", Reply::Slow(b"HTTP/1.1 200 OK\r\nA: ", b"b")),
        ("slow headers", Reply::Slow(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n")),
        ("slow interim responses", Reply::Slow(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")),
        ("slow body", Reply::Slow(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"a")),
        ("slow chunks", Reply::Slow(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n")),
        ("slow chunk size", Reply::Slow(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0")),
        ("slow trailers", Reply::Slow(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n")),
    ] {
        let server = Server::start(reply).await;
        let begin = Instant::now();
        let result = get(&client(&Names::default()), &server.url(), &on_loopback()).await;
        assert_eq!((outcome(&result).as_str(), begin.elapsed().as_secs()), ("Timeout", 20), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_tls_handshake_and_slow_name_are_given_up() {
    struct Never;

    #[async_trait::async_trait]
    impl Resolver for Never {
        async fn resolve(&self, _: &str) -> Result<Vec<std::net::IpAddr>, BoxError> {
            std::future::pending().await
        }
    }

    let server = Server::start(Reply::Silence).await;
    let policy = on_loopback();
    let url = format!("https://127.0.0.1:{}/", server.port);
    let begin = Instant::now();
    assert!(matches!(get(&client(&Names::default()), &url, &policy).await, Err(FetchError::Timeout)));
    assert_eq!(begin.elapsed().as_secs(), 20);
    let never = GuardedHttpClient::builder().resolver(Never).trust_pem(AUTHORITY).build().unwrap();
    assert!(matches!(never.get(&GetRequest::new("https://a.example/", &policy)).await, Err(FetchError::Timeout)));
    assert_eq!(begin.elapsed().as_secs(), 40);
}

// Interim responses without an end keep the client busy, so this test runs in real time.
#[tokio::test]
async fn endless_interim_responses_end_with_the_timeout() {
    let mut policy = on_loopback();
    policy.timeout = time::Duration::milliseconds(200);
    let server = Server::start(Reply::Endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100))).await;
    let begin = std::time::Instant::now();
    let result = get(&client(&Names::default()), &server.url(), &policy).await;
    assert_eq!(outcome(&result), "Timeout");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}
