//! A service that handles any value in its addresses and forms without a server error.

use super::{api_scopes, on_each_storage};
use end_to_end::example::Browser;

/// Escapes a value for a query or a form.
const VALUES: &[&str] = &[
    "",
    "%00",
    "%FF",
    "%",
    "%E2%80%AE",
    "%F0%9F%A6%80",
    "-1",
    "999999999999999999999999999999",
    "1e400",
    "%2B275760-09-13T00%3A00%3A00Z",
    "-999999-01-01T00%3A00%3A00Z",
    "2026-02-30",
    "%3Cscript%3E",
    "..%2F..%2F..",
    "%27%3B--",
    "http%3A%2F%2F%5B",
    "https%3A%2F%2Fapp.example%2Fcb%0A%0Dx",
    "a=b&a=c",
    "[]",
];

/// Paths with a parameter that they read, or read in an earlier version.
const QUERIES: &[(&str, &[&str])] = &[
    ("/", &["x"]),
    ("/login", &["next"]),
    ("/applications", &["after"]),
    ("/applications/new", &["name"]),
    ("/applications/change", &["client"]),
    ("/connected", &["after", "limit"]),
    ("/demo", &["x"]),
    ("/demo/callback", &["code", "state", "iss", "error"]),
    ("/demo/result", &["x"]),
    ("/authorize", &["client_id", "redirect_uri", "scope", "max_age", "prompt", "acr_values", "login_hint", "state"]),
    ("/.well-known/oauth-authorization-server", &["x"]),
    ("/api/me", &["access_token"]),
    ("/api/application", &["client_id"]),
];

const FORMS: &[(&str, &[&str])] = &[
    ("/login", &["username", "password", "next"]),
    ("/applications/new", &["name", "website", "redirect_uri"]),
    ("/applications/change", &["client", "version", "name", "website", "redirect_uris"]),
    ("/applications/secret", &["client"]),
    ("/applications/remove", &["client"]),
    ("/connected/end", &["client"]),
    ("/connected/revoke", &["grant"]),
    ("/consent", &["form_token", "scope", "decision"]),
    ("/token", &["grant_type", "client_id", "code", "refresh_token", "scope"]),
    ("/revoke", &["token", "client_id"]),
    ("/introspect", &["token", "client_id"]),
];

// Regression: a page with a date in its address failed with a server error if the date was absurd.
#[tokio::test]
async fn absurd_value_never_causes_a_server_error() {
    let clients = r#"[{"client_id": "app", "redirect_uris": ["https://app.example/cb"]}]"#;
    let users = r#"{"user 0": "p", "user 1": "p", "user 2": "p", "user 3": "p"}"#;
    let long = "x".repeat(6_000);
    let values: Vec<&str> = VALUES.iter().copied().chain([&*long]).collect();
    for (example, _kept) in on_each_storage(clients, users, api_scopes::SCOPES).await {
        // A user may make at most sixty changes a minute.
        for (number, values) in values.chunks(5).enumerate() {
            let browser = Browser::new(&example);
            let form = browser.open_as("/applications/new", &format!("user {number}"), "p").await;
            let csrf = form.hidden_fields("/applications/new").remove(0).1;
            for value in values {
                for (path, names) in QUERIES {
                    for name in *names {
                        let page = browser.get(&format!("{path}?{name}={value}")).await;
                        assert!(page.status < 500, "{path}?{name}={value:.40}: {}", page.status);
                    }
                }
                // This page reads no parameter any more.
                assert_eq!(browser.get(&format!("/connected?after={value}")).await.status, 200, "{value:.40}");
                for (path, names) in FORMS {
                    for name in *names {
                        let page = browser.post_text(path, &format!("csrf={csrf}&{name}={value}")).await;
                        let is_expected = page.status < 500 && (page.status != 429 || *path == "/login");
                        assert!(is_expected, "{path} {name}={value:.40}: {}", page.status);
                    }
                    let page = browser.post_text(path, value).await;
                    assert!(page.status < 500, "{path} {value:.40}: {}", page.status);
                }
                let visitor = Browser::new(&example);
                let page = visitor.post_text("/logout", &format!("csrf={value}&next={value}")).await;
                assert!(page.status < 500, "{value:.40}: {}", page.status);
            }
            assert!(browser.get("/connected").await.body.contains("Log out"), "the session is the same");
        }
    }
}
