//! The form of a token request: method, media type, parameters, query.

use grantor::testing::TestServer;
use grantor::{Request, TokenRequest};

use crate::common::{basic, form, json, token, token_as};
use crate::support::{
    CB, access_token, bad_client, bad_grant, bad_request, confidential, granted, lives, public, redemption, refused,
    refused_for, row, with,
};

/// The parameters of the built-in grants that are enabled by default, and `username`.
const KNOWN: [&str; 11] = [
    "grant_type",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "username",
];

// covers: TK-01 (RFC 6749 §3.2), TL-21 (RFC 9110 §15.5.6), AMB-07
#[tokio::test]
async fn only_post_gets_a_token() {
    let (t, app) = public().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let pairs = [redemption(&approved, &app), vec![("client_id", app.id.as_str())]].concat();
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "Post", ""] {
        for target in ["/token".to_owned(), format!("/token?{}", form(&pairs))] {
            let request = Request::new(method, target)
                .with_header("content-type", "application/x-www-form-urlencoded")
                .with_body(form(&pairs));
            refused_for(&t, &request, 405, "invalid_request", "MethodNotAllowed(\"POST\")").await;
        }
    }
    granted(&t, &token(&pairs)).await;
}

// covers: PP-09 (RFC 6749 §4.1.3), AMB-24
#[tokio::test]
async fn body_that_is_not_a_form_is_a_malformed_request() {
    let (t, app) = confidential().await;
    let pairs = [("grant_type", "client_credentials"), ("scope", "user:read")];
    let request = |types: &[&str], body: String| {
        let request = Request::new("POST", "/token").with_header("Authorization", header(&app)).with_body(body);
        types.iter().fold(request, |request, value| request.with_header("Content-Type", *value))
    };
    let as_json = r#"{"grant_type":"client_credentials","scope":"user:read"}"#.to_owned();
    for (types, body) in [
        (&["application/json"][..], as_json),
        (&["multipart/form-data; boundary=x"], "--x\r\n\r\n--x--".to_owned()),
        (&["text/plain"], form(&pairs)),
        (&["application/json"], form(&pairs)),
        (&[], form(&pairs)),
        (&["application/x-www-form-urlencoded", "application/x-www-form-urlencoded"], form(&pairs)),
    ] {
        bad_request(&t, &request(types, body), "NotAForm").await;
    }
    let empty = request(&["application/x-www-form-urlencoded"], String::new());
    bad_request(&t, &empty, "MissingParameter(\"grant_type\")").await;
}

// covers: PP-10 (RFC 6749 App. B), AMB-24
#[tokio::test]
async fn content_type_may_name_a_charset() {
    let (t, app) = confidential().await;
    for media_type in
        ["application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-urlencoded;charset=utf-8"]
    {
        let request = Request::new("POST", "/token")
            .with_header("content-type", media_type)
            .with_header("authorization", header(&app))
            .with_body("grant_type=client_credentials&scope=user:read");
        granted(&t, &request).await;
    }
}

// covers: PP-01 (RFC 6749 §3.2), TK-02 (RFC 6749 §5.2), GC-11 (RFC 6749 §4.1.3), GR-06 (RFC 6749 §6)
#[tokio::test]
async fn empty_parameter_counts_as_missing() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let valid = redemption(&approved, &app);
    for (name, status_and_code, reason) in [
        ("grant_type", "invalid_request", "MissingParameter(\"grant_type\")"),
        ("code", "invalid_request", "MissingParameter(\"code\")"),
        ("redirect_uri", "invalid_grant", "RedirectUriMismatch"),
        ("code_verifier", "invalid_grant", "MissingCodeVerifier"),
    ] {
        let missing = with(&valid, name, "");
        for pairs in [missing.clone(), [missing, vec![(name, "")]].concat()] {
            refused_for(&t, &token_as(&app, &pairs), 400, status_and_code, reason).await;
        }
    }
    for pairs in [&[("grant_type", "refresh_token")][..], &[("grant_type", "refresh_token"), ("refresh_token", "")]] {
        let reason = "MissingParameter(\"refresh_token\")";
        bad_request(&t, &token_as(&app, pairs), reason).await;
    }
    let empty_scope = token_as(&app, &[("grant_type", "client_credentials"), ("scope", "")]);
    refused_for(&t, &empty_scope, 400, "invalid_scope", "NoDefaultScope").await;
    // An empty secret in addition to a Basic header is no second method, and an empty scope counts as missing.
    let with_empties = [valid, vec![("client_secret", ""), ("client_assertion", ""), ("scope", "")]].concat();
    assert_eq!(granted(&t, &token_as(&app, &with_empties)).await["scope"], "user:read");
}

// covers: PP-02 (RFC 6749 §3.2)
#[tokio::test]
async fn unknown_parameters_are_ignored_even_if_repeated() {
    let (t, app) = confidential().await;
    let plain = [("grant_type", "client_credentials"), ("scope", "user:read")];
    let strange = [("foo", "bar"), ("foo2", ""), ("foo", "baz"), ("scopes", "user:write"), ("expires_in", "99999999")];
    let usual = granted(&t, &token_as(&app, &plain)).await;
    let answer = granted(&t, &token_as(&app, &[&plain[..], &strange].concat())).await;
    for member in ["scope", "expires_in", "token_type"] {
        assert_eq!(answer[member], usual[member], "{member}");
    }
    assert_eq!(answer.as_object().unwrap().len(), usual.as_object().unwrap().len());
}

// covers: PP-03 (RFC 6749 §3.2, §5.2), B37
#[tokio::test]
async fn known_parameter_may_not_repeat_even_if_empty_or_unused() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_password_grant = true);
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let valid = redemption(&approved, &app);
    for name in KNOWN.into_iter().chain(["password"]) {
        let own = valid.iter().find(|(own, _)| *own == name).map_or("user:read", |(_, value)| *value);
        for repeat in [own, "", "another-value"] {
            let pairs = [with(&valid, name, own), vec![(name, repeat)]].concat();
            let reason = format!("RepeatedParameter({name:?})");
            bad_request(&t, &token_as(&app, &pairs), &reason).await;
        }
    }
    // An escape does not hide the repetition.
    let sly = format!("{}&sc%6fpe=user:read&scope=user:read", form(&valid));
    let request = Request::post_form("/token", sly).with_header("authorization", header(&app));
    bad_request(&t, &request, "RepeatedParameter(\"scope\")").await;
    granted(&t, &token_as(&app, &valid)).await;
}

// covers: PP-04 (RFC 8707 §2)
#[tokio::test]
async fn resource_and_audience_may_repeat_but_not_pkce_or_assertion() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let valid = redemption(&approved, &app);
    let verifier = approved.verifier().unwrap().expose();
    for (name, value) in
        [("code_verifier", verifier), ("client_assertion", "a.b.c"), ("client_assertion_type", "urn:x")]
    {
        let pairs = [with(&valid, name, value), vec![(name, value)]].concat();
        let reason = format!("RepeatedParameter({name:?})");
        bad_request(&t, &token_as(&app, &pairs), &reason).await;
    }
    let resources =
        [("resource", "https://a.example"), ("resource", "https://b.example"), ("audience", "a"), ("audience", "b")];
    granted(&t, &token_as(&app, &[valid, resources.to_vec()].concat())).await;
}

// covers: PP-11 (RFC 6749 §5.2)
#[tokio::test]
async fn broken_escape_or_invalid_utf8_is_malformed() {
    let (t, app) = confidential().await;
    for body in [
        &b"grant_type=client_credentials&scope=%ZZ"[..],
        b"grant_type=client_credentials&scope=user:read%",
        b"grant_type=%FF",
        b"grant_type=client_credentials&scope=user:read&unknown=%C3%28",
        b"grant_type=client_credentials&scope=user:read&%FF=1",
        b"grant_type=client_credentials&scope=\xff\xfe",
    ] {
        let request = Request::post_form("/token", body).with_header("authorization", header(&app));
        bad_request(&t, &request, "MalformedEncoding").await;
    }
}

// covers: PP-13 (RFC 6749 §1.9)
#[tokio::test]
async fn names_and_values_are_compared_case_sensitively() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let valid = redemption(&approved, &app);
    for grant_type in ["Authorization_Code", "AUTHORIZATION_CODE", "authorization_code ", " authorization_code"] {
        let pairs = with(&valid, "grant_type", grant_type);
        refused_for(&t, &token_as(&app, &pairs), 400, "unsupported_grant_type", "UnsupportedGrantType").await;
    }
    let renamed = [with(&valid, "grant_type", ""), vec![("GRANT_TYPE", "authorization_code")]].concat();
    bad_request(&t, &token_as(&app, &renamed), "MissingParameter(\"grant_type\")").await;
    let renamed = [with(&valid, "code", ""), vec![("Code", approved.code().expose())]].concat();
    bad_request(&t, &token_as(&app, &renamed), "MissingParameter(\"code\")").await;
    let upper = approved.code().expose().to_uppercase();
    let pairs = with(&valid, "code", &upper);
    bad_grant(&t, &token_as(&app, &pairs), "UnknownToken").await;
    granted(&t, &token_as(&app, &valid)).await;
}

// covers: PP-17 (RFC 6749 §3.2)
#[tokio::test]
async fn token_endpoint_url_may_have_a_query() {
    let (t, app) = confidential().await;
    let body = form(&[("grant_type", "client_credentials"), ("scope", "user:read")]);
    for target in ["/token?tenant=1", "/token?tenant=1&tenant=2&x=%ZZ", "/t/1/token?", "/token?grant_types=x"] {
        let request = Request::post_form(target, body.clone()).with_header("authorization", header(&app));
        granted(&t, &request).await;
    }
}

// covers: PP-08 (RFC 6749 §2.3.1), CA-07 (RFC 6749 §2.3.1), B38
#[tokio::test]
async fn query_parameters_are_refused_without_the_client_switch() {
    for allowed_by_policy in [false, true] {
        let t =
            TestServer::with_policy(|policy| policy.dangerous().allow_token_parameters_in_query = allowed_by_policy);
        let app = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
        let secret = app.secret.as_ref().unwrap().expose();
        let body = form(&[("grant_type", "client_credentials"), ("scope", "user:read")]);
        let credentials = form(&[("client_id", &app.id), ("client_secret", secret)]);
        let by_query = Request::post_form(format!("/token?{credentials}"), body.clone());
        bad_request(&t, &by_query, "ParameterInQuery(\"client_id\")").await;
        let nothing_but_query = Request::new("POST", format!("/token?{body}"));
        let nothing_but_query = nothing_but_query.with_header("authorization", header(&app));
        bad_request(&t, &nothing_but_query, "ParameterInQuery(\"grant_type\")").await;
        // An empty parameter in the query is refused as well, even with a correct header.
        for name in ["client_secret", "code", "scope", "refresh_token", "code_verifier"] {
            let pairs = with(&[("grant_type", "client_credentials"), ("scope", "user:read")], name, "");
            let request = Request::post_form(format!("/token?{name}="), form(&pairs));
            let reason = format!("ParameterInQuery({name:?})");
            bad_request(&t, &request.with_header("authorization", header(&app)), &reason).await;
        }
    }
}

// covers: B37
#[tokio::test]
async fn legacy_client_may_not_repeat_a_parameter_in_query_and_body() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_token_parameters_in_query = true);
    let app = t
        .confidential_client_with(|client| client.client_credentials().scope("user:read").token_parameters_in_query())
        .await;
    let secret = app.secret.as_ref().unwrap().expose();
    let all = form(&[("grant_type", "client_credentials"), ("client_id", &app.id), ("client_secret", secret)]);
    let body = granted(&t, &Request::new("POST", format!("/token?{all}&scope=user:read"))).await;
    assert!(lives(&t, &access_token(&body)).await);
    granted(&t, &Request::post_form(format!("/token?{all}"), "scope=user:read")).await;
    let twice = Request::post_form(format!("/token?{all}&scope=user:read"), "scope=user:read");
    bad_request(&t, &twice, "RepeatedParameter(\"scope\")").await;
    bad_request(&t, &Request::new("POST", format!("/token?{all}&scope=user:read")).with_body("{}"), "NotAForm").await;
    let wrong = Request::new("POST", format!("/token?{}&scope=user:read", all.replace(secret, "wrong-secret")));
    bad_client(&t, &wrong, "ClientAuthenticationFailed").await;
}

#[tokio::test]
async fn body_or_target_above_the_limit_is_refused() {
    let t = TestServer::with_policy(|policy| policy.max_body = 512);
    let app = t.confidential_client(CB).await;
    let body = |length: usize| {
        let start = "grant_type=client_credentials&scope=user:read&filler=";
        format!("{start}{}", "x".repeat(length - start.len()))
    };
    let request =
        |target: String, body: String| Request::post_form(target, body).with_header("authorization", header(&app));
    granted(&t, &request("/token".into(), body(512))).await;
    refused_for(&t, &request("/token".into(), body(513)), 413, "invalid_request", "BodyTooLarge").await;
    let long_target = format!("/token?tenant={}", "x".repeat(512));
    refused_for(&t, &request(long_target, body(100)), 413, "invalid_request", "BodyTooLarge").await;
}

// covers: B36, TE-03 (RFC 6749 §5.2), TE-11 (RFC 6749 §10.14)
#[tokio::test]
async fn hostile_values_are_refused_and_never_echoed() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_password_grant = true);
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().client_credentials().password();
            client.extension_grant("urn:example:unserved").scope("user:read")
        })
        .await;
    let long = "long-value-".repeat(1000);
    let hostile = [
        "nul-\0-in-the-middle",
        "<script>alert(document.domain)</script>",
        "header\r\nSet-Cookie: stolen=1; path=/",
        "quote\"and\\backslash-probe",
        "z\u{fc}rich-\u{20ac}-\u{1f511}-non-ascii",
        "../../../../etc/passwd",
        "' OR '1'='1' -- probing",
        "{\"$ne\":null,\"probe\":1}",
        &long,
    ];
    let requests: [&[(&'static str, &str)]; 4] = [
        &[("grant_type", "authorization_code"), ("code", "c"), ("redirect_uri", CB), ("code_verifier", "v")],
        &[("grant_type", "refresh_token"), ("refresh_token", "r"), ("scope", "user:read")],
        &[("grant_type", "password"), ("username", "u"), ("password", "p"), ("scope", "user:read")],
        &[("grant_type", "client_credentials"), ("scope", "user:read")],
    ];
    for value in hostile {
        for valid in requests {
            for name in valid.iter().map(|(name, _)| *name) {
                let request = token_as(&app, &with(valid, name, value));
                let response = t.server.token(&request).await;
                assert_eq!(response.status(), 400, "{name}={value:?}");
                refused(&t, &request, 400, json(&response)["error"].as_str().unwrap()).await;
            }
        }
        for name in ["client_id", "client_secret", "client_assertion", "client_assertion_type"] {
            let pairs = [("grant_type", "client_credentials"), ("scope", "user:read"), (name, value)];
            refused(&t, &token(&pairs), 401, "invalid_client").await;
        }
        let request = token(requests[3]).with_header("authorization", basic(value, value));
        refused(&t, &request, 401, "invalid_client").await;
        let request = token(requests[3]).with_header("authorization", basic(&app.id, value));
        refused(&t, &request, 401, "invalid_client").await;
    }
    for header in [&b"\xff\xfe\0"[..], b"Basic \xff", b"Basic", b"", b"Basic a b c", b"Negotiate \0\xff\xfe"] {
        let response = t.server.token(&token(requests[3]).with_header("authorization", header)).await;
        assert!(matches!(response.status(), 400 | 401), "{header:?}: {}", response.status());
    }
}

#[tokio::test]
async fn typed_and_http_requests_get_the_same_answer() {
    let (t, app) = confidential().await;
    let typed = t.token_as(&app, TokenRequest::client_credentials().scope("user:read")).await.unwrap();
    let http = granted(&t, &token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")])).await;
    let typed_json: serde_json::Value = serde_json::from_slice(&typed.to_json()).unwrap();
    for member in ["token_type", "expires_in", "scope"] {
        assert_eq!(typed_json[member], http[member], "{member}");
    }
    let rows = [row(&t, typed.access_token.hash()).await, row(&t, access_token(&http).hash()).await];
    assert_eq!(rows[0].0.expires_at, rows[1].0.expires_at);
    assert_eq!((&rows[0].1.scope, &rows[0].1.subject), (&rows[1].1.scope, &rows[1].1.subject));
}

fn header(app: &grantor::testing::TestClient) -> String {
    basic(&app.id, app.secret.as_ref().expect("a confidential client").expose())
}
