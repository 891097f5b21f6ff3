//! Protected resource metadata (RFC 9728): clients find the server from the host app's API, and the document matches
//! the server.

use grantor::testing::{Fault, ISSUER, TestServer};
use grantor::{
    AccessToken, AuthorizationServer, BearerError, BuildError, MemoryStorage, ProtectedResource, Request, TokenRequest,
};
use serde_json::{Value, json};
use url::{Position, Url};

#[path = "common/mod.rs"]
mod common;
use common::{error_of, json};

const API: &str = "https://id.example/api";
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const POINTER: &str = "resource_metadata=\"https://id.example/.well-known/oauth-protected-resource/api\"";

async fn built(resource: ProtectedResource) -> Result<AuthorizationServer, BuildError> {
    AuthorizationServer::builder(ISSUER)
        .storage(MemoryStorage::new())
        .scope("user:read", "Read your profile")
        .scope("user:write", "Change your profile")
        .protected_resource(resource)
        .build()
        .await
}

fn with_api() -> TestServer {
    TestServer::with(|builder| builder.protected_resource(ProtectedResource::new(API)))
}

fn document(server: &AuthorizationServer) -> Value {
    let response = server.resource_metadata(&Request::get(server.resource_metadata_path().expect("a path")));
    assert_eq!(response.status(), 200);
    json(&response)
}

fn header_of(error: &BearerError) -> Option<String> {
    error.to_response().header("www-authenticate").map(str::to_owned)
}

/// The metadata URL in the challenge of a request without a token.
async fn pointer(server: &AuthorizationServer) -> String {
    let header = header_of(&server.bearer(&Request::get("/api")).await.unwrap_err()).unwrap();
    let (_, pointer) = header.split_once(", resource_metadata=\"").expect("a pointer");
    pointer.strip_suffix('"').expect("a quoted pointer at the end").to_owned()
}

async fn machine_token(t: &TestServer) -> AccessToken {
    let machine = t.confidential_client("https://app.example/cb").await;
    t.token_as(&machine, TokenRequest::client_credentials().scope("user:read")).await.unwrap().access_token
}

// covers: RM-01 (RFC 9728 §3, §3.3), RM-02 (RFC 9728 §3.2), RM-03 (RFC 9728 §2)
#[tokio::test]
async fn resource_metadata_with_default_policy_has_these_members() {
    let t = with_api();
    let expected = json!({
        "resource": API,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["user:read", "user:write"],
        "bearer_methods_supported": ["header"],
    });
    let response = t.resource_metadata(&Request::get("/.well-known/oauth-protected-resource/api"));
    assert_eq!(response.status(), 200);
    let headers: Vec<_> = response.headers().collect();
    assert_eq!(headers, [("cache-control", "public, max-age=3600"), ("content-type", "application/json")]);
    assert_eq!(json(&response), expected);
    assert_eq!(t.resource_metadata_document().cloned().map(Value::Object), Some(expected));
    assert!(t.events.events().is_empty());
}

// covers: RM-02 (RFC 9728 §3.1)
#[tokio::test]
async fn metadata_allows_get_and_head_only() {
    let t = with_api();
    let path = t.resource_metadata_path().unwrap();
    let head = t.resource_metadata(&Request::new("HEAD", path));
    assert_eq!((head.status(), head.header("content-type")), (200, Some("application/json")));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let response = t.resource_metadata(&Request::new(method, path));
        assert_eq!((response.status(), response.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(error_of(&response), "invalid_request");
    }
}

// covers: RM-01 (RFC 9728 §3.1, §3.3), BR-19 (RFC 9728 §5.1)
#[tokio::test]
async fn resource_metadata_path_follows_identifier_and_challenge() {
    for (identifier, origin, target) in [
        ("https://id.example", "https://id.example", WELL_KNOWN.to_owned()),
        ("https://id.example/", "https://id.example", WELL_KNOWN.to_owned()),
        ("https://api.example:8443/a/b", "https://api.example:8443", format!("{WELL_KNOWN}/a/b")),
        ("https://api.example/a%20b/", "https://api.example", format!("{WELL_KNOWN}/a%20b")),
        ("https://api.example?v=1", "https://api.example", format!("{WELL_KNOWN}?v=1")),
        ("https://api.example/a?v=1&w=/", "https://api.example", format!("{WELL_KNOWN}/a?v=1&w=/")),
        ("http://localhost:3000/api", "http://localhost:3000", format!("{WELL_KNOWN}/api")),
        ("http://[::1]:3000", "http://[::1]:3000", WELL_KNOWN.to_owned()),
    ] {
        let server = built(ProtectedResource::new(identifier)).await.unwrap();
        let pointer = pointer(&server).await;
        assert_eq!(pointer, format!("{origin}{target}"));
        let found = server.resource_metadata(&Request::get(&Url::parse(&pointer).unwrap()[Position::BeforePath..]));
        assert_eq!((found.status(), json(&found)["resource"].clone()), (200, json!(identifier)));
        let path = server.resource_metadata_path().unwrap();
        assert_eq!(path, target.split('?').next().unwrap());

        // A query that is not part of the identifier changes nothing. A query of the identifier is part of the
        // document's address.
        let with_query = server.resource_metadata(&Request::get(format!("{path}?x=1")));
        assert_eq!(with_query.status(), if target.contains('?') { 404 } else { 200 }, "{identifier}");
        if target.contains('?') {
            assert_eq!(server.resource_metadata(&Request::get(path)).status(), 404, "{identifier}");
        }
        for other in [format!("{path}/"), format!("{path}/x"), format!("/x{path}"), path.to_uppercase(), String::new()]
        {
            let response = server.resource_metadata(&Request::get(other.clone()));
            assert_eq!((response.status(), response.body()), (404, &b""[..]), "{other}");
        }
        assert_eq!(server.metadata(&Request::get(path)).status(), 404, "the path of another document");
    }
}

// covers: RM-03 (RFC 9728 §2), RM-06 (RFC 9728 §4), MD-20 (RFC 9728 §4)
#[tokio::test]
async fn api_and_its_server_name_each_other() {
    for issuer in [ISSUER, "https://id.example/t1/"] {
        let builder = || {
            let builder = AuthorizationServer::builder(issuer).storage(MemoryStorage::new());
            builder.scope("user:read", "Read your profile").protected_resource(ProtectedResource::new(API))
        };
        let server = builder().build().await.unwrap();
        assert_eq!(document(&server)["authorization_servers"], json!([issuer]));
        let of_server = json(&server.metadata(&Request::get(server.metadata_path())));
        assert_eq!((&of_server["issuer"], &of_server["protected_resources"]), (&json!(issuer), &json!([API])));

        let another =
            builder().metadata("protected_resources", vec!["https://other.example"]).build().await.unwrap_err();
        assert!(matches!(&another, BuildError::MetadataMember(name) if name == "protected_resources"), "{another}");
    }
}

// covers: RM-06 (RFC 9728 §4), B43
#[tokio::test]
async fn server_without_an_api_has_no_resource_metadata() {
    let t = TestServer::new();
    assert_eq!((t.resource_metadata_path(), t.resource_metadata_document()), (None, None));
    for path in [WELL_KNOWN, "", "/"] {
        assert_eq!(t.resource_metadata(&Request::get(path)).status(), 404);
    }
    assert_eq!(t.metadata_document().get("protected_resources"), None);
    let error = t.server.bearer(&Request::get("/api")).await.unwrap_err();
    assert_eq!(header_of(&error).as_deref(), Some("Bearer realm=\"https://id.example\""));
}

// covers: B43
#[tokio::test]
async fn methods_in_the_document_are_those_that_work() {
    for in_body in [false, true] {
        let t = TestServer::with(|builder| {
            let mut policy = grantor::Policy::default();
            policy.bearer_in_body = in_body;
            builder.policy(policy).protected_resource(ProtectedResource::new(API))
        });
        let token = machine_token(&t).await;
        let by_header = Request::get("/api").with_header("authorization", format!("Bearer {}", token.expose()));
        let by_body = Request::post_form("/api", format!("access_token={}", token.expose()));
        let by_query = Request::get(format!("/api?access_token={}", token.expose()));
        let mut working = Vec::new();
        for (method, request) in [("header", by_header), ("body", by_body), ("query", by_query)] {
            if t.server.bearer(&request).await.is_ok() {
                working.push(method);
            }
        }
        assert_eq!(working.len(), if in_body { 2 } else { 1 });
        assert_eq!(document(&t.server)["bearer_methods_supported"], json!(working));
    }
}

// covers: RM-02 (RFC 9728 §3.2), RM-07 (MCP Refresh Tokens)
#[tokio::test]
async fn resource_metadata_never_lists_offline_access() {
    let api = || ProtectedResource::new(API);
    let with = |scopes: &[&str], resource: ProtectedResource| {
        let builder = AuthorizationServer::builder(ISSUER).storage(MemoryStorage::new());
        let builder = scopes.iter().fold(builder, |builder, scope| builder.scope(*scope, "What it is for"));
        builder.protected_resource(resource).build()
    };
    let shown = async |scopes: &[&str], resource| {
        document(&with(scopes, resource).await.unwrap()).get("scopes_supported").cloned()
    };
    let all = ["offline_access", "offline_access:x", "user:read"];
    assert_eq!(shown(&all, api()).await, Some(json!(["offline_access:x", "user:read"])));
    assert_eq!(shown(&["offline_access"], api()).await, None);
    let error = with(&all, api().scope("offline_access user:read")).await.unwrap_err();
    assert!(
        matches!(error, BuildError::ResourceSetting { problem, .. } if problem.starts_with("lists offline_access"))
    );
    let of_server = with(&all, api()).await.unwrap();
    assert_eq!(json(&of_server.metadata(&Request::get(of_server.metadata_path())))["scopes_supported"], json!(all));

    // A scope that is not listed can still be used.
    let unlisted = |resource: ProtectedResource| resource.unlisted_scope("user:read");
    assert_eq!(shown(&all, unlisted(api())).await, Some(json!(["offline_access:x"])));
    assert_eq!(shown(&all, unlisted(api().scope("offline_access:x"))).await, Some(json!(["offline_access:x"])));
    let error = with(&["offline_access"], api().unlisted_scope("user:read")).await.unwrap_err();
    assert!(matches!(&error, BuildError::ResourceScope(scope) if scope == "user:read"), "{error}");

    let error = with(&["offline_access"], api().metadata("scopes_supported", json!(["admin"]))).await.unwrap_err();
    assert!(matches!(&error, BuildError::MetadataMember(member) if member == "scopes_supported"), "{error}");
}

#[tokio::test]
async fn api_asks_for_scopes_that_the_server_offers() {
    let scopes =
        async |scope: &str| built(ProtectedResource::new(API).scope(scope)).await.map(|server| document(&server));
    for (scope, expected) in [
        ("user:read", json!(["user:read"])),
        ("user:write user:read", json!(["user:read", "user:write"])),
        ("user:read user:read", json!(["user:read"])),
        (" user:read  user:write ", json!(["user:read", "user:write"])),
    ] {
        assert_eq!(scopes(scope).await.unwrap()["scopes_supported"], expected);
    }
    for bad in ["", " ", "admin", "user:read admin", "user:read\t", "user"] {
        let error = scopes(bad).await.unwrap_err();
        assert!(matches!(&error, BuildError::ResourceScope(scope) if scope == bad), "{bad:?}: {error}");
        let message = format!(
            "the scope {bad:?} of the protected resource is not made of declared scopes: declare them, or remove them \
             from the resource"
        );
        assert_eq!(error.to_string(), message);
    }
}

// covers: RM-02 (RFC 9728 §3.2), RM-04 (RFC 9728 §2), B43
#[tokio::test]
async fn host_adds_metadata_members_but_overrides_none() {
    let resource = ProtectedResource::new(API)
        .metadata("resource_name", "The API")
        .metadata("resource_name#de", "Die API")
        .metadata("resource_documentation", "https://id.example/docs")
        .metadata("resource_policy_uri", Value::Null)
        .metadata("x_empty", json!([]))
        .metadata("x_list", json!(["a"]));
    let mut expected = built(ProtectedResource::new(API)).await.unwrap().resource_metadata_document().unwrap().clone();
    let own: Vec<String> = expected.keys().cloned().collect();
    expected.insert("resource_name".to_owned(), json!("The API"));
    expected.insert("resource_name#de".to_owned(), json!("Die API"));
    expected.insert("resource_documentation".to_owned(), json!("https://id.example/docs"));
    expected.insert("x_list".to_owned(), json!(["a"]));
    assert_eq!(document(&built(resource).await.unwrap()), Value::Object(expected));

    let absent = [
        "jwks_uri",
        "resource_signing_alg_values_supported",
        "signed_metadata",
        "authorization_details_types_supported",
        "tls_client_certificate_bound_access_tokens",
        "dpop_signing_alg_values_supported",
        "dpop_bound_access_tokens_required",
    ];
    assert_eq!(own, ["authorization_servers", "bearer_methods_supported", "resource", "scopes_supported"]);
    for name in own.iter().map(String::as_str).chain(absent) {
        for value in [json!("https://evil.example"), json!([]), Value::Null] {
            let error = built(ProtectedResource::new(API).metadata(name, value)).await.unwrap_err();
            assert!(matches!(&error, BuildError::MetadataMember(member) if member == name), "{name}: {error}");
        }
    }
}

// covers: TL-06 (OAuth 2.1 §1.5)
#[tokio::test]
async fn invalid_resource_identifier_builds_no_server() {
    for bad in [
        "",
        "/api",
        "api.example",
        "http://api.example/api",
        "http://127.0.0.2/api",
        "ftp://api.example/api",
        "urn:example:api",
        "https:api.example",
        "https:///api",
        "https://user@api.example/api",
        "https://api.example/api#",
        "https://api.example/api#x",
        "https://api.example/a b",
        "https://api.example/\"x",
        "https://api.example/?x=\"",
        "https://api.example/\\x",
        "https://api.example/\r\nx",
        "https://\u{e9}.example/",
    ] {
        let error = built(ProtectedResource::new(bad)).await.unwrap_err();
        assert!(matches!(&error, BuildError::Resource(identifier) if identifier == bad), "{bad:?}: {error}");
        let message = "use an https URL (or an http URL on the loopback interface) without fragment";
        assert_eq!(error.to_string(), format!("the resource identifier {bad:?} is not valid: {message}"));
    }
}

// covers: BR-19 (RFC 9728 §5.1), BR-05 (RFC 6750 §3)
#[tokio::test]
async fn challenge_points_to_metadata_and_failure_has_none() {
    let t = with_api();
    let token = machine_token(&t).await;
    let with_header = |value: String| Request::get("/api").with_header("authorization", value);
    let twice = with_header("Bearer a".to_owned()).with_header("authorization", "Bearer a");
    let refused = async |request: Request| t.server.bearer(&request).await.unwrap_err();
    let bearer = async || t.bearer(&token).await.unwrap();
    let described = |code: &str, description: &str| {
        format!("Bearer realm=\"{ISSUER}\", error=\"{code}\", error_description=\"{description}\"")
    };
    for (error, status, challenge) in [
        (refused(Request::get("/api")).await, 401, format!("Bearer realm=\"{ISSUER}\"")),
        (
            refused(with_header("Bearer unknown".to_owned())).await,
            401,
            described("invalid_token", "the access token is unknown, expired or revoked"),
        ),
        (
            refused(twice).await,
            400,
            described("invalid_request", "the access token was presented in more than one way, or in a malformed form"),
        ),
        (
            bearer().await.require("user:write").unwrap_err(),
            403,
            described("insufficient_scope", "the access token lacks a scope") + ", scope=\"user:write\"",
        ),
        (
            bearer().await.require("user:read").unwrap().user().unwrap_err(),
            403,
            described("insufficient_scope", "the access token has no resource owner"),
        ),
    ] {
        assert_eq!(error.status(), status, "{challenge}");
        assert_eq!(header_of(&error), Some(format!("{challenge}, {POINTER}")));
    }

    let mistake = bearer().await.require("admin").unwrap_err();
    assert_eq!((mistake.status(), header_of(&mistake)), (500, None));
    t.faults.fail(1, Fault::Unavailable);
    let failed = t.bearer(&token).await.unwrap_err();
    assert_eq!((failed.status(), header_of(&failed)), (503, None));
}
