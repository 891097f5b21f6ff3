//! Clients that send slowly or not at all, and a server that is stopped meanwhile.

use std::time::{Duration, Instant};

use end_to_end::example::Example;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::api_scopes::{SCOPES, USERS};

const CLIENTS: &str =
    r#"[{"client_id": "app", "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"}]"#;

async fn begin(example: &Example, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(example.base.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut text).await {}
    String::from_utf8(text).unwrap()
}

// Regression: a client that sent only half a request held its connection for as long as it liked.
#[tokio::test]
async fn incomplete_request_ends_after_ten_seconds() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let begun = Instant::now();
    let form = |path: &str, begin: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 99\r\n\r\n{begin}"
        )
    };
    let requests = [
        String::new(),
        "GET / HTTP/1.1\r\nhost: a\r\nx-slow: ".to_owned(),
        form("/token", "grant_type="),
        form("/login", "username="),
        form("/consent", "form_token="),
    ];
    let mut answers = Vec::new();
    for request in requests {
        let stream = begin(&example, &request).await;
        answers.push(tokio::spawn(rest(stream)));
    }
    let mut texts = Vec::new();
    for answer in answers {
        texts.push(answer.await.unwrap());
    }
    assert!((9..30).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!((&*texts[0], &*texts[1]), ("", ""));
    for (text, expected) in texts[2..].iter().zip([
        "\"error\":\"invalid_request\"",
        "This form can\u{2019}t be read",
        "\"error\":\"invalid_request\"",
    ]) {
        assert!(text.starts_with("HTTP/1.1 408 ") && text.contains(expected), "{text}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let idle = begin(&example, "").await;
    let used = begin(&example, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    used.readable().await.unwrap();
    let begun = Instant::now();
    let status = tokio::task::spawn_blocking(|| example.terminate()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(rest(idle).await, "");
    assert!(rest(used).await.starts_with("HTTP/1.1 200 "));
}
