//! A service with error pages in the user's language.

use end_to_end::example::Example;

const CLIENTS: &str = r#"[
    {"client_id": "app", "client_name": "An app", "scope": "user:read", "redirect_uris": ["https://app.example/cb"],
     "grant_types": ["authorization_code"]}
]"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;

#[tokio::test]
async fn error_page_is_in_the_language_of_the_browser() {
    let example = Example::with(CLIENTS, r#"{"ada": "correct horse"}"#, SCOPES, &[]);
    let foreign = "/authorize?client_id=app&response_type=code&redirect_uri=https%3A%2F%2Fevil.example%2F";
    let english =
        ["<html lang=\"en\">", "This request can\u{2019}t be completed", "the redirect URI is not registered"];
    let german = [
        "<html lang=\"de\">",
        "Diese Anfrage klappt nicht",
        "Die R\u{fc}ckadresse der App ist hier nicht eingetragen.",
    ];
    for (languages, expected) in [
        (None, english),
        (Some("fr"), english),
        (Some("en-GB,en;q=0.9,de;q=0.8"), english),
        (Some("de-AT,de;q=0.9,en;q=0.5"), german),
        (Some("fr, DE;q=0.2"), german),
    ] {
        let request = reqwest::Client::new().get(example.url(foreign));
        let request = languages.into_iter().fold(request, |request, value| request.header("accept-language", value));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400, "{languages:?}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{languages:?}");
        let page = response.text().await.unwrap();
        for text in expected {
            assert!(page.contains(text), "{languages:?}: {text} is not in {page}");
        }
    }
}
