//! Scripts of other origins (CORS): which endpoints they may use.

use axum::body::Body;
use axum::http::Request as HttpRequest;
use grantor::client::ClientBuilder;
use grantor::testing::TestServer;
use grantor::{ProtectedResource, Request};
use serde_json::json;

use crate::common::form;
use crate::{MACHINE_FORM, Web, With, code_query, get, machine, post, post_as, request, target, token_of};

const METADATA: &str = "/.well-known/oauth-authorization-server";

pub(crate) trait ByScript {
    /// The request as a script of another origin sends it.
    fn by_script(self) -> Self;
}

impl ByScript for HttpRequest<Body> {
    fn by_script(self) -> Self {
        self.with("origin", "https://spa.example")
    }
}

/// The preflight that a browser sends before a request that a plain form could not send.
pub(crate) fn preflight(uri: &str, method: &str) -> HttpRequest<Body> {
    let request = request("OPTIONS", uri).by_script().with("access-control-request-method", method);
    request.with("access-control-request-headers", "authorization,content-type,mcp-protocol-version,traceparent")
}

// covers: RM-01 (RFC 9728 §3.1), RM-02 (RFC 9728 §3.1), BR-19 (RFC 9728 §5.1), TL-18 (RFC 9700 §2.6)
#[tokio::test(flavor = "local")]
async fn script_finds_the_server_by_the_challenge_of_an_api() {
    for (web, path) in
        Web::each().flat_map(|web| ["", "/api", "/a/:b/*c/{d}/e%20f", "/api?v=1"].map(|path| (web, path)))
    {
        let identifier = format!("https://id.example{path}");
        let resource = ProtectedResource::new(&identifier);
        let t = TestServer::with(|builder| builder.protected_resource(resource));
        let app = web.host(&t.server);
        let answer = app.send(get("/me")).await;
        let challenge = answer.header("www-authenticate").unwrap();
        let (_, pointer) = challenge.split_once(", resource_metadata=\"").unwrap();
        let uri = target(pointer.strip_suffix('"').unwrap());

        let answer = app.send(get(&uri).by_script()).await;
        assert_eq!((answer.status, answer.json()["resource"].clone()), (200, json!(identifier)));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{uri}");
        answer.assert_is(t.server.resource_metadata(&Request::get(&*uri)));
        let issuer = answer.json()["authorization_servers"][0].as_str().unwrap().to_owned();
        let server = format!("{METADATA}{}", target(&issuer).trim_end_matches('/'));
        let answer = app.send(get(&server).by_script()).await;
        assert_eq!((answer.status, answer.json()["issuer"].clone()), (200, json!(issuer)));

        let answer = app.send(preflight(&uri, "GET")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{uri}");
        let answer = app.send(request("POST", &uri)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{uri}");
    }
    for web in Web::each() {
        let unknown = get("/.well-known/oauth-protected-resource");
        assert_eq!(web.routes([&TestServer::new().server]).send(unknown).await.status, 404);
    }
}

// covers: TL-18 (RFC 9700 §2.6), TL-19 (RFC 9449 §7.1), RV-20 (RFC 7009 §2.3), B48
#[tokio::test(flavor = "local")]
async fn scripts_may_use_token_revocation_and_metadata() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let app = web.routes([&t.server]);
        for (uri, method) in [("/token", "POST"), ("/revoke", "POST"), (METADATA, "GET")] {
            let answer = app.send(preflight(uri, method)).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{uri}");
            assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST"), "{uri}");
            assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, *"), "{uri}");
            assert_eq!(answer.header("vary"), None, "the answer is the same for every script: {uri}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "scripts may not send cookies: {uri}");
            assert_eq!(answer.header("access-control-max-age"), Some("3600"), "{uri}");
            assert!(answer.body.is_empty(), "{uri}");
        }
        assert!(t.events.events().is_empty(), "a preflight reached an endpoint");

        for (request, status) in [
            (post_as(&machine, "/token", MACHINE_FORM), 200),
            (post_as(&machine, "/token", "grant_type=nonsense"), 400),
            (post("/token", MACHINE_FORM), 401),
            (post_as(&machine, "/revoke", "token=unknown"), 200),
            (post_as(&machine, "/revoke", ""), 400),
            (post("/revoke", "token=x"), 401),
            (get(METADATA), 200),
            (get("/token"), 405),
        ] {
            let what = format!("{} {}", request.method(), request.uri());
            let answer = app.send(request.by_script()).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some("*")), "{what}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{what}");
            // Without this header a script can't read the error or `Retry-After`.
            let exposed = answer.header("access-control-expose-headers");
            assert_eq!(exposed, Some("*"), "{what}");
        }
    }
}

// covers: TL-21 (RFC 9110 §15.5.6)
#[tokio::test(flavor = "local")]
async fn options_without_origin_or_method_is_no_preflight() {
    let headers = [("origin", "https://spa.example"), ("access-control-request-method", "POST")];
    for web in Web::each() {
        let t = TestServer::new();
        for headers in [&[][..], &headers[..1], &headers[1..]] {
            for path in ["/token", "/revoke"] {
                let request = request("OPTIONS", path);
                let request = headers.iter().fold(request, |request, (name, value)| request.with(name, value));
                let answer = web.routes([&t.server]).send(request).await;
                assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{path} {headers:?}");
                assert_eq!(answer.header("access-control-allow-methods"), None, "{path} {headers:?}");
                assert_eq!(answer.json()["error"], "invalid_request", "{path} {headers:?}");
            }
        }
        assert_eq!(t.events.events().len(), 6, "a request did not reach its endpoint");
    }
}

// covers: TL-17 (RFC 9700 §2.6)
#[tokio::test(flavor = "local")]
async fn scripts_may_not_use_other_endpoints_or_pages() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let api = t.confidential_client_with(ClientBuilder::resource_server).await;
        let token = token_of(&t, &machine).await;
        let host = web.host(&t.server);
        for (app, unknown) in [(host.clone(), 404), (host.with_fallback(), 200)] {
            for (request, status) in [
                (get(&format!("/authorize?{}", code_query(&machine))), 303),
                (get("/authorize?client_id=nobody"), 400),
                (preflight("/authorize", "GET"), 405),
                (post_as(&api, "/introspect", form(&[("token", token.expose())])), 200),
                (preflight("/introspect", "POST"), 405),
                (get("/hello"), 200),
                (preflight("/hello", "GET"), 405),
                (get("/unknown"), unknown),
                (preflight("/unknown", "GET"), unknown),
            ] {
                let what = format!("{} {}", request.method(), request.uri());
                let request = if request.headers().contains_key("origin") { request } else { request.by_script() };
                let answer = app.send(request).await;
                assert_eq!(answer.status, status, "{what}");
                answer.assert_no_cors(&what);
            }
        }
    }
}

// covers: TL-17 (RFC 9700 §2.6)
#[tokio::test(flavor = "local")]
async fn unknown_paths_give_scripts_no_cors() {
    for web in Web::each() {
        let t = TestServer::new();
        for app in [web.routes([&t.server]), web.host(&t.server)] {
            for path in ["/unknown", "/authorize/", "/token/", "/.well-known/openid-configuration"] {
                for request in [get(path).by_script(), preflight(path, "GET")] {
                    let what = format!("{} {path}", request.method());
                    let answer = app.send(request).await;
                    assert_eq!((answer.status, &answer.body[..]), (404, &b""[..]), "{what}");
                    answer.assert_no_cors(&what);
                }
            }
        }
        assert!(t.events.events().is_empty());
    }
}
