//! Authorization server metadata (RFC 8414): each claim is checked against the server.

use std::collections::BTreeSet;

use async_trait::async_trait;
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::policy::RefreshTokens;
use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{
    AccessToken, Approval, AuthorizationCode, AuthorizationOutcome, AuthorizationServer, BuildError, Builder,
    EndpointUrls, Error, GrantType, MemoryStorage, Policy, Refusal, Request, Response, Subject, TokenRequest,
};
use serde_json::{Value, json};
use url::Url;

#[path = "common/mod.rs"]
mod common;
use common::{CHALLENGE, VERIFIER, basic, error_of, form, fragment_of, json, query_of, text};

const CB: &str = "https://app.example/cb";
const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
const EXTENSION: &str = "urn:example:grant";

fn builder(issuer: &str) -> Builder {
    AuthorizationServer::builder(issuer).storage(MemoryStorage::new()).scope("user:read", "Read your profile")
}

fn document(server: &AuthorizationServer) -> Value {
    let response = server.metadata(&Request::get(server.metadata_path()));
    assert_eq!(response.status(), 200);
    json(&response)
}

fn texts(value: &Value) -> BTreeSet<String> {
    let values = value.as_array().expect("an array");
    values.iter().map(|value| value.as_str().expect("a text").to_owned()).collect()
}

// covers: MD-01 (RFC 8414 §2), MD-04 (RFC 8414 §3.1), MD-06 (RFC 8414 §2), MD-07 (RFC 8414 §2), MD-09 (RFC 8414 §2), MD-10 (RFC 8414 §2), MD-11 (RFC 8414 §2), MD-13 (RFC 8414 §2), MD-15 (RFC 8414 §2), MD-17 (RFC 9700 §2.6), IS-05 (RFC 9207 §3), IS-06 (RFC 9207 §2.3), PK-21 (RFC 9700 §2.1.1), GI-06 (RFC 9700 §2.1.2), SC-06 (RFC 6749 §3.3)
#[tokio::test]
async fn metadata_with_the_default_policy_has_these_members() {
    let t = TestServer::new();
    let expected = json!({
        "issuer": "https://id.example",
        "authorization_endpoint": "https://id.example/authorize",
        "token_endpoint": "https://id.example/token",
        "scopes_supported": ["offline_access", "user:read", "user:write"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint": "https://id.example/revoke",
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "introspection_endpoint": "https://id.example/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    let response = t.metadata(&Request::get(WELL_KNOWN));
    assert_eq!(response.status(), 200);
    let headers: Vec<_> = response.headers().collect();
    assert_eq!(headers, [("cache-control", "public, max-age=3600"), ("content-type", "application/json")]);
    assert_eq!(json(&response), expected);
    assert_eq!(Value::Object(t.metadata_document().clone()), expected);
}

// covers: MD-02 (RFC 8414 §3.1), MD-03 (RFC 8414 §3.1), MD-05 (RFC 8414 §3.3), MD-19 (RFC 8414 §3.2)
#[tokio::test]
async fn metadata_path_follows_the_issuer_and_is_unique() {
    for (issuer, path, token) in [
        ("https://id.example", WELL_KNOWN.to_owned(), "https://id.example/token"),
        ("https://id.example/", WELL_KNOWN.to_owned(), "https://id.example/token"),
        ("https://id.example/t1", format!("{WELL_KNOWN}/t1"), "https://id.example/t1/token"),
        ("https://id.example/t1/", format!("{WELL_KNOWN}/t1"), "https://id.example/t1/token"),
        ("https://id.example/a/b", format!("{WELL_KNOWN}/a/b"), "https://id.example/a/b/token"),
        ("https://id.example:8443/t%20t", format!("{WELL_KNOWN}/t%20t"), "https://id.example:8443/t%20t/token"),
        ("http://localhost:3000", WELL_KNOWN.to_owned(), "http://localhost:3000/token"),
    ] {
        let server = builder(issuer).build().await.unwrap();
        assert_eq!(server.metadata_path(), path);
        let document = document(&server);
        assert_eq!(document["issuer"], issuer, "character for character");
        assert_eq!(document["token_endpoint"], token);
        let with_query = server.metadata(&Request::get(format!("{path}?x=1")));
        assert_eq!(json(&with_query), document);
        for other in [
            format!("{path}/"),
            format!("{path}/nope"),
            format!("{WELL_KNOWN}/nope"),
            format!("/t1{WELL_KNOWN}"),
            path.to_uppercase(),
            format!("/{path}"),
            "/".to_owned(),
            String::new(),
        ] {
            let response = server.metadata(&Request::get(other.clone()));
            assert_eq!((response.status(), response.body()), (404, &b""[..]), "{other}");
        }
    }
    let tenant = builder("https://id.example/t1").build().await.unwrap();
    assert_eq!(tenant.metadata(&Request::get(WELL_KNOWN)).status(), 404, "the path of a document of another issuer");
}

#[tokio::test]
async fn metadata_allows_get_and_head_only() {
    let t = TestServer::new();
    let head = t.metadata(&Request::new("HEAD", WELL_KNOWN));
    assert_eq!((head.status(), head.header("content-type")), (200, Some("application/json")));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let response = t.metadata(&Request::new(method, WELL_KNOWN));
        assert_eq!((response.status(), response.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(error_of(&response), "invalid_request");
    }
}

// covers: TL-06 (OAuth 2.1 §1.5), RV-03 (RFC 7009 §2), IN-01 (RFC 7662 §4), MD-01 (RFC 8414 §2), PP-17 (RFC 6749 §3.1)
#[tokio::test]
async fn insecure_url_or_fragment_does_not_build() {
    let t = TestServer::new();
    let mut urls = 0;
    for (name, value) in t.metadata_document() {
        if name == "issuer" || name.ends_with("_endpoint") {
            let url = Url::parse(value.as_str().unwrap()).unwrap();
            assert_eq!((url.scheme(), url.fragment()), ("https", None), "{name}");
            urls += 1;
        }
    }
    assert_eq!(urls, 5);
    let set = |which: usize, url: &str| {
        let url = url.to_owned();
        builder(ISSUER).endpoints(move |urls| match which {
            0 => urls.authorization = Some(url),
            1 => urls.token = url,
            2 => urls.revocation = Some(url),
            _ => urls.introspection = Some(url),
        })
    };
    for which in 0..4 {
        for bad in [
            "http://id.example/x",
            "ftp://id.example/x",
            "/x",
            "",
            "https:id.example/x",
            "https:///x",
            "https://user@id.example/x",
            "https://id.example/x#",
            "https://id.example/x#y",
            "https://id.example/x y",
            "https://id.example/x\n",
            "http://127.0.0.2/x",
        ] {
            let error = set(which, bad).build().await.unwrap_err();
            assert!(matches!(&error, BuildError::Endpoint(url) if url == bad), "{bad}: {error}");
        }
        for good in ["https://login.example:8443/x", "https://id.example/x?tenant=1", "http://127.0.0.1:3000/x"] {
            let server = set(which, good).build().await.unwrap();
            let urls = server.endpoints();
            let all =
                [urls.authorization.as_ref(), Some(&urls.token), urls.revocation.as_ref(), urls.introspection.as_ref()];
            assert_eq!(all[which].map(String::as_str), Some(good));
        }
    }
    for bad in ["http://id.example", "https://id.example?x", "https://id.example#x", "https://id.example/?"] {
        assert!(matches!(builder(bad).build().await, Err(BuildError::Issuer(_))), "{bad}");
    }
}

// covers: MD-08 (RFC 8414 §3.2), MD-12 (RFC 8414 §2), MD-16 (RFC 8414 §2.1), MD-20 (RFC 9728 §4), B43
#[tokio::test]
async fn host_adds_metadata_members_but_overrides_none() {
    let server = builder(ISSUER)
        .metadata("service_documentation", "https://id.example/docs")
        .metadata("ui_locales_supported", vec!["en", "de"])
        .metadata("protected_resources", vec!["https://api.example"])
        .metadata("op_tos_uri", Value::Null)
        .metadata("display_values_supported", json!([]))
        .build()
        .await
        .unwrap();
    let own = builder(ISSUER).build().await.unwrap();
    let mut expected = own.metadata_document().clone();
    expected.insert("service_documentation".to_owned(), json!("https://id.example/docs"));
    expected.insert("ui_locales_supported".to_owned(), json!(["en", "de"]));
    expected.insert("protected_resources".to_owned(), json!(["https://api.example"]));
    assert_eq!(document(&server), Value::Object(expected), "empty lists and missing values are left out");

    let without = || {
        builder(ISSUER).endpoints(|urls| {
            urls.revocation = None;
            urls.introspection = None;
        })
    };
    let absent = [
        "revocation_endpoint",
        "revocation_endpoint_auth_methods_supported",
        "introspection_endpoint",
        "introspection_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        "revocation_endpoint_auth_signing_alg_values_supported",
        "introspection_endpoint_auth_signing_alg_values_supported",
        "signed_metadata",
    ];
    let present: Vec<String> = own.metadata_document().keys().cloned().collect();
    for name in absent.iter().map(|name| (*name).to_owned()).chain(present) {
        let error = without().metadata(name.clone(), json!(["none"])).build().await.unwrap_err();
        assert!(matches!(&error, BuildError::MetadataMember(member) if *member == name), "{name}: {error}");
    }
}

/// An extension grant that issues a token to every client.
struct Gift(GrantType);

#[async_trait]
impl GrantHandler for Gift {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        Ok(Decision::open(OpenGrant::new(context.scope()?)))
    }
}

/// A server with every claim to check, and clients that may use everything.
struct Crawl {
    t: TestServer,
    document: Value,
    web: TestClient,
    spa: TestClient,
    api: TestClient,
}

impl Crawl {
    async fn new(t: TestServer) -> Self {
        t.users.add("alice", "correct horse");
        let scope = "user:read user:write offline_access";
        let web = t.confidential_client_with(|client| {
            let client = client.authorization_code([CB]).implicit([CB]).refresh_token().client_credentials();
            client.password().extension_grant(EXTENSION).plain_pkce().scope(scope)
        });
        let (web, spa) = (web.await, t.public_client(CB).await);
        let api = t.confidential_client_with(grantor::client::ClientBuilder::resource_server).await;
        let document = document(&t.server);
        Self { t, document, web, spa, api }
    }

    fn claims(&self, member: &str) -> BTreeSet<String> {
        texts(&self.document[member])
    }

    /// The path and query of an endpoint, as a client takes them from the document.
    fn target(&self, member: &str) -> String {
        let url = Url::parse(self.document[member].as_str().expect(member)).unwrap();
        url[url::Position::BeforePath..].to_owned()
    }

    async fn authorize(&self, pairs: &[(&str, &str)]) -> AuthorizationOutcome {
        let target = self.target("authorization_endpoint");
        let separator = if target.contains('?') { '&' } else { '?' };
        self.t.server.authorize(&Request::get(format!("{target}{separator}{}", form(pairs)))).await
    }

    /// Requests a code or token with PKCE, with one parameter changed.
    async fn asking(&self, name: &str, value: &str) -> AuthorizationOutcome {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", self.web.id.as_str()),
            ("redirect_uri", CB),
            ("scope", "user:read"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        pairs.retain(|(own, _)| *own != name);
        pairs.push((name, value));
        if value == "plain" {
            pairs.retain(|(own, _)| *own != "code_challenge");
            pairs.push(("code_challenge", VERIFIER));
        }
        self.authorize(&pairs).await
    }

    async fn approved(&self, authorize: AuthorizationOutcome) -> Option<Response> {
        match authorize {
            AuthorizationOutcome::Pending(pending) => {
                let approval = Approval::by(Subject::new("alice").unwrap());
                Some(grantor::testing::approve(pending, approval).await.into())
            }
            AuthorizationOutcome::Respond(_) => None,
        }
    }

    /// The error code of a refused authorization request, from the query or the fragment.
    fn refusal(authorize: AuthorizationOutcome) -> String {
        let response = common::responded(authorize);
        let location = common::location(&response);
        let error = |text: &str| {
            url::form_urlencoded::parse(text.as_bytes())
                .find(|(name, _)| name == "error")
                .map(|(_, value)| value.into_owned())
        };
        error(location.query().unwrap_or_default())
            .or_else(|| error(location.fragment().unwrap_or_default()))
            .expect("an error")
    }

    async fn token(&self, pairs: &[(&str, &str)]) -> Response {
        let secret = self.web.secret.as_ref().unwrap().expose();
        let request = Request::post_form(self.target("token_endpoint"), form(pairs));
        self.t.server.token(&request.with_header("authorization", basic(&self.web.id, secret))).await
    }

    /// Redeems the code of a response.
    async fn redeem(&self, answer: &Response) -> Response {
        let found = if common::location(answer).query().is_some() { query_of(answer) } else { fragment_of(answer) };
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", &found["code"]),
            ("redirect_uri", CB),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    async fn tokens(&self) -> Value {
        let answer = self.approved(self.asking("response_type", "code").await).await.unwrap();
        json(&self.redeem(&answer).await)
    }

    async fn prove(&self) {
        self.response_types().await;
        self.response_modes().await;
        self.grant_types().await;
        self.challenge_methods().await;
        self.scopes().await;
        self.issuer().await;
        self.request_objects().await;
        self.methods_of("token_endpoint", "token_endpoint_auth_methods_supported").await;
        for endpoint in ["revocation_endpoint", "introspection_endpoint"] {
            let methods = format!("{endpoint}_auth_methods_supported");
            assert_eq!(self.document.get(endpoint).is_some(), self.document.get(&methods).is_some());
            if self.document.get(endpoint).is_some() {
                self.methods_of(endpoint, &methods).await;
            }
        }
        self.has_no_other_claim();
    }

    async fn response_types(&self) {
        let claimed = self.claims("response_types_supported");
        for name in ["code", "token", "id_token", "code token", "none", "code id_token", "Code"] {
            let answer = self.asking("response_type", name).await;
            match (claimed.contains(name), name) {
                (true, "code") => {
                    let answer = self.approved(answer).await.unwrap();
                    assert_eq!(self.redeem(&answer).await.status(), 200);
                }
                (true, "token") => {
                    let answer = self.approved(answer).await.unwrap();
                    let token = AccessToken::new(fragment_of(&answer)["access_token"].clone());
                    assert!(self.t.bearer(&token).await.is_ok());
                }
                (true, _) => panic!("{name} has no check here"),
                (false, _) => assert_eq!(Self::refusal(answer), "unsupported_response_type", "{name}"),
            }
        }
    }

    async fn response_modes(&self) {
        let claimed = self.claims("response_modes_supported");
        for name in ["query", "fragment", "form_post", "web_message", "jwt", "Query"] {
            let answer = self.asking("response_mode", name).await;
            match (claimed.contains(name), name) {
                (true, "query") => {
                    let answer = self.approved(answer).await.unwrap();
                    assert!(query_of(&answer).contains_key("code") && fragment_of(&answer).is_empty());
                }
                (true, "fragment") => {
                    let answer = self.approved(answer).await.unwrap();
                    assert!(fragment_of(&answer).contains_key("code") && query_of(&answer).is_empty());
                }
                (true, _) => panic!("{name} has no check here"),
                (false, _) => assert_eq!(Self::refusal(answer), "invalid_request", "{name}"),
            }
        }
    }

    async fn grant_types(&self) {
        let claimed = self.claims("grant_types_supported");
        let others = [
            "authorization_code",
            "client_credentials",
            "refresh_token",
            "password",
            EXTENSION,
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ];
        for name in others {
            let tokens = self.tokens().await;
            assert_eq!(tokens["refresh_token"].is_string(), claimed.contains("refresh_token"), "{tokens}");
            let answer = self.approved(self.asking("response_type", "code").await).await.unwrap();
            let refresh_token = tokens["refresh_token"].as_str().unwrap_or("none");
            let response = match name {
                "authorization_code" => self.redeem(&answer).await,
                "refresh_token" => self.token(&[("grant_type", name), ("refresh_token", refresh_token)]).await,
                "password" => {
                    let owner = [("username", "alice"), ("password", "correct horse"), ("scope", "user:read")];
                    self.token(&[&[("grant_type", name)], &owner[..]].concat()).await
                }
                _ => self.token(&[("grant_type", name), ("scope", "user:read")]).await,
            };
            if claimed.contains(name) {
                assert_eq!(response.status(), 200, "{name}: {}", text(&response));
                let token = AccessToken::new(json(&response)["access_token"].as_str().unwrap());
                assert!(self.t.bearer(&token).await.is_ok(), "{name}");
            } else {
                assert_eq!(
                    (response.status(), error_of(&response).as_str()),
                    (400, "unsupported_grant_type"),
                    "{name}"
                );
            }
        }
        // The implicit grant has no token request; its response type proves that it works.
        assert_eq!(claimed.contains("implicit"), self.claims("response_types_supported").contains("token"));
        assert_eq!(error_of(&self.token(&[("grant_type", "implicit")]).await), "unsupported_grant_type");
        let known: BTreeSet<String> = others.into_iter().chain(["implicit"]).map(str::to_owned).collect();
        assert!(claimed.is_subset(&known), "one of {claimed:?} has no check here");
    }

    async fn challenge_methods(&self) {
        let claimed = self.claims("code_challenge_methods_supported");
        for name in ["S256", "plain", "S512", "s256"] {
            let answer = self.asking("code_challenge_method", name).await;
            if claimed.contains(name) {
                let answer = self.approved(answer).await.unwrap();
                assert_eq!(self.redeem(&answer).await.status(), 200, "{name}");
            } else {
                assert_eq!(Self::refusal(answer), "invalid_request", "{name}");
            }
        }
        assert!(claimed.iter().all(|name| ["S256", "plain"].contains(&&**name)), "{claimed:?}");
    }

    async fn scopes(&self) {
        let claimed = self.claims("scopes_supported");
        for name in claimed.iter().map(String::as_str) {
            let response = self.token(&[("grant_type", "client_credentials"), ("scope", name)]).await;
            assert_eq!((response.status(), &json(&response)["scope"]), (200, &json!(name)));
        }
        for name in ["admin", "user", "user:READ"] {
            assert!(!claimed.contains(name));
            let response = self.token(&[("grant_type", "client_credentials"), ("scope", name)]).await;
            assert_eq!(error_of(&response), "invalid_scope", "{name}");
        }
    }

    async fn issuer(&self) {
        assert_eq!(self.document["authorization_response_iss_parameter_supported"], true);
        let granted = self.approved(self.asking("response_type", "code").await).await.unwrap();
        assert_eq!(query_of(&granted)["iss"], self.document["issuer"].as_str().unwrap());
        let refused = common::responded(self.asking("scope", "admin").await);
        assert_eq!(query_of(&refused)["iss"], self.document["issuer"].as_str().unwrap());
    }

    /// Each announced method authenticates a client, and no other method does.
    async fn request_objects(&self) {
        for name in ["request", "request_uri"] {
            assert_eq!(self.document[format!("{name}_parameter_supported")], false);
            assert_eq!(Self::refusal(self.asking(name, "x").await), format!("{name}_not_supported"));
        }
    }

    async fn methods_of(&self, endpoint: &str, member: &str) {
        let claimed = self.claims(member);
        for name in ["client_secret_basic", "client_secret_post", "none", "private_key_jwt", "tls_client_auth"] {
            let answer = self.approved(self.asking("response_type", "code").await).await.unwrap();
            let code = query_of(&answer)["code"].clone();
            let of_public = self.t.authorize(&self.spa).approve_as("alice").await;
            let of_public_tokens = self.t.authorize(&self.spa).approve_as("alice").await.redeem().await.unwrap();
            let live = self.tokens().await["access_token"].as_str().unwrap().to_owned();
            let (client, code, verifier) = match name {
                "none" => (&self.spa, of_public.code().expose(), of_public.verifier().unwrap().expose()),
                _ => (&self.web, code.as_str(), VERIFIER),
            };
            let token = if name == "none" { of_public_tokens.access_token.expose() } else { &live };
            let client = if endpoint == "introspection_endpoint" && name != "none" { &self.api } else { client };
            let mut pairs = match endpoint {
                "token_endpoint" => vec![
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("redirect_uri", CB),
                    ("code_verifier", verifier),
                ],
                _ => vec![("token", token)],
            };
            let secret = client.secret.as_ref().map_or("", |secret| secret.expose());
            match name {
                "client_secret_post" => pairs.extend([("client_id", client.id.as_str()), ("client_secret", secret)]),
                "none" | "tls_client_auth" => pairs.push(("client_id", client.id.as_str())),
                "private_key_jwt" => pairs.extend([
                    ("client_id", client.id.as_str()),
                    ("client_assertion", "header.payload.signature"),
                    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ]),
                _ => {}
            }
            let mut request = Request::post_form(self.target(endpoint), form(&pairs));
            if name == "client_secret_basic" {
                request = request.with_header("authorization", basic(&client.id, secret));
            }
            let server = &self.t.server;
            let response = match endpoint {
                "token_endpoint" => server.token(&request).await,
                "revocation_endpoint" => server.revoke(&request).await,
                "introspection_endpoint" => server.introspect(&request).await,
                _ => panic!("{endpoint} has no check here"),
            };
            if !claimed.contains(name) {
                assert!(matches!(response.status(), 400 | 401), "{endpoint}, {name}: {}", text(&response));
                assert!(self.t.bearer(&AccessToken::new(token)).await.is_ok(), "{endpoint}, {name}");
                continue;
            }
            assert_eq!(response.status(), 200, "{endpoint}, {name}: {}", text(&response));
            match endpoint {
                "token_endpoint" => assert!(json(&response)["access_token"].is_string()),
                "revocation_endpoint" => assert!(self.t.bearer(&AccessToken::new(token)).await.is_err(), "{name}"),
                _ => assert_eq!(json(&response)["active"], true, "{name}"),
            }
        }
        let known = ["client_secret_basic", "client_secret_post", "none"];
        assert!(claimed.iter().all(|name| known.contains(&&**name)), "{claimed:?}");
    }

    /// A new member of the document needs a new check here.
    fn has_no_other_claim(&self) {
        let proven = [
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "scopes_supported",
            "response_types_supported",
            "response_modes_supported",
            "grant_types_supported",
            "token_endpoint_auth_methods_supported",
            "revocation_endpoint",
            "revocation_endpoint_auth_methods_supported",
            "introspection_endpoint",
            "introspection_endpoint_auth_methods_supported",
            "code_challenge_methods_supported",
            "authorization_response_iss_parameter_supported",
            "request_parameter_supported",
            "request_uri_parameter_supported",
        ];
        for (name, value) in self.document.as_object().unwrap() {
            assert!(proven.contains(&name.as_str()), "{name} was not checked");
            assert!(!value.is_null() && value.as_array().is_none_or(|values| !values.is_empty()), "{name}: {value}");
        }
    }
}

// covers: MD-21 (RFC 8414 §2), MD-08 (RFC 8414 §3.2), MD-11 (RFC 8414 §2), IS-04 (RFC 9207 §2.3), PK-21 (RFC 9700 §2.1.1), GI-06 (RFC 9700 §2.1.2), B43
#[tokio::test]
async fn metadata_claims_hold_and_the_rest_is_refused() {
    type Change = fn(&mut Policy);
    let policies: [(Change, &[&str], &[&str]); 6] = [
        (|_| {}, &["authorization_code", "client_credentials", "refresh_token"], &["code"]),
        (
            |policy| policy.dangerous().allow_implicit_grant = true,
            &["authorization_code", "client_credentials", "implicit", "refresh_token"],
            &["code", "token"],
        ),
        (
            |policy| policy.dangerous().allow_password_grant = true,
            &["authorization_code", "client_credentials", "password", "refresh_token"],
            &["code"],
        ),
        (
            |policy| policy.dangerous().allow_plain_pkce = true,
            &["authorization_code", "client_credentials", "refresh_token"],
            &["code"],
        ),
        (
            |policy| policy.refresh_tokens = RefreshTokens::Never,
            &["authorization_code", "client_credentials"],
            &["code"],
        ),
        (
            |policy| {
                let dangers = policy.dangerous();
                dangers.allow_implicit_grant = true;
                dangers.allow_password_grant = true;
                dangers.allow_plain_pkce = true;
                dangers.pkce_optional = true;
                dangers.allow_token_parameters_in_query = true;
                dangers.allow_out_of_band_redirect = true;
            },
            &["authorization_code", "client_credentials", "implicit", "password", "refresh_token"],
            &["code", "token"],
        ),
    ];
    for (change, grant_types, response_types) in policies {
        let crawl = Crawl::new(TestServer::with_policy(change)).await;
        let plain = crawl.t.policy().allowed_dangers().allow_plain_pkce;
        assert_eq!(crawl.claims("grant_types_supported"), grant_types.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            crawl.claims("response_types_supported"),
            response_types.iter().map(|name| (*name).to_owned()).collect()
        );
        assert_eq!(crawl.claims("code_challenge_methods_supported").contains("plain"), plain);
        crawl.prove().await;
    }
}

/// Each announced algorithm authenticates a client at each endpoint, and no other algorithm does.
// covers: CA-23 (RFC 9700 §2.5), JB-11 (RFC 8725 §3.1), MD-21 (RFC 8414 §2), B43
#[tokio::test]
#[cfg(feature = "jwt")]
async fn client_signatures_announce_method_and_algorithms() {
    use common::signed::{header, jwks, key, sign};
    use grantor::jose::Algorithm;
    use grantor::{Client, ClientSignatures, Clock};

    let offered = [Algorithm::EdDsa, Algorithm::Rs256];
    let t = TestServer::with(|builder| builder.client_signatures(ClientSignatures::new().algorithms(offered)));
    let mut expected = TestServer::new().metadata_document().clone();
    for endpoint in ["token", "revocation", "introspection"] {
        let methods = expected[&format!("{endpoint}_endpoint_auth_methods_supported")].as_array_mut().unwrap();
        methods.insert(2, json!("private_key_jwt"));
        expected.insert(format!("{endpoint}_endpoint_auth_signing_alg_values_supported"), json!(["EdDSA", "RS256"]));
    }
    assert_eq!(document(&t.server), Value::Object(expected));

    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let client = Client::private_key_jwt(algorithm.name()).jwks(jwks(&key)).client_credentials();
        let app = t.register(client.scope("user:read").build(), None).await;
        for path in ["/token", "/revoke", "/introspect"] {
            let now = t.clock.now().unix_timestamp();
            let claims = json!({ "iss": app.id, "sub": app.id, "aud": ISSUER, "exp": now + 60, "jti": path });
            let text = sign(&key, header(&key, "client-authentication+jwt"), claims).await;
            let pairs = [
                ("grant_type", "client_credentials"),
                ("scope", "user:read"),
                ("token", "unknown"),
                ("client_assertion", text.as_str()),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ];
            let status = t.server.handle(&Request::post_form(path, form(&pairs))).await.status();
            assert_eq!(status, if offered.contains(&algorithm) { 200 } else { 401 }, "{path}, {algorithm}");
        }
    }

    let t = TestServer::with(|builder| {
        builder.client_signatures(ClientSignatures::new()).endpoints(|urls| {
            urls.revocation = None;
            urls.introspection = None;
        })
    });
    let signing = t.metadata_document().keys().filter(|name| name.contains("signing_alg")).collect::<Vec<_>>();
    assert_eq!(signing, ["token_endpoint_auth_signing_alg_values_supported"]);
}

// covers: MD-21 (RFC 8414 §2), B43
#[tokio::test]
#[cfg(feature = "jwt")]
async fn request_objects_are_announced_with_their_algorithms() {
    use common::signed::{header, jwks, key, sign};
    use grantor::jose::Algorithm;
    use grantor::{Client, ClientSignatures};

    let offered = [Algorithm::Es256, Algorithm::Ps256];
    let signatures = || ClientSignatures::new().algorithms(offered);
    let with = TestServer::with(|builder| builder.client_signatures(signatures().request_objects()));
    let mut expected = TestServer::with(|builder| builder.client_signatures(signatures())).metadata_document().clone();
    expected.insert("request_parameter_supported".into(), json!(true));
    expected.insert("request_object_signing_alg_values_supported".into(), json!(["ES256", "PS256"]));
    assert_eq!(document(&with.server), Value::Object(expected.clone()));

    let mut policy = Policy::default();
    policy.require_signed_request_object = true;
    let t = TestServer::with(|builder| builder.client_signatures(signatures().request_objects()).policy(policy));
    expected.insert("require_signed_request_object".into(), json!(true));
    assert_eq!(document(&t.server), Value::Object(expected));

    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let client = Client::public(algorithm.name()).jwks(jwks(&key)).authorization_code([CB]).scope("user:read");
        let app = t.register(client.build(), None).await;
        let claims = json!({
            "iss": app.id, "aud": ISSUER, "client_id": app.id, "redirect_uri": CB, "response_type": "code",
            "scope": "user:read", "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        });
        let object = sign(&key, header(&key, "oauth-authz-req+jwt"), claims).await;
        let outcome = t.server.authorize(&common::authorize(&[("client_id", &app.id), ("request", &object)])).await;
        let is_accepted = matches!(outcome, AuthorizationOutcome::Pending(_));
        assert_eq!(is_accepted, offered.contains(&algorithm), "{algorithm}");
    }
}

// covers: MD-21 (RFC 8414 §2), B43
#[tokio::test]
async fn extension_grant_is_announced_and_works() {
    let t = TestServer::with(|builder| builder.extension_grant(Gift(GrantType::new(EXTENSION).unwrap())));
    let crawl = Crawl::new(t).await;
    assert!(crawl.claims("grant_types_supported").contains(EXTENSION));
    crawl.prove().await;
}

// covers: MD-21 (RFC 8414 §2), B43
#[tokio::test]
async fn unserved_endpoint_is_absent_from_metadata() {
    let t = TestServer::with(|builder| {
        builder.endpoints(|urls| {
            urls.revocation = None;
            urls.introspection = None;
        })
    });
    let crawl = Crawl::new(t).await;
    let names = crawl.document.as_object().unwrap().keys();
    assert!(!crawl.document.as_object().unwrap().is_empty());
    for name in names {
        assert!(!name.contains("revocation") && !name.contains("introspection"), "{name}");
    }
    crawl.prove().await;
}

// covers: PP-17 (RFC 6749 §3.1), MD-21 (RFC 8414 §2)
#[tokio::test]
async fn endpoint_url_with_query_is_announced_and_works() {
    let t = TestServer::with(|builder| {
        builder.endpoints(|urls| {
            urls.authorization = Some("https://login.example/go?tenant=1&x=%20y".to_owned());
            urls.token = "https://id.example/token?tenant=1".to_owned();
            urls.revocation = Some("https://id.example/revoke?tenant=1".to_owned());
            urls.introspection = Some("https://id.example/introspect?tenant=1".to_owned());
        })
    });
    let crawl = Crawl::new(t).await;
    assert_eq!(crawl.document["authorization_endpoint"], "https://login.example/go?tenant=1&x=%20y");
    assert_eq!(crawl.document["token_endpoint"], "https://id.example/token?tenant=1");
    assert_eq!(crawl.document["revocation_endpoint"], "https://id.example/revoke?tenant=1");
    assert_eq!(crawl.document["introspection_endpoint"], "https://id.example/introspect?tenant=1");
    assert_eq!(crawl.target("authorization_endpoint"), "/go?tenant=1&x=%20y");
    crawl.prove().await;
}

// covers: PP-17 (RFC 6749 §3.1, §3.2)
#[tokio::test]
async fn endpoint_query_named_like_a_parameter_does_not_build() {
    let build = |change: fn(&mut EndpointUrls)| {
        let builder = AuthorizationServer::builder("https://id.example").storage(MemoryStorage::new());
        builder.scope("a", "A").authorization_parameter("ui_locales").endpoints(change).build()
    };
    let wrong: [fn(&mut EndpointUrls); 6] = [
        |urls| urls.token = "https://id.example/token?tenant=1&sc%6fpe=x".to_owned(),
        |urls| urls.revocation = Some("https://id.example/revoke?token".to_owned()),
        |urls| urls.introspection = Some("https://id.example/introspect?client_id=a".to_owned()),
        |urls| urls.authorization = Some("https://id.example/authorize?tenant=1&pr%6fmpt=login".to_owned()),
        |urls| urls.authorization = Some("https://id.example/authorize?return_target".to_owned()),
        |urls| urls.authorization = Some("https://id.example/authorize?ui_locales=de".to_owned()),
    ];
    for change in wrong {
        let error = build(change).await.unwrap_err();
        assert!(error.to_string().contains("has the name of a request parameter"), "{error}");
    }
    assert!(build(|urls| urls.token = "https://id.example/token?tenant=1".to_owned()).await.is_ok());
    assert!(build(|urls| urls.authorization = Some("https://id.example/authorize?tenant=1".to_owned())).await.is_ok());
}

// covers: MD-21 (RFC 8414 §2), B43
#[tokio::test]
async fn server_without_authorization_endpoint_serves_none() {
    let t = TestServer::with(|builder| {
        let mut policy = Policy::default();
        policy.dangerous().allow_implicit_grant = true;
        policy.dangerous().allow_plain_pkce = true;
        builder.policy(policy).endpoints(|urls| urls.authorization = None)
    });
    let document = document(&t);
    for absent in [
        "authorization_endpoint",
        "response_types_supported",
        "response_modes_supported",
        "code_challenge_methods_supported",
        "authorization_response_iss_parameter_supported",
        "request_parameter_supported",
        "request_uri_parameter_supported",
    ] {
        assert!(document.get(absent).is_none(), "{absent}");
        let error = builder(ISSUER).endpoints(|urls| urls.authorization = None).metadata(absent, "x").build().await;
        assert!(matches!(error, Err(BuildError::MetadataMember(name)) if name == absent));
    }
    assert_eq!(document["grant_types_supported"], json!(["client_credentials", "refresh_token"]));
    let paths: Vec<_> = t.routes().iter().map(grantor::Route::endpoint).collect();
    assert_eq!(paths, ["token", "revoke", "introspect", "metadata"]);
    assert!(t.route("/authorize").is_none());
    assert_eq!(t.handle(&Request::get("/authorize")).await.status(), 404);

    // A machine still gets a token.
    let machine = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    t.token_as(&machine, TokenRequest::client_credentials().scope("user:read")).await.unwrap();
    // Without an authorization endpoint, a user can't log in, and no code is accepted.
    let app = t.public_client("https://app.example/cb").await;
    let error = t.authorize(&app).send().await.unwrap_err();
    assert_eq!(error.error().refusal(), Some(&Refusal::NoAuthorizationEndpoint));
    assert_eq!((error.status(), error.error().status()), (404, 404));
    match t.server.authorize(&Request::get("/authorize?client_id=x")).await {
        AuthorizationOutcome::Respond(response) => assert_eq!(response.status(), 404),
        AuthorizationOutcome::Pending(pending) => panic!("{pending:?}"),
    }
    assert_eq!(t.resume("x", "session").await.unwrap_err().status(), 404);
    assert_eq!(t.resume_form(&Request::new("POST", "/consent"), "session").await.unwrap_err().status(), 404);
    assert_eq!(t.check_return_target("/authorize?return_target=x"), None);
    let code = AuthorizationCode::new("x");
    let refused = t.token_as(&app, TokenRequest::authorization_code(&code)).await.unwrap_err();
    assert_eq!(refused.code(), "unsupported_grant_type");
}

// covers: MD-04 (RFC 8414 §3.1), MD-21 (RFC 8414 §2)
#[tokio::test]
async fn endpoint_prefix_does_not_move_well_known_document() {
    for (issuer, root) in [("https://id.example", ""), ("https://id.example/", ""), ("https://id.example/t1", "/t1")] {
        let server = AuthorizationServer::builder(issuer)
            .storage(MemoryStorage::new())
            .scope("a", "A")
            // A URL that the host sets is kept, in any order of the calls.
            .endpoints(|urls| urls.revocation = Some("https://id.example/end".to_owned()))
            .endpoint_prefix("/oauth/v2")
            .endpoints(|urls| urls.token = urls.token.replace("/token", "/tokens"))
            .build()
            .await
            .unwrap();
        let paths: Vec<_> = server.routes().iter().map(|route| (route.endpoint(), route.path().to_owned())).collect();
        let well_known = format!("/.well-known/oauth-authorization-server{root}");
        assert_eq!(
            paths,
            [
                ("authorize", format!("{root}/oauth/v2/authorize")),
                ("token", format!("{root}/oauth/v2/tokens")),
                ("revoke", "/end".to_owned()),
                ("introspect", format!("{root}/oauth/v2/introspect")),
                ("metadata", well_known),
            ]
        );
        let claimed = &server.metadata_document()["token_endpoint"];
        assert_eq!(claimed, &format!("https://id.example{root}/oauth/v2/tokens"));
    }
}

#[tokio::test]
async fn malformed_endpoint_prefix_does_not_build() {
    let with = |prefix: &str| builder(ISSUER).endpoint_prefix(prefix).build();
    for bad in [
        "oauth",
        "/",
        "/oauth/",
        "//oauth",
        "/a//b",
        "/a/../b",
        "/.",
        "/a b",
        "/a%20b",
        "/a?b",
        "/a#b",
        "/\u{e9}",
        "/.well-known",
        "/.well-known/x",
        "https://id.example/oauth",
    ] {
        let error = with(bad).await.unwrap_err();
        assert!(matches!(&error, BuildError::EndpointPrefix(prefix) if prefix == bad), "{bad}: {error}");
    }
    for good in ["", "/oauth", "/a/b-c_d.e~f", "/a/.well-known"] {
        with(good).await.unwrap();
    }
}
