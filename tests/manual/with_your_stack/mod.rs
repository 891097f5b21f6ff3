//! Runs the code of the page about other stacks, and the rows of its table that need no socket.
#![allow(unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod dispatch;
mod request;

use std::net::IpAddr;

use dispatch::{answer, max_body};
use grantor::{AuthorizationOutcome, AuthorizationServer, MemoryStorage, Request};
use request::{Body, Incoming, to_grantor};

#[test]
fn stack_request_keeps_headers_query_and_peer() {
    let headers: &[(&str, &[u8])] = &[("Authorization", b"Basic YTpi"), ("authorization", b"Basic YTpj")];
    let connection = IpAddr::from([192, 0, 2, 7]);
    let target = "/authorize?scope=a%20b";
    let request = to_grantor(&Incoming { method: "GET", target, headers, body: Body::Whole(b""), connection });
    assert_eq!(request.header_values("authorization").count(), 2);
    assert_eq!((request.query(), request.peer()), ("scope=a%20b", Some(connection)));
    for body in [Body::TooLarge, Body::Broken, Body::Late] {
        to_grantor(&Incoming { method: "POST", target, headers, body, connection });
    }
}

#[tokio::test]
async fn stack_dispatch_serves_library_routes_only() {
    let server = AuthorizationServer::builder("https://id.example/t1").storage(MemoryStorage::new());
    let server = server.scope("a", "A").build().await.unwrap();
    let metadata = "/.well-known/oauth-authorization-server/t1";
    assert_eq!((max_body(&server, "/t1/token"), max_body(&server, metadata)), (server.policy().max_body, 0));
    let status = async |request: Request| answer(&server, &request).await.map(|answer| answer.status());
    assert_eq!(status(Request::get(metadata)).await, Some(200));
    assert_eq!(status(Request::get("/t1/token")).await, Some(405));
    assert_eq!(status(Request::post_form("/t1/token", "grant_type=x")).await, Some(401));
    assert_eq!(status(Request::get("/t1/authorize")).await, None);
    assert_eq!(status(Request::get("/me")).await, None);

    let twice = Request::post_form("/t1/token", "grant_type=a").with_header("authorization", "Basic YTpi");
    assert_eq!(status(twice.with_header("authorization", "Basic YTpi")).await, Some(400));
    assert_eq!(status(Request::post_form("/t1/token", "grant_type=a&grant_type=a")).await, Some(400));
    assert_eq!(status(Request::post_form("/t1/token", "grant_type=%ZZ")).await, Some(400));
    assert_eq!(status(Request::post_form("/t1/token", "x".repeat(70_000))).await, Some(413));
    let answer = server.handle(&Request::get("/t1/token")).await;
    assert_eq!(answer.header("allow"), Some("POST"));
    let preflight = Request::new("OPTIONS", "/t1/token").with_header("origin", "https://spa.example");
    let answer = server.handle(&preflight.with_header("access-control-request-method", "POST")).await;
    assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (204, Some("*")));
    let page = server.authorize(&Request::get("/authorize?client_id=nobody")).await;
    let AuthorizationOutcome::Respond(page) = page else { panic!("an unknown client is accepted") };
    assert_eq!(page.status(), 400);
    assert!(page.header("content-security-policy").is_some() && page.header("x-frame-options").is_some());
}
