//! The paths of the routes, for any URLs of the server.

use grantor::testing::{ISSUER, TestServer};
use grantor::{
    AuthorizationServer, BearerRequest, Client, ClientCredential, ClientRegistry, ClientSecret, MemoryStorage,
    ProtectedResource, Request,
};
use serde_json::json;

use crate::common::{basic, form};
use crate::{Web, With, get, post, request, target};

/// A server with this issuer and changed endpoint URLs.
pub(crate) async fn elsewhere(
    issuer: &str,
    change: impl FnOnce(&mut grantor::EndpointUrls) + Send + Sync + 'static,
) -> AuthorizationServer {
    let builder = AuthorizationServer::builder(issuer).storage(MemoryStorage::new());
    builder.scope("user:read", "Read your profile").endpoints(change).build().await.unwrap()
}

/// A server below a path of the host, which has an API and a client called `machine`.
pub(crate) async fn tenant(issuer: &str) -> AuthorizationServer {
    let storage = MemoryStorage::new();
    let credential = ClientCredential::secret(&ClientSecret::new(secret_at(issuer)));
    let machine = Client::confidential("machine", credential).client_credentials().scope("user:read");
    storage.register(machine.build().unwrap()).await.unwrap();
    let builder = AuthorizationServer::builder(issuer).storage(storage).scope("user:read", "Read your profile");
    builder.protected_resource(ProtectedResource::new(format!("{issuer}/api"))).build().await.unwrap()
}

fn secret_at(issuer: &str) -> String {
    format!("the secret that is known at {issuer} and nowhere else")
}

// covers: MD-04 (RFC 8414 §3.1), MD-19 (RFC 8414 §3.2)
#[tokio::test(flavor = "local")]
async fn metadata_route_answers_like_the_server() {
    for web in Web::each() {
        let t = TestServer::new();
        let app = web.routes([&t.server]);
        let path = "/.well-known/oauth-authorization-server";
        let answer = app.send(get(path)).await;
        assert_eq!((answer.status, &answer.json()["issuer"]), (200, &json!(ISSUER)));
        assert_eq!(answer.json()["token_endpoint"], format!("{ISSUER}/token"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
        answer.assert_is(t.server.metadata(&Request::get(path)));
        let answer = app.send(request("HEAD", path)).await;
        assert_eq!((answer.status, answer.body.is_empty()), (200, web.answers_head_without_body()));
        let answer = app.send(request("POST", path)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
        for unknown in [format!("{path}/nope"), format!("{path}/"), "/.well-known/openid-configuration".to_owned()] {
            assert_eq!(app.send(get(&unknown)).await.status, 404, "{unknown}");
        }
    }
}

// covers: MD-21 (RFC 8414 §2), PP-17 (RFC 6749 §3.2), B43
#[tokio::test(flavor = "local")]
async fn every_url_in_the_metadata_is_served() {
    for server in [
        elsewhere(ISSUER, |_| {}).await,
        elsewhere("https://id.example/", |_| {}).await,
        elsewhere("https://id.example/t1", |_| {}).await,
        elsewhere("https://id.example/t1/", |_| {}).await,
        elsewhere("https://id.example/a/:b/*c/{d}/e%20f", |_| {}).await,
        elsewhere("https://id.example/t1", |urls| {
            urls.token = "https://id.example/oauth/token?tenant=1".to_owned();
            urls.revocation = Some("https://id.example/oauth/revoke?tenant=1&x=%20".to_owned());
            urls.introspection = Some("https://id.example/?introspect".to_owned());
        })
        .await,
    ] {
        for web in Web::each() {
            let app = web.routes([&server]);
            let answer = app.send(get(server.metadata_path())).await;
            assert_eq!(answer.status, 200, "{}", server.issuer());
            let document = answer.json();
            assert_eq!(document["issuer"], server.issuer());
            for member in ["token_endpoint", "revocation_endpoint", "introspection_endpoint"] {
                let target = target(document[member].as_str().unwrap());
                let answer = app.send(post(&target, "grant_type=client_credentials&token=x")).await;
                assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{target}");
            }
        }
    }
}

// covers: MD-02 (RFC 8414 §3.1)
#[tokio::test(flavor = "local")]
async fn issuer_with_a_path_is_served_at_exactly_that_path() {
    let server = elsewhere("https://id.example/a%20b/{tenant}", |_| {}).await;
    for web in Web::each() {
        // The other routes of the app still work.
        for app in [web.routes([&server]), web.host(&server)] {
            for (path, status) in [
                ("/a%20b/%7Btenant%7D/token", 405),
                ("/.well-known/oauth-authorization-server/a%20b/%7Btenant%7D", 200),
                ("/a%20b/other/token", 404),
                ("/token", 404),
                ("/x/a%20b/%7Btenant%7D/token", 404),
                ("/a%20b/%7Btenant%7D/token/", 404),
                ("/.well-known/oauth-authorization-server", 404),
            ] {
                assert_eq!(app.send(get(path)).await.status, status, "{path}");
            }
        }
        for path in ["/seen", "/hello"] {
            assert_eq!(web.host(&server).send(get(path)).await.status, 200, "{path}");
        }
    }
}

// covers: MD-21 (RFC 8414 §2), B43
#[tokio::test(flavor = "local")]
async fn disabled_endpoint_gets_404() {
    let server = elsewhere(ISSUER, |urls| {
        urls.revocation = None;
        urls.introspection = None;
    })
    .await;
    for web in Web::each() {
        for (path, status) in [("/token", 405), ("/revoke", 404), ("/introspect", 404), ("/authorize", 404)] {
            assert_eq!(web.routes([&server]).send(get(path)).await.status, status, "{path}");
        }
    }
}

// covers: MD-05 (RFC 8414 §3.3), MD-19 (RFC 8414 §3.2)
#[tokio::test(flavor = "local")]
async fn several_issuers_can_share_a_host() {
    for web in Web::each() {
        let tenants = [tenant("https://id.example/t1").await, tenant("https://id.example/t2").await];
        let app = web.routes(&tenants);
        for (own, other) in [(&tenants[0], &tenants[1]), (&tenants[1], &tenants[0])] {
            for path in [own.metadata_path(), own.resource_metadata_path().unwrap()] {
                let is_resource = path.contains("oauth-protected-resource");
                let request = Request::get(path);
                let same = if is_resource { own.resource_metadata(&request) } else { own.metadata(&request) };
                app.send(get(path)).await.assert_is(same);
            }
            let post = |url: &str, pairs: &[(&str, &str)]| {
                post(&target(url), form(pairs)).with("authorization", &basic("machine", &secret_at(own.issuer())))
            };
            let urls = own.endpoints();
            let machine_form = [("grant_type", "client_credentials"), ("scope", "user:read")];
            let answer = app.send(post(&urls.token, &machine_form)).await;
            let token = grantor::AccessToken::new(answer.json()["access_token"].as_str().expect("a token"));
            assert!(
                own.bearer_request(&BearerRequest::of(&token)).await.is_ok()
                    && other.bearer_request(&BearerRequest::of(&token)).await.is_err()
            );
            let about_it = [("token", token.expose())];
            let told = app.send(post(urls.introspection.as_ref().unwrap(), &about_it)).await.json();
            assert_eq!((&told["active"], &told["iss"]), (&json!(true), &json!(own.issuer())));
            assert_eq!(app.send(post(urls.revocation.as_ref().unwrap(), &about_it)).await.status, 200);
            assert!(own.bearer_request(&BearerRequest::of(&token)).await.is_err());

            let stranger = app.send(post(&other.endpoints().token, &machine_form)).await;
            let realm = format!("Basic realm=\"{}\", charset=\"UTF-8\"", other.issuer());
            assert_eq!((stranger.status, stranger.header("www-authenticate")), (401, Some(&*realm)));
        }
        for path in ["/t3", ""] {
            let uri = format!("/.well-known/oauth-authorization-server{path}");
            assert_eq!(app.send(get(&uri)).await.status, 404, "{path}");
        }
    }
}
