//! Journeys of a user in a real headless browser, against the example server and the small providers.
//!
//! They need Chromium and its driver, and npm for the audits with axe-core. Where these are missing the tests print
//! that and pass, unless `GRANTOR_REQUIRE_ALL=1`. With `GRANTOR_PICTURES=folder`, the audits save a picture of each
//! page there.

mod accessibility;
mod axe;
mod chromium;
mod keyboard;
mod names;
mod responses;

use std::process::Command;
use std::time::{Duration, Instant};

use chromium::{Chromium, DESKTOP, PHONE};
use end_to_end::example::Example;
use end_to_end::provider::Provider;
use fantoccini::error::CmdError;
use fantoccini::{Client, Locator};

const CLIENTS: &str = r#"[
    {"client_id": "calendar", "client_name": "A calendar", "client_uri": "https://calendar.example",
     "redirect_uris": ["http://127.0.0.1/gone"], "scope": "user:read user:write", "token_endpoint_auth_method": "none"}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile", "user:write": "Change your profile",
                         "offline_access": "Keep access while you are away"}"#;

fn server() -> Example {
    Example::with(CLIENTS, USERS, SCOPES, &[])
}

/// The calendar's authorization request. Nothing listens at its redirect URI, so the browser stops there with the
/// response.
fn calendar(example: &Example) -> String {
    let query = "response_type=code&client_id=calendar&redirect_uri=http%3A%2F%2F127.0.0.1%3A59998%2Fgone&state=s1\
                 &scope=user%3Aread+user%3Awrite&code_challenge_method=S256\
                 &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    example.url(&format!("/authorize?{query}"))
}

async fn log_in(page: &Client, username: &str, password: &str) {
    let field = page.find(Locator::Css("input[name=username]")).await.expect("a login form");
    field.clear().await.unwrap();
    field.send_keys(username).await.unwrap();
    page.find(Locator::Css("input[name=password]")).await.unwrap().send_keys(password).await.unwrap();
    click(page, "form[action='/login'] button").await;
}

async fn click(page: &Client, css: &str) {
    // The previous page may still be there during the search: wait for the element, not for a fixed time.
    let element = page.wait().for_element(Locator::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"));
    element.click().await.unwrap();
}

async fn text(page: &Client) -> String {
    page.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
}

/// Waits until the page shows a text.
async fn shows(page: &Client, expected: &str) {
    let path = format!("//body[contains(., \"{expected}\")]");
    let mut found = page.wait().for_element(Locator::XPath(&path)).await;
    // Reading a page while it is replaced fails in several ways, not only with a missing text.
    if found.as_ref().is_err_and(|error| !matches!(error, CmdError::WaitTimeout)) {
        found = page.wait().for_element(Locator::XPath(&path)).await;
    }
    assert!(found.is_ok(), "{expected:?} is not shown: {}", text(page).await);
}

/// Asserts that nothing overflows to the side.
async fn fits(page: &Client) {
    let script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]";
    let sizes = page.execute(script, Vec::new()).await.unwrap();
    let (content, window) = (sizes[0].as_i64().unwrap(), sizes[1].as_i64().unwrap());
    let address = page.current_url().await.unwrap();
    assert!(content <= window, "{address} is {content} wide in a window of {window}");
}

/// Presses Enter in a field.
async fn press_enter(page: &Client, css: &str) {
    let field = page.wait().for_element(Locator::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"));
    field.send_keys("\u{e007}").await.unwrap();
}

/// The address of the last redirect, where nothing listens.
async fn sent_to(page: &Client) -> String {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        let address = page.current_url().await.unwrap();
        if address.path() == "/gone" {
            return address.into();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("still at {}: {}", page.current_url().await.unwrap(), text(page).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn user_lets_the_demo_client_in_step_by_step() {
    for window in [PHONE, DESKTOP] {
        let Some(chromium) = Chromium::start().await else { return };
        let example = server();
        let page = chromium.open(window).await;
        page.goto(&example.url("/")).await.unwrap();
        fits(&page).await;
        page.goto(&example.url("/demo")).await.unwrap();
        fits(&page).await;
        click(&page, "a.button[href*='/authorize']").await;

        log_in(&page, "ada", "wrong horse").await;
        shows(&page, "The user name or the password is wrong").await;
        fits(&page).await;
        log_in(&page, "ada", "correct horse").await;
        for expected in ["Demo client", "Read your profile", "Change your profile", "localhost", "ada"] {
            shows(&page, expected).await;
        }
        fits(&page).await;
        click(&page, "button[value=approve]").await;
        shows(&page, "The client has access").await;
        for expected in ["POST /token", "GET /api/me", "grant_type=refresh_token", "200 OK"] {
            shows(&page, expected).await;
        }
        fits(&page).await;
        page.goto(&example.url("/connected")).await.unwrap();
        shows(&page, "Demo client").await;
        fits(&page).await;
        click(&page, "form[action='/connected/end'] button").await;
        shows(&page, "No application has access to your account.").await;
        fits(&page).await;
        chromium.close(page).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_logs_out_everywhere_and_ends_all_access() {
    for window in [PHONE, DESKTOP] {
        let Some(chromium) = Chromium::start().await else { return };
        let example = server();
        let page = chromium.open(window).await;
        page.goto(&example.url("/demo")).await.unwrap();
        click(&page, "a.button[href*='/authorize']").await;
        log_in(&page, "ada", "correct horse").await;
        click(&page, "button[value=approve]").await;
        shows(&page, "The client has access").await;
        page.goto(&example.url("/connected")).await.unwrap();
        click(&page, "form[action='/connected/revoke-all'] button").await;
        shows(&page, "All access has ended").await;
        fits(&page).await;
        page.goto(&example.url("/connected")).await.unwrap();
        log_in(&page, "ada", "correct horse").await;
        shows(&page, "No application has access to your account.").await;
        chromium.close(page).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_without_javascript_narrows_scope_and_denies() {
    let Some(chromium) = Chromium::start().await else { return };
    let example = server();
    let page = chromium.open_without_javascript(DESKTOP).await;
    page.goto(&calendar(&example)).await.unwrap();
    log_in(&page, "ada", "correct horse").await;
    for expected in ["A calendar", "127.0.0.1:59998", "calendar.example"] {
        shows(&page, expected).await;
    }
    click(&page, "input[name=scope][value='user:write']").await;
    // In some browsers, Enter in a checkbox presses the first button of a form. That button decides nothing here.
    press_enter(&page, "input[name=scope][value='user:write']").await;
    shows(&page, "A calendar").await;
    assert!(page.current_url().await.unwrap().path().starts_with("/authorize"), "nothing was decided");
    click(&page, "button[value=approve]").await;
    let address = sent_to(&page).await;
    assert!(address.starts_with("http://127.0.0.1:59998/gone?code=") && address.contains("state=s1"), "{address}");

    // A public client on a device needs consent each time: nothing proves that it is the same program.
    page.goto(&calendar(&example)).await.unwrap();
    click(&page, "button[value=deny]").await;
    let address = sent_to(&page).await;
    assert!(address.contains("error=access_denied") && !address.contains("code="), "{address}");
    chromium.close(page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_registers_application_and_sees_secret_once() {
    for window in [PHONE, DESKTOP] {
        let Some(chromium) = Chromium::start().await else { return };
        let example = server();
        let page = chromium.open(window).await;
        page.goto(&example.url("/applications/new")).await.unwrap();
        log_in(&page, "ada", "correct horse").await;
        let fill = async |name: &str, value: &str| {
            let css = format!("input[name={name}]");
            let field = page.wait().for_element(Locator::Css(&css)).await.unwrap();
            field.clear().await.unwrap();
            field.send_keys(value).await.unwrap();
        };
        fill("name", "My <app>").await;
        fill("redirect_uri", "http://app.example/cb").await;
        fits(&page).await;
        click(&page, "form[action='/applications/new'] button").await;
        shows(&page, "127.0.0.1, [::1] or localhost").await;
        fits(&page).await;

        fill("redirect_uri", "https://app.example/cb").await;
        click(&page, "form[action='/applications/new'] button").await;
        shows(&page, "My <app>").await;
        shows(&page, "Copy the secret now").await;
        fits(&page).await;
        let secret = page.find(Locator::Css("#client_secret")).await.unwrap().text().await.unwrap();
        assert_eq!(secret.len(), 43, "{secret}");

        page.goto(&example.url("/applications")).await.unwrap();
        shows(&page, "My <app>").await;
        assert!(!text(&page).await.contains(&secret));
        fits(&page).await;
        chromium.close(page).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_link_shows_an_error_and_does_not_redirect() {
    let Some(chromium) = Chromium::start().await else { return };
    let example = server();
    for window in [PHONE, DESKTOP] {
        let page = chromium.open(window).await;
        let address = example.url("/authorize?response_type=code&client_id=nobody&redirect_uri=https://evil.example");
        page.goto(&address).await.unwrap();
        shows(&page, "not registered").await;
        assert_eq!(page.current_url().await.unwrap().path(), "/authorize");
        fits(&page).await;
        chromium.close(page).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_provider_lets_the_demo_client_in() {
    alice_lets_the_demo_client_in("axum").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actix_provider_lets_the_demo_client_in() {
    alice_lets_the_demo_client_in("actix").await;
}

/// Opens the address that the example prints, mistypes the password once, and approves the request.
async fn alice_lets_the_demo_client_in(example: &str) {
    let Some(chromium) = Chromium::start().await else { return };
    let provider = Provider::start(example);
    for window in [PHONE, DESKTOP] {
        let page = chromium.open(window).await;
        page.goto(provider.link.as_str()).await.unwrap();
        assert!(!text(&page).await.contains("wrong"), "the page complains before a password was typed");
        fits(&page).await;
        type_password(&page, "wrong horse").await;
        shows(&page, "The password is wrong").await;
        fits(&page).await;
        type_password(&page, provider.password.as_ref().unwrap()).await;

        let allow = page.wait().for_element(Locator::Css("button[value=approve]")).await.expect("a way to allow it");
        let host = format!("You then go to 127.0.0.1:{}", provider.link.port().unwrap());
        for expected in ["demo wants to: See your name", &host] {
            shows(&page, expected).await;
        }
        assert!(!text(&page).await.contains("wrong"), "the page still complains after the right password");
        fits(&page).await;
        allow.click().await.unwrap();
        shows(&page, "The code is in the address of this page.").await;
        let address = page.current_url().await.unwrap();
        assert_eq!(address.path(), "/callback");
        assert!(address.query_pairs().any(|(name, code)| name == "code" && code.len() == 43), "{address}");
        chromium.close(page).await;
    }
}

/// Forty scopes: some in groups, one with a name of 60 characters and an Arabic description.
fn many_scopes() -> Vec<(String, String)> {
    let arabic = "\u{642}\u{631}\u{627}\u{621}\u{629} \u{645}\u{644}\u{641}\u{643} (OAuth)";
    let mut scopes =
        vec![("user:read".to_owned(), "Read your profile".to_owned()), ("x".repeat(60), arabic.to_owned())];
    scopes.extend((0..19).map(|n| (format!("mail:part{n}"), format!("Read part {n} of your mail"))));
    scopes.extend((0..19).map(|n| (format!("files:part{n}"), "z".repeat(60))));
    scopes
}

/// Clicks an element unless the decision bar covers it: the driver scrolls only to the edge of the window.
async fn click_in_the_middle(page: &Client, css: &str) {
    let script = "document.querySelector(arguments[0]).scrollIntoView({ block: 'center' })";
    page.execute(script, vec![css.into()]).await.unwrap();
    click(page, css).await;
}

/// Whether an element is in the visible part of the window.
async fn is_in_sight(page: &Client, css: &str) -> bool {
    let script = "const place = document.querySelector(arguments[0]).getBoundingClientRect();\
                  return place.top >= 0 && place.bottom <= innerHeight";
    page.execute(script, vec![css.into()]).await.unwrap().as_bool().unwrap()
}

// Regression: long names made the page scroll sideways, and forty scopes hid the buttons.
#[tokio::test(flavor = "multi_thread")]
async fn decision_stays_visible_with_long_names_and_scopes() {
    let Some(chromium) = Chromium::start().await else { return };
    let user = format!("ada{}", ".with.a.long.name".repeat(6));
    let scopes: serde_json::Map<_, _> = many_scopes().into_iter().map(|(name, text)| (name, text.into())).collect();
    let all = scopes.keys().cloned().collect::<Vec<_>>().join(" ");
    let clients = CLIENTS.replace("user:read user:write", &all).replace("A calendar", &"Calendar".repeat(20));
    let users = serde_json::json!({ &user: "correct horse" }).to_string();
    let example = Example::with(&clients, &users, &serde_json::Value::from(scopes).to_string(), &[]);
    let scope = all.replace(':', "%3A").replace(' ', "+");
    let request = calendar(&example).replace("user%3Aread+user%3Awrite", &scope);
    for window in [(390, 844), DESKTOP] {
        let page = chromium.open(window).await;
        page.goto(&request).await.unwrap();
        log_in(&page, &user, "correct horse").await;
        shows(&page, "It asks for 40 permissions").await;
        for place in ["0", "1000", "document.documentElement.scrollHeight"] {
            page.execute(&format!("scrollTo(0, {place})"), Vec::new()).await.unwrap();
            for css in ["button[value=approve]", "button[value=deny]", ".choice p"] {
                assert!(is_in_sight(&page, css).await, "{css} at {place} in {window:?}");
            }
        }
        fits(&page).await;
        let direction =
            "return getComputedStyle(document.querySelector(`input[value=${'x'.repeat(60)}] + span > span`)).direction";
        assert_eq!(page.execute(direction, Vec::new()).await.unwrap(), "rtl");
        for (link, checked) in [(".select a[href$=none]", 0), (".select a", 40), (".select a[href$=none]", 0)] {
            click_in_the_middle(&page, link).await;
            let path = format!("//body[count(//input[@name='scope' and @checked]) = {checked}]");
            page.wait().for_element(Locator::XPath(&path)).await.unwrap_or_else(|error| panic!("{link}: {error}"));
        }
        fits(&page).await;
        click_in_the_middle(&page, "input[value='mail:part7']").await;
        click(&page, "button[value=approve]").await;
        assert!(sent_to(&page).await.contains("code="));

        page.goto(&example.url("/demo")).await.unwrap();
        click(&page, "a.button[href*='/authorize']").await;
        click(&page, "button[value=approve]").await;
        shows(&page, "The client has access").await;
        for path in ["/demo", "/connected", "/applications", "/applications/new", "/", "/nothing"] {
            page.goto(&example.url(path)).await.unwrap();
            fits(&page).await;
            page.execute("document.querySelectorAll('details').forEach(part => part.open = true)", Vec::new())
                .await
                .unwrap();
            fits(&page).await;
        }
        chromium.close(page).await;
    }
}

// covers: B48, B49
#[tokio::test(flavor = "multi_thread")]
async fn cross_origin_script_discovers_server_from_the_api() {
    let Some(chromium) = Chromium::start().await else { return };
    let (example, elsewhere) = (server(), Provider::start("axum"));
    let page = chromium.open(DESKTOP).await;
    // A page on another origin, without a content security policy.
    page.goto(&elsewhere.url("/callback")).await.unwrap();
    // The browser sends a preflight because of the headers that client libraries add.
    let script = r#"
        const [api, done] = arguments;
        const more = { "mcp-protocol-version": "2025-06-18", traceparent: "00-0-0-00", "x-requested-with": "x" };
        (async () => {
            const refused = await fetch(api, { headers: { authorization: "Bearer unknown", ...more } });
            const challenge = refused.headers.get("www-authenticate");
            const resource = await (await fetch(/resource_metadata="([^"]+)"/.exec(challenge)[1], { headers: more })).json();
            const issuer = resource.authorization_servers[0];
            const path = "/.well-known/oauth-authorization-server";
            const server = await (await fetch(issuer + path, { headers: more })).json();
            const headers = { authorization: "Basic eDp5", ...more };
            const body = new URLSearchParams({ grant_type: "client_credentials" });
            const tokens = await fetch(server.token_endpoint, { method: "POST", headers, body });
            const revoked = await fetch(server.revocation_endpoint, { method: "POST", headers, body });
            const change = await fetch(api, { method: "PUT", headers: { authorization: "Bearer x", ...more }, body: "{}" });
            done([refused.status, challenge, tokens.status, (await tokens.json()).error, revoked.status, change.status]);
        })().catch(error => done([String(error)]));
    "#;
    let told = page.execute_async(script, vec![example.url("/api/me").into()]).await.unwrap();
    assert_eq!((&told[0], &told[2], &told[3]), (&401.into(), &401.into(), &"invalid_client".into()), "{told}");
    assert!(told[1].as_str().unwrap().contains("scope=\"user:read\""), "{told}");
    assert_eq!((&told[4], &told[5]), (&401.into(), &401.into()), "{told}");
    chromium.close(page).await;
}

async fn type_password(page: &Client, password: &str) {
    let field = page.wait().for_element(Locator::Css("input[name=password]")).await.expect("a field for the password");
    field.send_keys(password).await.unwrap();
    click(page, "form button").await;
}

#[test]
fn missing_browser_skips_or_fails_if_all_are_required() {
    for (required, passes) in [(None, true), (Some("0"), true), (Some("1"), false)] {
        // Runs this test binary again, with an empty search path.
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "broken_link_shows_an_error_and_does_not_redirect"]);
        again.env("PATH", "/nowhere").env_remove("GRANTOR_REQUIRE_ALL");
        again.envs(required.map(|value| ("GRANTOR_REQUIRE_ALL", value)));
        let output = again.output().unwrap();
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.success(), passes, "{required:?}: {said}{complaint}");
        let is_said = complaint.contains("skipped: chromedriver can't be started");
        let is_required =
            format!("{said}{complaint}").contains("GRANTOR_REQUIRE_ALL=1, but chromedriver can't be started");
        assert_eq!((is_said, is_required), (passes, !passes), "{required:?}: {said}{complaint}");
    }
}
