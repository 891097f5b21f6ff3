//! Bodies that arrive too late, and bodies with an announced length above the limit.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use grantor::testing::TestServer;
use hyper::body::{Frame, SizeHint};
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{MACHINE_FORM, REDIRECT_URI, Seen, Web, With, basic, post, post_as};

/// The behaviour of a body when it is polled.
enum Step {
    Gives(&'static str),
    /// Is pending and wakes the task at once.
    Waits,
    /// The body stays pending forever.
    Stalls,
}

/// A body that does these steps from last to first, and then ends.
struct Steps(Vec<Step>);

impl HttpBody for Steps {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.pop() {
            Some(Step::Gives(text)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))),
            Some(Step::Waits) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Stalls) => {
                self.0.push(Step::Stalls);
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }
}

fn stalled() -> Body {
    Body::new(Steps(vec![Step::Stalls, Step::Gives("grant_type=client_")]))
}

/// A body with a known length and no data.
struct Announced(u64);

impl HttpBody for Announced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        panic!("a body of {} bytes is read", self.0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

fn hasty() -> TestServer {
    TestServer::with_policy(|policy| policy.body_deadline = Duration::milliseconds(20))
}

// Regression: a client that sends half a body held its request forever.
#[tokio::test(flavor = "local")]
async fn late_body_gets_408_from_its_endpoint() {
    for web in Web::each() {
        let t = hasty();
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.host(&t.server);
        for (path, event, origin) in [
            ("/token", "token_refused", Some("*")),
            ("/revoke", "revocation_refused", Some("*")),
            ("/introspect", "introspection_refused", None),
        ] {
            let answer = app.send(post_as(&machine, path, stalled()).with("origin", "https://spa.example")).await;
            assert_eq!(answer.error(), (408, "invalid_request".to_owned()), "{path}");
            assert_eq!(answer.json()["error_description"], "the request body did not arrive in time", "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
            let last = t.events.events().pop().unwrap();
            assert_eq!(last.name, event);
            assert!(last.text.contains("LateBody"), "{}", last.text);
        }
        assert_eq!(t.events.events().len(), 3);
        // Such a request does not reach a handler of the host app, because the handler would see an empty body.
        for path in ["/seen", "/authorize"] {
            let answer = app.send(post(path, stalled())).await;
            assert_eq!(answer.error(), (408, "invalid_request".to_owned()), "{path}");
        }
        assert_eq!(*app.seen.lock().unwrap(), Seen::default());
        assert_eq!(t.events.events().len(), 3, "nothing else has happened");
    }
}

#[tokio::test(flavor = "local")]
async fn body_in_pieces_is_read_whole() {
    for web in Web::each() {
        let t = TestServer::new();
        let machine = t.confidential_client(REDIRECT_URI).await;
        let pieces = ["user%3Aread", "scope=", "grant_type=client_credentials&"].map(Step::Gives);
        let steps = pieces.into_iter().flat_map(|piece| [piece, Step::Waits, Step::Waits]).collect();
        let request = post_as(&machine, "/token", Body::new(Steps(steps)));
        assert_eq!(web.routes([&t.server]).send(request).await.status, 200);
    }
}

// Regression: the server waited for a body with an announced length above the limit.
#[tokio::test(flavor = "local")]
async fn announced_length_above_the_limit_gets_413_unread() {
    for web in Web::each() {
        let t = TestServer::with_policy(|policy| policy.max_body = 100);
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.host(&t.server);
        let announced = |path, length: u64| {
            post_as(&machine, path, Body::new(Announced(length))).with("content-length", &length.to_string())
        };
        for length in [101, u64::MAX] {
            for path in ["/token", "/revoke", "/introspect"] {
                let answer = app.send(announced(path, length)).await;
                assert_eq!(answer.error(), (413, "invalid_request".to_owned()), "{path} {length}");
            }
            assert_eq!(app.send(announced("/authorize", length)).await.status, 413, "{length}");
            assert_eq!(app.send(announced("/.well-known/oauth-authorization-server", 1)).await.status, 405);
        }
        // A body of exactly the limit is read.
        let padded = format!("{MACHINE_FORM}&x={}", "x".repeat(100 - MACHINE_FORM.len() - 3));
        let request = post_as(&machine, "/token", padded).with("content-length", "100");
        assert_eq!(app.send(request).await.status, 200);
    }
}

/// Returns everything that a server sends until it closes the connection.
async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server may reset the connection after its response, because it has not read everything.
    while let Ok(1..) = stream.read_buf(&mut answer).await {}
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "local")]
async fn unread_body_ends_the_connection() {
    for web in Web::each() {
        let t = hasty();
        let machine = t.confidential_client(REDIRECT_URI).await;
        let (address, stop) = web.routes([&t.server]).serve().await;
        let credentials = basic(&machine);
        let head = |length: usize| {
            format!(
                "POST /token HTTP/1.1\r\nhost: {address}\r\nauthorization: {credentials}\r\n\
                 content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n"
            )
        };
        for (request, status) in [
            (head(100) + "grant_type=", "408 Request Timeout"),
            (head(65_537) + "grant_type=", "413 Payload Too Large"),
            (head(1 << 40), "413 Payload Too Large"),
        ] {
            let answer = exchange(address, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer:?}");
            assert!(answer.contains("\"error\":\"invalid_request\""), "{answer:?}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer:?}");
        }
        // The server does not wait for the end of a chunked body either.
        let chunked = |path: &str, begin: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: {credentials}\r\n\
                 content-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n{begin}"
            )
        };
        let too_large = format!("10002\r\n{}\r\n", "x".repeat(65_538));
        for (request, status) in [
            (chunked("/token", "b\r\ngrant_type=\r\n"), "408 Request Timeout"),
            (chunked("/token", &too_large), "413 Payload Too Large"),
        ] {
            let answer = tokio::time::timeout(std::time::Duration::from_secs(9), exchange(address, &request)).await;
            let answer = answer.unwrap_or_else(|_| panic!("the connection is still open after {status}"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer:?}");
        }
        stop.await;
    }
}

// Regression: with actix-web, a caller without a token held a connection with a chunked body that no handler read.
#[tokio::test(flavor = "local")]
async fn unread_body_of_refused_api_request_ends_the_connection() {
    let oauth = TestServer::new().server;
    let app = move || {
        let api = actix_web::web::put().to(async || "changed").wrap(grantor::actix::require(&oauth, ["user:read"]));
        actix_web::App::new().route("/api", api)
    };
    let server = actix_web::HttpServer::new(app).workers(1).bind(("127.0.0.1", 0)).unwrap();
    let (address, running) = (server.addrs()[0], server.run());
    let handle = running.handle();
    actix_web::rt::spawn(running);
    let request = "PUT /api HTTP/1.1\r\nhost: api\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let answer = tokio::time::timeout(std::time::Duration::from_secs(9), exchange(address, request)).await;
    assert!(answer.expect("the connection is still open").starts_with("HTTP/1.1 401 "));
    handle.stop(false).await;
}

/// One piece of a body that is too long.
static PIECE: [u8; 1 << 15] = [b'x'; 1 << 15];

/// A body of this number of pieces, above the limit. It ends with an error, like after a closed connection, and reports
/// when it is dropped.
struct TooLong(usize, Arc<AtomicBool>);

impl HttpBody for TooLong {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
            }
            None => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
        }
    }
}

impl Drop for TooLong {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

// Regression: actix-web kept the rest of a body for ten seconds, 480 KB for each request, even on closed connections.
#[tokio::test(flavor = "local")]
async fn unread_body_is_kept_no_longer_than_its_connection() {
    for web in Web::each() {
        let t = TestServer::new();
        let is_dropped = Arc::default();
        let body = Body::new(TooLong(8, Arc::clone(&is_dropped)));
        let answer = web.routes([&t.server]).send(post("/token", body)).await;
        assert_eq!(answer.status, 413);
        let dropped = async {
            while !is_dropped.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), dropped).await.expect("the body is kept");
    }
}
