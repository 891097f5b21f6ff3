//! Routes for any web stack: `routes()`, `route()` and `handle()`.

use grantor::testing::{ISSUER, TestServer};
use grantor::{AuthorizationServer, ProtectedResource, Request, Route, ServedBy};

use crate::common::basic;
use crate::paths::elsewhere;
use crate::{FORM, MACHINE_FORM, REDIRECT_URI, Web, With, get, request};

const METADATA: &str = "/.well-known/oauth-authorization-server";
const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource/api";

/// A route as a web stack sees it.
fn seen(route: &Route) -> (&str, &str, ServedBy, bool, usize) {
    (route.endpoint(), route.path(), route.served_by(), route.any_origin(), route.max_body())
}

fn names(server: &AuthorizationServer) -> Vec<&str> {
    server.routes().iter().map(Route::endpoint).collect()
}

// covers: TL-17 (RFC 9700 §2.6), TL-18 (RFC 9700 §2.6)
#[test]
fn routes_list_every_endpoint_with_its_terms() {
    let t = TestServer::with(|builder| builder.protected_resource(ProtectedResource::new(format!("{ISSUER}/api"))));
    let max_body = t.server.policy().max_body;
    let expected = [
        ("authorize", "/authorize", ServedBy::Host, false, max_body),
        ("token", "/token", ServedBy::Library, true, max_body),
        ("revoke", "/revoke", ServedBy::Library, true, max_body),
        ("introspect", "/introspect", ServedBy::Library, false, max_body),
        ("metadata", METADATA, ServedBy::Library, true, 0),
        ("resource_metadata", RESOURCE_METADATA, ServedBy::Library, true, 0),
    ];
    assert_eq!(t.server.routes().iter().map(seen).collect::<Vec<_>>(), expected);
    for route in expected {
        assert_eq!(t.server.route(route.1).map(seen), Some(route));
    }
    for unknown in ["", "/", "/token/", "/Token", "/token?x=1", "token", "/%74oken", "/x/token", "*"] {
        assert!(t.server.route(unknown).is_none(), "{unknown}");
    }
}

#[tokio::test]
async fn routes_follow_the_urls_and_omit_disabled_endpoints() {
    let server = elsewhere("https://id.example/t%201", |urls| {
        urls.token = "https://id.example/{oauth}?x=1".to_owned();
        urls.revocation = None;
        urls.introspection = None;
    })
    .await;
    assert_eq!(names(&server), ["authorize", "token", "metadata"]);
    let paths: Vec<&str> = server.routes().iter().map(Route::path).collect();
    assert_eq!(paths, ["/t%201/authorize", "/%7Boauth%7D", &format!("{METADATA}/t%201")]);
    let t = TestServer::with_policy(|policy| policy.max_body = 100);
    assert_eq!(t.server.route("/token").map(Route::max_body), Some(100));
}

#[tokio::test]
async fn handle_answers_404_for_host_paths_and_unknown_paths() {
    let t = TestServer::new();
    for method in ["GET", "POST", "OPTIONS"] {
        for target in ["/authorize?client_id=nobody", "/authorize", "/unknown", "", "/token/", "/.well-known/x"] {
            let request = Request::new(method, target).with_header("origin", "https://spa.example");
            let response = t.server.handle(&request.with_header("access-control-request-method", "POST")).await;
            assert_eq!((response.status(), response.body()), (404, &b""[..]), "{method} {target}");
            assert_eq!(response.header("access-control-allow-origin"), None, "{method} {target}");
        }
    }
    assert!(t.events.events().is_empty());
}

// covers: TL-18 (RFC 9700 §2.6), TL-19 (RFC 9449 §7.1)
#[tokio::test(flavor = "local")]
async fn adapters_send_the_answer_of_handle() {
    let t = TestServer::new();
    let machine = t.confidential_client(REDIRECT_URI).await;
    let credentials = basic(&machine.id, "wrong");
    for (method, path) in [
        ("POST", "/token"),
        ("GET", "/token"),
        ("POST", "/revoke"),
        ("POST", "/introspect"),
        ("GET", METADATA),
        ("POST", METADATA),
        ("OPTIONS", "/token"),
        ("OPTIONS", "/introspect"),
    ] {
        let headers = [
            ("authorization", &*credentials),
            ("content-type", FORM),
            ("origin", "https://spa.example"),
            ("access-control-request-method", "POST"),
        ];
        let own = Request::new(method, path).with_headers(headers).with_body(MACHINE_FORM);
        let expected = t.server.handle(&own).await;
        let mut expected_headers: Vec<_> =
            expected.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        expected_headers.sort();
        for web in Web::each() {
            let request = request(method, path);
            let request = headers.iter().fold(request, |request, (name, value)| request.with(name, value));
            let mut answer = web.routes([&t.server]).send(request.with_body(MACHINE_FORM)).await;
            answer.headers.retain(|(name, _)| name != "content-length");
            answer.headers.sort();
            let what = format!("{method} {path}");
            assert_eq!((answer.status, &answer.headers), (expected.status(), &expected_headers), "{what}");
            assert_eq!(answer.body, expected.body(), "{what}");
        }
    }
}

/// A document needs no body, so none is buffered.
#[tokio::test(flavor = "local")]
async fn body_for_a_document_is_not_read() {
    for web in Web::each() {
        let t = TestServer::new();
        let app = web.routes([&t.server]);
        let mut with_body = get(METADATA);
        *with_body.body_mut() = vec![b'x'; 100_000].into();
        let answer = app.send(with_body).await;
        assert_eq!((answer.status, answer.json()["issuer"].clone()), (200, ISSUER.into()));
    }
}
