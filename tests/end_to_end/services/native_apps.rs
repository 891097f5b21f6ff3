//! A service for apps on users' devices, with redirects to private-use schemes.

use super::token;
use end_to_end::example::{Browser, Example, Folder};

const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;
const REDIRECTS: [&str; 3] = ["cursor://anysphere.cursor-mcp/cb", "my-app:/cb", "com.example.app://oauth2redirect"];

fn clients() -> String {
    let redirects = REDIRECTS.map(|uri| format!("\"{uri}\"")).join(",");
    format!(r#"[{{"client_id": "editor", "application_type": "native", "redirect_uris": [{redirects}]}}]"#)
}

/// Approves the client and redeems the code that comes back.
async fn gets_tokens(example: &Example, browser: &Browser, client: &str, redirect_uri: &str) {
    let encoded: String = url::form_urlencoded::byte_serialize(redirect_uri.as_bytes()).collect();
    let request = format!(
        "/authorize?client_id={client}&response_type=code&redirect_uri={encoded}&code_challenge_method=S256\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
    let page = browser.open_as(&request, "ada", "correct horse").await;
    let page = browser.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await;
    assert!(page.location.as_deref().is_some_and(|location| location.starts_with(redirect_uri)), "{:?}", page.location);
    let code = page.answer("code").expect("a code");
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", &code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ];
    let (status, tokens) = token(example, &form).await;
    assert_eq!(status, 200, "{tokens}");
}

async fn register(browser: &Browser, redirect_uri: &str, native: bool) -> end_to_end::example::Page {
    let form = browser.get("/applications/new").await;
    let form =
        if form.status == 200 { form } else { browser.open_as("/applications/new", "ada", "correct horse").await };
    let mut fields = vec![("name", "My editor"), ("website", ""), ("redirect_uri", redirect_uri)];
    if native {
        fields.push(("native", "yes"));
    }
    browser.submit(&form, "/applications/new", &fields).await
}

// covers: B50
#[tokio::test]
async fn native_app_uses_undotted_scheme_from_the_flag() {
    let flags = ["--native-scheme", "cursor", "--native-scheme", "my-app", "--native-scheme", "com.example.app"];
    let example = Example::with(&clients(), USERS, SCOPES, &flags);
    for redirect_uri in REDIRECTS {
        gets_tokens(&example, &Browser::new(&example), "editor", redirect_uri).await;
    }
    // Users register native apps in the form. The apps get no secret and no own scope.
    let browser = Browser::new(&example);
    let page = register(&browser, REDIRECTS[0], true).await;
    let [id] = page.codes()[..] else { panic!("only an identifier is shown: {}", page.body) };
    gets_tokens(&example, &Browser::new(&example), id, REDIRECTS[0]).await;
    let (status, error) = token(&example, &[("grant_type", "client_credentials"), ("client_id", id)]).await;
    assert_eq!((status, &error["error"]), (400, &"unauthorized_client".into()));
    let change = browser.get(&format!("/applications/change?client={id}")).await;
    assert!(change.body.contains(REDIRECTS[0]) && !change.body.contains("/applications/secret"), "{}", change.body);
    for uri in ["vscode://cb", "http://app.example/cb", "javascript:alert(1)"] {
        let fields = [("name", "My editor"), ("website", ""), ("redirect_uris", uri)];
        assert_eq!(browser.submit(&change, "/applications/change", &fields).await.status, 422, "{uri}");
    }
    let mut form = change.hidden_fields("/applications/remove");
    form.retain(|(name, _)| name == "csrf" || name == "client");
    assert_eq!(browser.post("/applications/secret", &form).await.status, 400);
}

// covers: B50
#[tokio::test]
async fn undotted_scheme_needs_a_native_app_and_the_flag() {
    for (flags, uri, native, status) in [
        (&[][..], "cursor://cb", true, 422),
        (&["--native-scheme", "cursor"], "cursor://cb", true, 200),
        (&["--native-scheme", "cursor"], "cursor://cb", false, 422),
        (&["--native-scheme", "cursor"], "vscode://cb", true, 422),
        (&["--native-scheme", "cursor"], "data:text/html,x", true, 422),
        (&["--native-scheme", "cursor"], "file:///etc/passwd", true, 422),
        (&[], "com.example.app:/oauth2redirect", true, 200),
        (&[], "com.example.app:/oauth2redirect", false, 422),
        (&[], "com.example.app://oauth2redirect", true, 422),
        (&["--native-scheme", "com.example.app"], "com.example.app://oauth2redirect", true, 200),
        (&[], "http://localhost/cb", true, 200),
    ] {
        let example = Example::with("[]", USERS, SCOPES, flags);
        let page = register(&Browser::new(&example), uri, native).await;
        assert_eq!(page.status, status, "{flags:?} {uri} {native}: {}", page.body);
        assert_eq!(page.body.contains("aria-invalid=\"true\""), status == 422, "{flags:?} {uri}: {}", page.body);
    }
    let folder = Folder::new();
    let clients = folder.file("clients.json", &clients());
    assert!(Example::refusal(&["--clients", &clients]).contains("undotted_schemes"));
    for scheme in ["http", "https", "javascript", "data", "file", "vbscript", "Cursor", ".com", "cursor:", ""] {
        let refusal = Example::refusal(&["--native-scheme", scheme]);
        assert!(refusal.contains("undotted_schemes"), "{scheme}: {refusal}");
    }
}
