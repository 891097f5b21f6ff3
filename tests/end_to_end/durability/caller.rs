//! A client of the servers over HTTP with kept connections.

use std::time::Duration;

use grantor::record::TokenKind;
use grantor::secret::TokenHash;
use grantor::{AccessToken, AuthorizationCode, GrantId, RefreshToken};
use serde_json::Value;

pub(crate) const CLIENT: &str = "web";
pub(crate) const SECRET: &str = "a secret of the tests, and of no one else: 3f1c77b0";
pub(crate) const REDIRECT_URI: &str = "https://app.example/callback";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A code or refresh token of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) kind: TokenKind,
    pub(crate) text: String,
    pub(crate) grant: GrantId,
}

impl Held {
    pub(crate) fn hash(&self) -> TokenHash {
        match self.kind {
            TokenKind::AuthorizationCode => AuthorizationCode::new(&self.text).hash(),
            TokenKind::AccessToken => AccessToken::new(&self.text).hash(),
            TokenKind::RefreshToken => RefreshToken::new(&self.text).hash(),
            ref kind => unreachable!("no client holds a token of the kind {kind:?}"),
        }
    }

    pub(crate) fn is_code(&self) -> bool {
        self.kind == TokenKind::AuthorizationCode
    }
}

/// The tokens of one response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) access: Held,
    pub(crate) refresh: Held,
}

/// The response of a server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The tokens of a 200 response of the token endpoint.
    pub(crate) fn pair(&self, grant: GrantId) -> Pair {
        assert_eq!(self.status, 200, "{self:?}");
        let held = |kind, name: &str| Held { kind, text: self.body[name].as_str().expect(name).to_owned(), grant };
        assert_eq!(self.body["token_type"], "Bearer");
        Pair {
            access: held(TokenKind::AccessToken, "access_token"),
            refresh: held(TokenKind::RefreshToken, "refresh_token"),
        }
    }

    pub(crate) fn is_invalid_grant(&self) -> bool {
        self.status == 400 && self.body["error"] == "invalid_grant"
    }

    /// Whether the response tells a client to try again later.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.status == 503 && self.body["error"] == "temporarily_unavailable"
    }
}

/// One client with its own connection pool, as a long-running program has it.
#[derive(Clone)]
pub(crate) struct Caller(reqwest::Client);

impl Caller {
    pub(crate) fn new() -> Self {
        // Each of the few steps of a request waits some seconds for the database before the server gives up.
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1));
        Self(http.build().unwrap())
    }

    /// Presents a code or refresh token. An error means that the response was lost or incomplete.
    pub(crate) async fn present(&self, base: &str, token: &Held) -> reqwest::Result<Answer> {
        let form: &[(&str, &str)] = if token.is_code() {
            &[
                ("grant_type", "authorization_code"),
                ("code", &token.text),
                ("redirect_uri", REDIRECT_URI),
                ("code_verifier", VERIFIER),
            ]
        } else {
            &[("grant_type", "refresh_token"), ("refresh_token", &token.text)]
        };
        self.post(base, "/token", form).await
    }

    /// Revokes a token (RFC 7009).
    pub(crate) async fn revoke(&self, base: &str, token: &Held) -> Answer {
        self.post(base, "/revoke", &[("token", &token.text)]).await.unwrap()
    }

    /// Introspects a token (RFC 7662).
    pub(crate) async fn introspect(&self, base: &str, token: &Held) -> Answer {
        self.post(base, "/introspect", &[("token", &token.text)]).await.unwrap()
    }

    /// Whether introspection reports a token as active. The protected API must accept exactly the active access tokens.
    pub(crate) async fn is_alive(&self, base: &str, token: &Held) -> bool {
        let answer = self.introspect(base, token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let active = answer.body["active"].as_bool().unwrap();
        if token.kind == TokenKind::AccessToken {
            assert_eq!(self.me(base, token).await, if active { 200 } else { 401 }, "the API disagrees: {answer:?}");
        }
        active
    }

    /// The status of the authorization endpoint for a valid request.
    pub(crate) async fn authorize(&self, base: &str) -> u16 {
        let query = [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ];
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.0.get(format!("{base}/authorize?{query}")).send().await.unwrap().status().as_u16()
    }

    /// The status of the protected API.
    pub(crate) async fn me(&self, base: &str, token: &Held) -> u16 {
        let request = self.0.get(format!("{base}/api/me")).bearer_auth(&token.text);
        request.send().await.unwrap().status().as_u16()
    }

    async fn post(&self, base: &str, path: &str, form: &[(&str, &str)]) -> reqwest::Result<Answer> {
        let request =
            self.0.post(format!("{base}{path}")).basic_auth(encoded(CLIENT), Some(encoded(SECRET))).form(form);
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("a JSON body") };
        Ok(Answer { status, body })
    }
}

/// RFC 6749 §2.3.1: both halves of Basic are form-encoded.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
