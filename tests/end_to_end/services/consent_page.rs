//! The information that the consent page shows about an application.

use end_to_end::example::{Browser, Example};

const CLIENTS: &str = r#"[
    {"client_id": "photos", "client_name": "Photos", "client_uri": "https://photos.example/?a=1&b=2",
     "logo_uri": "https://cdn.example/logo.png?a=1&b=2", "policy_uri": "https://legal.example/privacy",
     "tos_uri": "https://legal.example/terms", "contacts": ["ada@photos.example"], "redirect_uris": ["https://app.example/cb"]},
    {"client_id": "plain", "client_name": "Plain", "redirect_uris": ["https://app.example/cb"]},
    {"client_id": "guest", "client_name": "Guest", "registered_by": "self_service",
     "logo_uri": "https://cdn.example/logo.png", "redirect_uris": ["https://app.example/cb"]}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;

fn authorize(client: &str) -> String {
    format!(
        "/authorize?client_id={client}&response_type=code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb\
         &code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )
}

#[tokio::test]
async fn consent_page_shows_logo_and_links_of_a_client() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let page = Browser::new(&example).open_as(&authorize("photos"), "ada", "correct horse").await;
    for shown in [
        "<strong><bdi>Photos</bdi></strong>",
        "<img class=\"logo\" src=\"https://cdn.example/logo.png?a=1&amp;b=2\" alt=\"\" referrerpolicy=\"no-referrer\">",
        "href=\"https://photos.example/?a=1&amp;b=2\"",
        "href=\"https://legal.example/privacy\"",
        "href=\"https://legal.example/terms\"",
    ] {
        assert!(page.body.contains(shown), "the page does not say {shown}: {}", page.body);
    }
    let policy = page.content_security_policy.expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; ") && policy.ends_with("; img-src https://cdn.example"),
        "{policy}"
    );

    // Without a logo, or with a logo that a stranger has chosen, the page loads nothing from other sites.
    for client in ["plain", "guest"] {
        let page = Browser::new(&example).open_as(&authorize(client), "ada", "correct horse").await;
        assert!(page.body.contains("name=\"form_token\"") && !page.body.contains("<img"), "{}", page.body);
        let policy = page.content_security_policy.expect("a policy");
        assert!(!policy.contains("img-src"), "{policy}");
    }
}

/// In some browsers, Enter in a checkbox presses the first button of a form.
#[tokio::test]
async fn first_button_of_the_consent_form_decides_nothing() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let page = Browser::new(&example).open_as(&authorize("plain"), "ada", "correct horse").await;
    let (_, form) = page.body.split_once("action=\"/consent\"").expect("a form");
    let first = form.split("<button").nth(1).and_then(|tag| tag.split('>').next()).expect("a button");
    assert!(first.contains("formmethod=\"dialog\"") && !first.contains("decision"), "{first}");
    assert!(form.contains("value=\"deny\"") && form.contains("value=\"approve\""), "{form}");
}

#[tokio::test]
async fn error_page_shows_the_compared_values() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    for (wrong, shown) in [
        (authorize("<b>nobody</b>"), "The request says: <code>&lt;b&gt;nobody&lt;/b&gt;</code>"),
        (
            authorize("plain").replace("%2Fcb", "%2Fcallback"),
            "The request says: <code>https://app.example/callback</code>",
        ),
    ] {
        let page = browser.get(&wrong).await;
        assert!(page.status == 400 && page.body.contains(shown), "{}", page.body);
    }
}
