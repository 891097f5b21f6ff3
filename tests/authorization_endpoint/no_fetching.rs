//! The server never fetches a URL from a request or a registration.

use std::io::ErrorKind;
use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::testing::TestServer;
use grantor::{AuthorizationOutcome, Client, Request};
use serde_json::json;

use crate::ask::{Ask, CALLBACK, assert_error, assert_page, pending, refused};
use crate::common::{authorize, form, query_of, responded};

/// An address inside the host's network that must never be contacted.
struct Inside(TcpListener);

impl Inside {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn urls(&self) -> [String; 2] {
        let address = self.0.local_addr().unwrap();
        [format!("http://{address}/inside"), format!("https://{address}/inside")]
    }

    fn assert_no_connection(&self) {
        assert_eq!(self.0.accept().map(|_| ()).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// A request object without a signature.
fn unsigned(claims: &serde_json::Value) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({"alg": "none"})), part(claims))
}

// covers: JR-02 (RFC 9101 §5), JR-13 (RFC 9101 §7), B32
#[tokio::test]
async fn unsupported_request_object_is_refused_and_not_fetched() {
    let (t, inside) = (TestServer::new(), Inside::new());
    let app = t.public_client(CALLBACK).await;
    let claims = json!({
        "client_id": "another", "redirect_uri": "https://evil.example/", "scope": "user:write", "state": "forged",
        "response_type": "token", "request": "nested",
    });
    let (ask, object) = (Ask::code(&app), unsigned(&claims));
    for url in inside.urls() {
        let by_value = ask.clone().with("request", &object);
        for (ask, code, description) in [
            (by_value.clone(), "request_not_supported", "request objects are not supported"),
            (ask.clone().with("request_uri", &url), "request_uri_not_supported", "request_uri is not supported"),
            (
                by_value.with("request_uri", &url),
                "invalid_request",
                "request and request_uri are used together: send one of them",
            ),
        ] {
            let answer = refused(&t, &ask).await;
            assert_error(&answer, CALLBACK, code, Some("af0ifjsldkj"));
            assert_eq!(query_of(&answer)["error_description"], description);
            // The request object does not supply missing parameters.
            let lacking = refused(&t, &ask.without("client_id")).await;
            assert_page(&lacking, 400, "invalid_request", "the parameter client_id is missing");
        }
    }
    let empty = ask.with("request", "").with("request_uri", "");
    assert_eq!(pending(&t, &empty).await.scope().as_str(), "user:read", "empty parameters count as missing");
    // The library user reads the real reason if the request relies on the object.
    let uris = [CALLBACK, "https://app.example/2"];
    let two = t.register(Client::public("two").authorization_code(uris).scope("user:read").build(), None).await;
    let bare = responded(t.server.authorize(&authorize(&[("client_id", &two.id), ("request", &object)])).await);
    assert_page(&bare, 400, "request_not_supported", "request objects are not supported");
    inside.assert_no_connection();
}

// covers: B33
#[tokio::test]
async fn client_urls_are_never_fetched() {
    let (t, inside) = (TestServer::new(), Inside::new());
    for url in inside.urls() {
        // A client identifier that looks like a URL is an ordinary name.
        let pairs = [("client_id", &*url), ("response_type", "code"), ("redirect_uri", &url)];
        let unknown = responded(t.server.authorize(&Request::get(format!("/authorize?{}", form(&pairs)))).await);
        assert_page(&unknown, 400, "invalid_client", "the client is not registered with this server");
        let client = Client::public(&url).client_uri(&url).authorization_code([CALLBACK]).scope("user:read").build();
        let known = t.register(client, None).await;
        let AuthorizationOutcome::Pending(waiting) = t.server.authorize(&Ask::code(&known).get()).await else {
            panic!("the client is registered");
        };
        assert_eq!(waiting.client().client_uri(), Some(&*url));
    }
    inside.assert_no_connection();
}
