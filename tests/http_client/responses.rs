//! Responses of hostile servers.

use crate::local::{Names, Reply, Server, client, get, on_loopback, outcome};

/// Returns a response with these headers and this body.
fn response(headers: &str, body: &[u8]) -> Reply {
    Reply::Bytes([format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), body].concat())
}

fn text(text: &str) -> Reply {
    Reply::Bytes(text.as_bytes().to_vec())
}

/// Sends one request to a server, which must get one connection.
async fn result_of(reply: Reply) -> String {
    let server = Server::start(reply).await;
    let result = get(&client(&Names::default()), &server.url(), &on_loopback()).await;
    assert_eq!(server.connections().await, 1);
    outcome(&result)
}

const MAX: usize = 64 * 1_024;

// covers: KM-17 (RFC 8725bis §3.10)
#[tokio::test]
async fn body_is_read_up_to_the_maximum() {
    let (full, large) = (vec![b'a'; MAX], vec![b'a'; MAX + 1]);
    let length = |length: usize| format!("Content-Length: {length}\r\n");
    let chunked = |body: &[u8]| {
        let part = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
        response("Transfer-Encoding: chunked\r\n", &part)
    };
    let (ok, too_large) = ("200 with 65536 bytes", "TooLarge(65536)");
    for (name, reply, expected) in [
        ("length", response(&length(MAX), &full), ok),
        ("larger length", response(&length(MAX + 1), &large), too_large),
        ("huge length without a body", response(&length(usize::MAX >> 1), b""), too_large),
        ("chunks", chunked(&full), ok),
        ("more chunks", chunked(&large), too_large),
        ("until the end", response("", &full), ok),
        ("too much until the end", response("", &large), too_large),
        ("endless", Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n", vec![b'a'; 4_096]), too_large),
        (
            "endless small chunks",
            Reply::Endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n".repeat(512)),
            too_large,
        ),
        ("empty", response(&length(0), b""), "200 with 0 bytes"),
    ] {
        assert_eq!(result_of(reply).await, expected, "{name}");
    }
}

// covers: KM-17 (RFC 8725bis §3.10)
#[tokio::test]
async fn redirect_is_not_followed() {
    let trap = Server::start(Reply::Silence).await;
    let inside = format!("http://127.0.0.1:{}/", trap.port);
    for status in [300, 301, 302, 303, 304, 305, 307, 308, 399] {
        for location in [&inside, "/", "//127.0.0.1/", "https://a.example/", "file:///etc/passwd"] {
            let head = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(result_of(text(&head)).await, format!("{status} with 0 bytes"), "{status} {location}");
        }
    }
    let refresh = format!("Refresh: 0; url={inside}\r\nLink: <{inside}>; rel=preload\r\nContent-Length: 0\r\n");
    assert_eq!(result_of(response(&refresh, b"")).await, "200 with 0 bytes");
    assert_eq!(trap.connections().await, 0);
}

#[tokio::test]
async fn body_of_another_status_is_not_read() {
    for status in [201, 204, 206, 400, 401, 403, 404, 407, 410, 418, 429, 500, 503] {
        let head = format!("HTTP/1.1 {status} Other\r\nContent-Length: 1000000000\r\n\r\n");
        assert_eq!(result_of(text(&head)).await, format!("{status} with 0 bytes"));
    }
}

// A kilobyte of zeros in the format of gzip. A client that decompresses would read more bytes than it received.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff, 0x63, 0x60, 0x18, 5, 0xa3, 0x60, 0x14, 0x8c, 0x54, 0, 0, 0x2e, 0xaf, 0xb5,
    0xef, 0, 4, 0, 0,
];

#[tokio::test]
async fn compressed_body_is_refused_and_never_expanded() {
    for encoding in ["gzip", "x-gzip", "br", "deflate", "zstd", "GZIP", "gzip, gzip", "identity, br", "", "unknown"] {
        assert_eq!(
            result_of(response(&format!("Content-Encoding: {encoding}\r\n"), GZIP)).await,
            "Compressed",
            "{encoding}"
        );
    }
    let twice = "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n";
    assert_eq!(result_of(response(twice, GZIP)).await, "Compressed");
    let length = GZIP.len();
    assert_eq!(result_of(response("Content-Encoding: identity\r\n", GZIP)).await, format!("200 with {length} bytes"));
    assert_eq!(
        result_of(response("Content-Type: application/gzip\r\n", GZIP)).await,
        format!("200 with {length} bytes")
    );
}

#[tokio::test]
async fn response_that_is_not_http_1_is_a_failure() {
    for (name, reply) in [
        ("closed before the request", Reply::Close),
        ("closed without a response", text("")),
        ("HTTP/0.9", text("{\"keys\":[]}")),
        (
            "HTTP/2",
            Reply::Bytes(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff".to_vec()),
        ),
        ("TLS alert", Reply::Bytes(b"\x15\x03\x03\0\x02\x02\x28".to_vec())),
        ("SSH", text("SSH-2.0-OpenSSH_9.6\r\n")),
        ("HTTP/3.0", text("HTTP/3.0 200 OK\r\n\r\n")),
        ("no status", text("HTTP/1.1 OK\r\n\r\n")),
        ("short status", text("HTTP/1.1 99 OK\r\n\r\n")),
        ("unfinished head", text("HTTP/1.1 200 OK\r\nContent-Type: appl")),
        ("line break in a header", text("HTTP/1.1 200 OK\r\nA\r\n: b\r\n\r\n")),
        ("zero byte in a header", text("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n")),
        ("space before a colon", text("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}")),
    ] {
        assert_eq!(result_of(reply).await, "connection", "{name}");
    }
}

#[tokio::test]
async fn truncated_or_ambiguous_body_is_a_failure() {
    for (name, headers, body) in [
        ("short body", "Content-Length: 3\r\n", "{}"),
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n", "{} "),
        ("negative length", "Content-Length: -1\r\n", "{}"),
        ("length with a sign", "Content-Length: +2\r\n", "{}"),
        ("length above 64 bits", "Content-Length: 18446744073709551616\r\n", "{}"),
        ("no last chunk", "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n"),
        ("short chunk", "Transfer-Encoding: chunked\r\n", "8\r\n{}"),
        ("chunk without size", "Transfer-Encoding: chunked\r\n", "\r\n{}\r\n0\r\n\r\n"),
        ("size that is no number", "Transfer-Encoding: chunked\r\n", "xyz\r\n{}\r\n0\r\n\r\n"),
        ("size above 64 bits", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ("size that is not followed by its chunk", "Transfer-Encoding: chunked\r\n", "2\r\n{}{}\r\n0\r\n\r\n"),
    ] {
        assert_eq!(result_of(response(headers, body.as_bytes())).await, "connection", "{name}");
    }
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_a_failure() {
    let many = |number| response(&"A: b\r\n".repeat(number), b"{}");
    assert_eq!(result_of(many(64)).await, "200 with 2 bytes");
    assert_eq!(result_of(many(65)).await, "connection");
    let long = format!("A: {}\r\n", "b".repeat(1_000_000));
    assert_eq!(result_of(response(&long, b"{}")).await, "connection");
    for head in [&b"HTTP/1.1 200 OK\r\nA: "[..], b"HTTP/1.1 200 "] {
        assert_eq!(result_of(Reply::Endless(head, vec![b'b'; 4_096])).await, "connection");
    }
    assert_eq!(result_of(Reply::Endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n".repeat(512))).await, "connection");
}
