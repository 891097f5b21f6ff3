//! The requests that are sent.

use std::process::Command;

use crate::local::{Names, Reply, Server, client, get, on_loopback, outcome};

fn ok(headers: &str) -> Reply {
    Reply::KeepAlive(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{headers}\r\n{{}}").into_bytes())
}

#[tokio::test]
async fn request_has_no_cookie_referer_or_accepted_encoding() {
    let server = Server::start(ok("Set-Cookie: a=b; Path=/\r\nAlt-Svc: h2=\":1\"\r\n")).await;
    let (client, policy) = (client(&Names::default()), on_loopback());
    for _ in 0..2 {
        let response = get(&client, &format!("{}keys?a=b%20c", server.url()), &policy).await.unwrap();
        assert_eq!((response.status(), response.body()), (200, &b"{}"[..]));
        assert_eq!((response.header("set-cookie"), response.header("content-length")), (None, None));
    }
    let head = server.heads().first().cloned().unwrap_or_default();
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    lines[1..].sort_unstable();
    let host = format!("host: 127.0.0.1:{}", server.port);
    assert_eq!(lines, ["GET /keys?a=b%20c HTTP/1.1", "accept: */*", &host, "user-agent: grantor"]);
    assert_eq!(server.heads(), [head.clone(), head]);
    assert_eq!(server.connections().await, 2, "each request has its own connection");
}

#[tokio::test]
async fn headers_that_are_read_are_returned() {
    let headers = "Content-Type: application/json\r\ncache-control: max-age=60\r\nCache-Control: public\r\nAGE: 7\r\n";
    let server = Server::start(ok(headers)).await;
    let response = get(&client(&Names::default()), &server.url(), &on_loopback()).await.unwrap();
    let read = ["content-type", "cache-control", "age"].map(|name| response.header(name));
    assert_eq!(read, [Some("application/json"), Some("max-age=60"), Some("7")]);
}

/// The variable with the address of a server that the child process must reach directly.
const TARGET: &str = "GRANTOR_TEST_TARGET";

// The test starts itself with a proxy in its environment.
#[test]
fn proxy_of_the_environment_is_not_used() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(target) = std::env::var(TARGET) {
        let result = runtime.block_on(get(&client(&Names::default()), &target, &on_loopback()));
        assert_eq!(outcome(&result), "200 with 2 bytes");
        return;
    }
    let (proxy, server) = runtime.block_on(async { (Server::start(Reply::Close).await, Server::start(ok("")).await) });
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "requests::proxy_of_the_environment_is_not_used"]).env(TARGET, server.url());
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        child.env(name, proxy.url());
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY");
    assert!(child.status().unwrap().success());
    assert_eq!(runtime.block_on(async { (proxy.connections().await, server.connections().await) }), (0, 1));
}
