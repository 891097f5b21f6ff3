//! The registration that a client needs before the endpoint serves it.

use grantor::client::{ClientError, ClientParts, RedirectUriError};
use grantor::{Client, ClientCredential, ClientSecret};

const NONE: [&str; 0] = [];

// covers: RU-01 (RFC 6749 §3.1.2.2), RU-03 (OAuth 2.1 §2.3.1)
#[test]
fn client_with_redirect_grant_needs_a_redirect_uri() {
    let secret = ClientSecret::new("x".repeat(43));
    let confidential = Client::confidential("app", ClientCredential::secret(&secret)).authorization_code(NONE);
    for built in [
        Client::public("app").authorization_code(NONE).build(),
        Client::native("app").authorization_code(NONE).build(),
        confidential.build(),
    ] {
        assert_eq!(built.unwrap_err(), ClientError::NoRedirectUri);
    }
}

// covers: RU-05 (RFC 6749 §3.1.2), RU-06, RU-10 (RFC 9700 §2.6), RU-11 (RFC 7591 §5), TL-04 (RFC 6749 §10.8), GC-16 (RFC 6749 §10.5), B6
#[test]
fn invalid_redirect_uri_is_refused_by_every_constructor() {
    for (uri, error) in [
        ("/cb", RedirectUriError::NotAbsolute),
        ("https://app.example/cb#", RedirectUriError::Fragment),
        ("http://app.example/cb", RedirectUriError::PlainHttp),
        ("javascript:alert(1)", RedirectUriError::Scheme),
        ("https://*.app.example/cb", RedirectUriError::Host),
        ("https://app.example/cb?code=x", RedirectUriError::ResponseParameter),
    ] {
        for built in [
            Client::public("app").authorization_code([uri]).build(),
            Client::native("app").authorization_code(["https://app.example/cb", uri]).build(),
        ] {
            assert_eq!(built.unwrap_err(), ClientError::RedirectUri { uri: uri.to_owned(), error });
        }
        let json = serde_json::json!({
            "client_id": "app",
            "client_type": "public",
            "grant_types": ["authorization_code"],
            "redirect_uris": [uri],
        });
        assert!(serde_json::from_value::<ClientParts>(json.clone()).is_err(), "{uri}");
        assert!(serde_json::from_value::<Client>(json).is_err(), "{uri}");
    }
}
