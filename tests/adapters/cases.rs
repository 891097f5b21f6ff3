//! The endpoints, extractors and answers.

use std::net::Ipv4Addr;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use grantor::client::ClientBuilder;
use grantor::testing::{Fault, ISSUER, TestServer};
use grantor::{Request, Response, Storage};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::json;

use crate::common::{self, form, location};
use crate::{
    FORM, MACHINE_FORM, REDIRECT_URI, Seen, Web, With, basic, code_query, get, machine, post, post_as, request,
    token_of,
};

// covers: TK-01 (RFC 6749 §3.2)
#[tokio::test(flavor = "local")]
async fn token_route_answers_like_the_server() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let app = web.routes([&t.server]);
        let answer = app.send(post_as(&machine, "/token", MACHINE_FORM)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
        let tokens = answer.json();
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3600)));
        let token = grantor::AccessToken::new(tokens["access_token"].as_str().unwrap());
        assert!(t.bearer(&token).await.unwrap().require("user:read").is_ok());

        let wrong = common::basic(&machine.id, "wrong");
        let answer = app.send(post("/token", MACHINE_FORM).with("authorization", &wrong)).await;
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
        let same = Request::post_form("/token", MACHINE_FORM).with_header("authorization", wrong);
        answer.assert_is(t.server.token(&same).await);
    }
}

// covers: TK-01 (RFC 6749 §3.2), TL-21 (RFC 9110 §15.5.6), RV-20 (RFC 7009 §2.3), IN-06 (RFC 7662 §4)
#[tokio::test(flavor = "local")]
async fn other_methods_than_post_get_405_with_allow() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let app = web.routes([&t.server]);
        for (path, refused) in
            [("/token", "token_refused"), ("/revoke", "revocation_refused"), ("/introspect", "introspection_refused")]
        {
            for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
                let mut request = post_as(&machine, path, MACHINE_FORM);
                *request.method_mut() = method.parse().unwrap();
                let answer = app.send(request).await;
                assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method} {path}");
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
                if method == "HEAD" && web.answers_head_without_body() {
                    assert!(answer.body.is_empty(), "{path}");
                } else {
                    assert_eq!(answer.error().1, "invalid_request", "{method} {path}");
                }
            }
            assert_eq!(t.events.count(refused), 6);
        }
        assert_eq!(t.events.events().len(), 18, "nothing else has happened");
    }
}

// covers: RV-09 (RFC 7009 §2.2), RV-10 (RFC 7009 §2.1), RV-16 (RFC 7009 §2.2.1)
#[tokio::test(flavor = "local")]
async fn revocation_route_answers_like_the_server() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let app = web.routes([&t.server]);
        let token = token_of(&t, &machine).await;
        let stranger = t.confidential_client(REDIRECT_URI).await;
        let revoke = |client| post_as(client, "/revoke", form(&[("token", token.expose())]));
        assert_eq!(app.send(revoke(&stranger)).await.error(), (400, "unauthorized_client".to_owned()));
        assert!(t.bearer(&token).await.is_ok());
        t.faults.fail(3, Fault::Unavailable);
        assert_eq!(app.send(revoke(&machine)).await.error(), (503, "temporarily_unavailable".to_owned()));
        assert!(t.bearer(&token).await.is_ok());

        let answer = app.send(revoke(&machine)).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
        assert_eq!(answer.json(), json!({}));
        assert!(t.bearer(&token).await.is_err());
        let same = Request::post_form("/revoke", "token=x").with_header("authorization", basic(&machine));
        answer.assert_is(t.server.revoke(&same).await);
    }
}

// covers: IN-02 (RFC 7662 §2.1), IN-17 (RFC 7662 §4)
#[tokio::test(flavor = "local")]
async fn introspection_route_answers_like_the_server() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let api = t.confidential_client_with(ClientBuilder::resource_server).await;
        let app = web.routes([&t.server]);
        let token = token_of(&t, &machine).await;
        let body = form(&[("token", token.expose())]);
        let answer = app.send(post_as(&api, "/introspect", body.clone())).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
        let told = answer.json();
        assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!(machine.id)));
        let same = Request::post_form("/introspect", body.clone()).with_header("authorization", basic(&api));
        answer.assert_is(t.server.introspect(&same).await);
        assert_eq!(app.send(post("/introspect", body.clone())).await.status, 401);

        assert_eq!(app.send(post_as(&machine, "/revoke", body.clone())).await.status, 200);
        let answer = app.send(post_as(&api, "/introspect", body)).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "active": false })));
    }
}

#[tokio::test(flavor = "local")]
async fn largest_body_is_read_and_a_larger_one_gets_413() {
    for web in Web::each() {
        let t = TestServer::with_policy(|policy| policy.max_body = 100);
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.host(&t.server);
        let padded = |size: usize| format!("{MACHINE_FORM}&x={}", "x".repeat(size - MACHINE_FORM.len() - 3));
        assert_eq!(app.send(post_as(&machine, "/token", padded(100))).await.status, 200);
        // The body is sent once with a known length, and once without.
        let of_unknown_length = Body::new(Full::new(Bytes::from(padded(101))).map_frame(|frame| frame));
        for body in [Body::from(padded(101)), Body::from(padded(1_000_000)), of_unknown_length] {
            let answer = app.send(post_as(&machine, "/token", body)).await;
            assert_eq!(answer.error(), (413, "invalid_request".to_owned()));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        assert_eq!((t.events.count("tokens_issued"), t.events.count("authorization_refused")), (1, 0));
        // A browser gets a page.
        let answer = app.send(post("/authorize", "x".repeat(101))).await;
        assert_eq!((answer.status, answer.header("content-type")), (413, Some("text/html; charset=utf-8")));
        assert_eq!(t.events.count("authorization_refused"), 1);
    }
}

/// A form body that breaks off after ten bytes.
fn broken() -> Body {
    let cut = Limited::new(Full::new(Bytes::from(MACHINE_FORM)), 10);
    Body::new(cut.map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof)))
}

// covers: TL-18 (RFC 9700 §2.6), TL-17 (RFC 9700 §2.6)
#[tokio::test(flavor = "local")]
async fn incomplete_body_gets_the_400_of_its_endpoint() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let app = web.host(&t.server);
        for (path, event, origin) in [
            ("/token", "token_refused", Some("*")),
            ("/revoke", "revocation_refused", Some("*")),
            ("/introspect", "introspection_refused", None),
        ] {
            let request = || post_as(&machine, path, broken()).with("origin", "https://spa.example");
            let answer = app.send(request().with_peer([192, 0, 2, 7])).await;
            assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{path}");
            assert_eq!(answer.json()["error_description"], "the request body is incomplete or could not be read");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
            let events = t.events.events();
            let last = events.last().unwrap();
            assert_eq!(last.name, event);
            assert!(last.text.contains("BrokenBody") && last.text.contains("192.0.2.7"), "{}", last.text);
            let answer = app.send(request().with("authorization", "Basic x")).await;
            assert_eq!(
                answer.json()["error_description"],
                "the request body is incomplete or could not be read",
                "this error comes before client authentication"
            );
        }
        assert_eq!(t.events.events().len(), 6, "nothing else has happened");
    }
}

/// If such a request reached the handler, the handler would see an empty body.
#[tokio::test(flavor = "local")]
async fn handler_of_the_host_never_gets_an_incomplete_body() {
    for web in Web::each() {
        let t = TestServer::new();
        let app = web.host(&t.server);
        for path in ["/seen", "/authorize"] {
            let answer = app.send(post(path, broken())).await;
            assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{path}");
            answer.assert_no_cors(path);
        }
        assert_eq!(*app.seen.lock().unwrap(), Seen::default());
        assert!(t.events.events().is_empty());
        // A body that is too large reaches the handler. The server refuses the request when the handler passes it on.
        assert_eq!(app.send(post("/seen", "x".repeat(70_000))).await.status, 200);
    }
}

// covers: BR-18 (RFC 6750 §3.1), B37
#[tokio::test(flavor = "local")]
async fn repeated_headers_and_parameters_stay_repeated() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let app = web.host(&t.server);
        let post = |uri: &str, more: &str| post_as(&machine, uri, format!("grant_type=client_credentials{more}"));
        for (request, description) in [
            (
                post("/token", "").with("authorization", &basic(&machine)),
                "the request uses more than one client authentication method: use one",
            ),
            (
                post("/token", "").with("content-type", FORM),
                "the request body is not application/x-www-form-urlencoded",
            ),
            (post("/token", "&scope=a&scope=a"), "the parameter scope occurs more than once"),
            (post("/token?scope=user:read", ""), "the parameter scope is in the URL: send it in the request body"),
        ] {
            let answer = app.send(request).await;
            assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{description}");
            assert_eq!(answer.json()["error_description"], description);
        }
        let bearer = format!("Bearer {}", token_of(&t, &machine).await.expose());
        let twice = get("/me").with("authorization", &bearer).with("authorization", &bearer);
        assert_eq!(app.send(twice).await.status, 400);
    }
}

// covers: BR-01 (RFC 6750 §2.1), BR-05 (RFC 6750 §3), BR-10 (RFC 6750 §3.1)
#[tokio::test(flavor = "local")]
async fn handler_gets_bearer_token_or_client_gets_challenge() {
    let challenge = |rest: &str| format!("Bearer realm=\"{ISSUER}\"{rest}");
    let lacking =
        ", error=\"insufficient_scope\", error_description=\"the access token lacks a scope\", scope=\"user:write\"";
    let no_owner = ", error=\"insufficient_scope\", error_description=\"the access token has no resource owner\"";
    let invalid = ", error=\"invalid_token\", error_description=\"the access token is unknown, expired or revoked\"";
    for web in Web::each() {
        let (t, machine) = machine().await;
        let client = t.public_client(REDIRECT_URI).await;
        let app = web.host(&t.server);
        let of_user = t.authorize(&client).approve_as("alice").await.redeem().await.unwrap().access_token;
        let of_machine = token_of(&t, &machine).await;
        let call = async |method: &str, uri: &str, token: &str| {
            let request = request(method, uri);
            let bearer = format!("Bearer {token}");
            app.send(if token.is_empty() { request } else { request.with("authorization", &bearer) }).await
        };
        let answer = call("GET", "/me", of_user.expose()).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"Hello, alice"[..]));
        for (method, token, status, expected) in [
            ("GET", "", 401, challenge("")),
            ("GET", "unknown", 401, challenge(invalid)),
            ("PUT", of_user.expose(), 403, challenge(lacking)),
            ("GET", of_machine.expose(), 403, challenge(no_owner)),
        ] {
            let answer = call(method, "/me", token).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (status, Some(&*expected)), "{method}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {token}");
            assert!(answer.body.is_empty(), "{method} {token}");
        }
        let answer = call("GET", "/mistake", of_user.expose()).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (500, None));
        t.faults.fail(1, Fault::Unavailable);
        assert_eq!(call("GET", "/me", of_user.expose()).await.status, 503);
    }
}

#[tokio::test(flavor = "local")]
async fn handler_gets_the_complete_request() {
    for web in Web::each() {
        let app = web.host(&TestServer::new().server);
        let mut request = request("PROPFIND", "https://id.example/seen?state=%FF%20+&a=1&a=2")
            .with("x-twice", "one")
            .with_body(&b"\0\xff body"[..])
            .with_peer([192, 0, 2, 7]);
        request.headers_mut().append("x-twice", HeaderValue::from_bytes(b"tw\xff").unwrap());
        assert_eq!(app.send(request).await.status, 200);
        let expected = Seen {
            method: "PROPFIND".to_owned(),
            target: "/seen?state=%FF%20+&a=1&a=2".to_owned(),
            headers: vec![b"one".to_vec(), b"tw\xff".to_vec()],
            body: b"\0\xff body".to_vec(),
            peer: Some(Ipv4Addr::new(192, 0, 2, 7).into()),
        };
        assert_eq!(*app.seen.lock().unwrap(), expected);
    }
}

#[tokio::test(flavor = "local")]
async fn handler_returns_authorization_endpoint_answers() {
    for web in Web::each() {
        let t = TestServer::new();
        let client = t.public_client(REDIRECT_URI).await;
        let app = web.host(&t.server);
        let query = code_query(&client);
        for request in [get(&format!("/authorize?{query}")), post("/authorize", query.clone())] {
            let answer = app.send(request).await;
            assert_eq!(answer.status, 303);
            let target = url::Url::parse(answer.header("location").unwrap()).unwrap();
            let query: std::collections::BTreeMap<_, _> = target.query_pairs().collect();
            assert_eq!((&*query["state"], &*query["iss"]), ("a b&c", ISSUER));
            let code = grantor::AuthorizationCode::new(query["code"].clone());
            assert!(t.storage.find(&code.hash()).await.unwrap().is_some());
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        }
        let answer = app.send(get(&format!("/authorize?{query}&deny="))).await;
        let own = url::Url::parse(answer.header("location").unwrap()).unwrap();
        let same = location(&t.authorize(&client).pending().await.deny().into());
        assert_eq!(own.query_pairs().next(), same.query_pairs().next());
        assert!(own.query_pairs().any(|(name, value)| name == "error" && value == "access_denied"));

        let unknown = "/authorize?client_id=nobody";
        let answer = app.send(get(unknown)).await;
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(answer.header("content-security-policy").is_some() && answer.header("location").is_none());
        answer.assert_is(common::responded(t.server.authorize(&Request::get(unknown)).await));
    }
}

#[tokio::test(flavor = "local")]
async fn response_keeps_status_headers_and_body() {
    for web in Web::each() {
        let page = Response::page(418, "<p>\u{e9}</p>");
        let mut headers: Vec<(String, String)> =
            page.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut answer = web.answer(page).await;
        headers.sort();
        answer.headers.sort();
        assert_eq!((answer.status, &answer.headers), (418, &headers));
        assert_eq!(answer.body, "<p>\u{e9}</p>");
    }
}
