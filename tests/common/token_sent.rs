//! Cases that revocation and introspection share: a client authenticates and sends one token.

use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{RefreshToken, Request, Response, TokenResponse};

use crate::common::{CB, basic, error_of, form, json, text};

pub(crate) async fn tokens_of(t: &TestServer, client: &TestClient) -> TokenResponse {
    t.authorize(client).approve_as("alice").await.redeem().await.unwrap()
}

pub(crate) fn refresh_of(tokens: &TokenResponse) -> &RefreshToken {
    tokens.refresh_token.as_ref().expect("a refresh token")
}

/// An endpoint, by its path.
pub(crate) struct Endpoint(pub(crate) &'static str);

impl Endpoint {
    pub(crate) async fn send(&self, t: &TestServer, request: &Request) -> Response {
        match self.0 {
            "/revoke" => t.server.revoke(request).await,
            _ => t.server.introspect(request).await,
        }
    }

    /// The event about a request that was refused.
    fn refusal(&self) -> &'static str {
        if self.0 == "/revoke" { "revocation_refused" } else { "introspection_refused" }
    }

    pub(crate) fn request(&self, pairs: &[(&str, &str)]) -> Request {
        Request::post_form(self.0, form(pairs))
    }

    /// The request of a client with its own authentication method.
    pub(crate) fn request_by(&self, client: &TestClient, pairs: &[(&str, &str)]) -> Request {
        match &client.secret {
            Some(secret) => self.request(pairs).with_header("authorization", basic(&client.id, secret.expose())),
            None => self.request(&[pairs, &[("client_id", &client.id)]].concat()),
        }
    }

    /// Sends a request that must be refused like at the token endpoint, for the expected reason.
    pub(crate) async fn refused(
        &self,
        t: &TestServer,
        request: &Request,
        status: u16,
        error: &str,
        reason: &str,
    ) -> Response {
        let before = t.events.events().len();
        let response = self.send(t, request).await;
        assert_eq!((response.status(), error_of(&response).as_str()), (status, error), "{}", text(&response));
        let body = json(&response);
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["error", "error_description"]);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!((response.header("cache-control"), response.header("pragma")), (Some("no-store"), Some("no-cache")));
        let challenge = format!("Basic realm=\"{ISSUER}\", charset=\"UTF-8\"");
        assert_eq!(response.header("www-authenticate"), (status == 401).then_some(&*challenge));
        assert_eq!(response.header("allow"), (status == 405).then_some("POST"));
        assert_eq!(t.events.names()[before..], [self.refusal()]);
        let last = t.events.events().pop().unwrap();
        assert!(last.text.contains(reason), "{}", last.text);
        response
    }

    /// A client that fails to authenticate gets the same response as it would at the token endpoint, before any token
    /// is looked up.
    pub(crate) async fn assert_authenticates(&self, t: &TestServer, client: &TestClient, tokens: &TokenResponse) {
        let public = t.public_client(CB).await;
        let secret = client.secret.as_ref().unwrap().expose();
        let id = ("client_id", client.id.as_str());
        let wrong = ("client_secret", "not-the-secret");
        let jwt = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        // Each case has additions to the body, a header, and the number of client look-ups.
        for (pairs, header, look_ups) in [
            (vec![], None, 0),
            (vec![], Some(basic(&client.id, "not-the-secret")), 1),
            (vec![], Some(basic("nobody-we-know", secret)), 1),
            (vec![], Some(basic("\u{e9}", secret)), 0),
            (vec![], Some(basic(&client.id, "")), 1),
            (vec![], Some(basic(&public.id, "")), 1),
            (vec![], Some("Basic ???".to_owned()), 0),
            (vec![], Some(format!("Bearer {}", tokens.access_token.expose())), 0),
            (vec![id], None, 1),
            (vec![("client_id", "nobody-we-know")], None, 1),
            (vec![id, wrong], None, 1),
            (vec![("client_secret", secret)], None, 0),
            (vec![id, ("client_secret", secret)], Some(basic(&client.id, secret)), 0),
            (vec![("client_id", public.id.as_str())], Some(basic(&client.id, secret)), 0),
            (vec![("client_assertion", "header.payload.signature"), jwt], None, 0),
            (vec![id, id], None, 0),
        ] {
            let request = |path: &'static str, own: (&'static str, &str)| {
                let request = Request::post_form(path, form(&[&[own], &pairs[..]].concat()));
                header.iter().fold(request, |request, value| request.with_header("authorization", value.clone()))
            };
            let expected = t.server.token(&request("/token", ("grant_type", "client_credentials"))).await.into_parts();
            assert!(matches!(expected.0, 400 | 401), "{pairs:?}");
            for token in [tokens.access_token.expose(), refresh_of(tokens).expose(), "garbage"] {
                let calls = t.faults.calls();
                let response = self.send(t, &request(self.0, ("token", token))).await;
                assert_eq!(t.faults.calls() - calls, look_ups, "the token was looked up: {pairs:?}, {header:?}");
                assert_eq!(response.into_parts(), expected, "{pairs:?}, {header:?}");
                assert_eq!(t.events.names().last(), Some(&self.refusal()));
            }
        }
    }

    /// Only a posted form with one token is accepted. The server's `max_body` must be 3,000 bytes.
    pub(crate) async fn assert_takes_only_forms(&self, t: &TestServer, client: &TestClient, token: &str) {
        let authorized = |request: Request| {
            request.with_header("authorization", basic(&client.id, client.secret.as_ref().unwrap().expose()))
        };
        let raw = |body: &str| authorized(Request::post_form(self.0, body));
        let with = |method: &str, query: &str, content_type: &str, body: String| {
            let request = Request::new(method, format!("{}{query}", self.0)).with_header("content-type", content_type);
            authorized(request).with_body(body)
        };
        let in_query = format!("?token={token}");
        let jsonp = format!("{in_query}&callback=package.setToken");
        let mut cases: Vec<_> = ["", &in_query, &jsonp].map(|query| ("GET", query)).into();
        cases.extend(["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"].map(|method| (method, "")));
        let form_type = "application/x-www-form-urlencoded";
        let mut cases: Vec<(Request, u16, &str)> = cases
            .into_iter()
            .map(|(method, query)| (with(method, query, form_type, form(&[("token", token)])), 405, "MethodNotAllowed"))
            .collect();
        cases.push((with("POST", "", "application/json", format!("{{\"token\":\"{token}\"}}")), 400, "NotAForm"));
        cases.push((with("POST", &in_query, form_type, String::new()), 400, "ParameterInQuery(\"token\")"));
        let good = format!("token={token}");
        for (body, status, reason) in [
            ("", 400, "MissingParameter(\"token\")"),
            ("token=", 400, "MissingParameter(\"token\")"),
            ("token_type_hint=access_token", 400, "MissingParameter(\"token\")"),
            (&format!("{good}&{good}"), 400, "RepeatedParameter(\"token\")"),
            (&format!("{good}&token_type_hint=a&token_type_hint=a"), 400, "RepeatedParameter(\"token_type_hint\")"),
            (&format!("{good}%"), 400, "MalformedEncoding"),
            (&format!("{good}%FF"), 400, "MalformedEncoding"),
            (&format!("{good}&x=%ZZ"), 400, "MalformedEncoding"),
            (&format!("{good}&x=%FF"), 400, "MalformedEncoding"),
            (&format!("{good}&x={}", "x".repeat(3_000)), 413, "BodyTooLarge"),
        ] {
            cases.push((raw(body), status, reason));
        }
        for (request, status, reason) in cases {
            let response = self.refused(t, &request, status, "invalid_request", reason).await;
            assert!(!text(&response).contains(token) && !text(&response).contains("active"));
        }
    }

    /// Requests with unknown parameters, even repeated, and with a query in the URL.
    pub(crate) fn requests_with_more(&self, client: &TestClient, token: &str) -> [Request; 3] {
        ["tenant=1", "x=%zz", "x=%FF&x"].map(|query| {
            let request = Request::post_form(format!("{}?{query}", self.0), format!("token={token}&x=1&x=2"));
            request.with_header("authorization", basic(&client.id, client.secret.as_ref().unwrap().expose()))
        })
    }
}
