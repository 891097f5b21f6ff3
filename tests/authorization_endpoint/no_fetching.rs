//! The server never fetches a URL from a request or a registration.

use std::io::ErrorKind;
use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::testing::TestServer;
use grantor::{AuthorizationOutcome, Client, Request};
use serde_json::json;

use crate::ask::{Ask, CALLBACK, approved, assert_page, pending, refused, target_of};
use crate::common::{form, responded};

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

// covers: B32
#[tokio::test]
async fn request_object_is_ignored_and_not_fetched() {
    let (t, inside) = (TestServer::new(), Inside::new());
    let app = t.public_client(CALLBACK).await;
    let claims = json!({
        "client_id": "another", "redirect_uri": "https://evil.example/", "scope": "user:write", "state": "forged",
        "response_type": "token", "request": "nested",
    });
    let ask = Ask::code(&app).with("request", &unsigned(&claims));
    for url in inside.urls() {
        let ask = ask.clone().with("request_uri", &url);
        let waiting = pending(&t, &ask).await;
        assert_eq!((waiting.scope().as_str(), waiting.client().id().as_str()), ("user:read", &*app.id));
        let answer = approved(&t, &ask).await;
        assert_eq!(target_of(&answer), CALLBACK);
        assert!(answer.header("location").unwrap().contains("&state=af0ifjsldkj&"));
        // The request object does not supply missing parameters either.
        let lacking = refused(&t, &ask.clone().without("client_id")).await;
        assert_page(&lacking, 400, "invalid_request", "the parameter client_id is missing");
    }
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
        let stored = json!({
            "client_id": "a", "client_type": "public", "grant_types": ["refresh_token"], "jwks_uri": url,
        });
        assert!(serde_json::from_value::<Client>(stored).is_err(), "keys are not fetched from a URL");
    }
    inside.assert_no_connection();
}
