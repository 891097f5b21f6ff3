//! Audits every page with the rules of WCAG 2.2, in the light scheme on a wide screen and in the dark scheme on a
//! narrow screen.

use std::collections::BTreeSet;

use end_to_end::example::Example;
use end_to_end::provider::Provider;
use fantoccini::{Client, Locator};
use serde_json::json;

use crate::axe::{Auditor, VIEWS, prefer_language};
use crate::chromium::{Chromium, DESKTOP};
use crate::{click, click_in_the_middle, log_in, many_scopes, press_enter, responses, sent_to, shows, type_password};

/// An example server, and a browser that visits its pages.
struct Walk {
    example: Example,
    page: Client,
    auditor: Auditor,
}

impl Walk {
    /// Opens a path and audits the page.
    async fn look_at(&self, name: &str, path: &str) {
        self.page.goto(&self.example.url(path)).await.unwrap();
        self.auditor.passes(name).await;
    }

    /// Waits until the page shows a text and audits it.
    async fn sees(&self, name: &str, text: &str) {
        shows(&self.page, text).await;
        self.auditor.passes(name).await;
    }

    /// Submits a form that is not on the page.
    async fn post(&self, path: &str, fields: &serde_json::Value) {
        let script = "
            const form = document.createElement('form');
            Object.assign(form, { method: 'post', action: arguments[0] });
            for (const [name, value] of Object.entries(arguments[1])) {
                form.append(Object.assign(document.createElement('input'), { name, value }));
            }
            document.body.append(form);
            form.submit()";
        self.page.execute(script, vec![path.into(), fields.clone()]).await.unwrap();
    }

    async fn value(&self, css: &str) -> String {
        self.page.find(Locator::Css(css)).await.unwrap().prop("value").await.unwrap().unwrap()
    }
}

/// Returns the authorization request of a client. `more` has additional parameters.
fn request(client: &str, scope: &str, more: &str) -> String {
    let (scope, host) = (scope.replace(' ', "+"), "http%3A%2F%2F127.0.0.1%3A59998%2Fgone");
    format!(
        "/authorize?response_type=code&client_id={client}&redirect_uri={host}&scope={scope}{more}\
         &code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )
}

/// Starts a server with three clients: the guest registered itself, and users of the tool copy a code.
fn example() -> Example {
    let mut scopes: serde_json::Map<_, _> = many_scopes().into_iter().map(|(name, text)| (name, text.into())).collect();
    let all = scopes.keys().cloned().collect::<Vec<_>>().join(" ");
    scopes.insert("user:write".to_owned(), "Change your profile".into());
    let gone = ["http://127.0.0.1/gone"];
    let clients = json!([
        { "client_id": "calendar", "client_name": "A calendar", "client_uri": "https://calendar.example",
          "policy_uri": "https://calendar.example/privacy", "redirect_uris": gone, "scope": format!("user:write {all}") },
        { "client_id": "guest", "client_name": "A guest", "redirect_uris": gone, "registered_by": "self_service" },
        { "client_id": "tool", "client_name": "A tool", "client_secret": "s3cr3t",
          "redirect_uris": ["urn:ietf:wg:oauth:2.0:oob"] },
    ]);
    let users = json!({ "ada": "correct horse", "bob": "battery staple" });
    Example::with(&clients.to_string(), &users.to_string(), &json!(scopes).to_string(), &["--legacy"])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_example_server_passes_axe() {
    let Some(chromium) = Chromium::start().await else { return };
    let page = chromium.open(DESKTOP).await;
    let Some(auditor) = Auditor::new(page.clone()) else { return chromium.close(page).await };
    let walk = Walk { example: example(), page, auditor };
    as_a_visitor(&walk).await;
    decisions(&walk).await;
    connected_applications(&walk).await;
    own_applications(&walk).await;
    forms_of_earlier_logins(&walk).await;
    refusals(&walk).await;
    walk.page.goto(&walk.example.url("/connected")).await.unwrap();
    click_in_the_middle(&walk.page, "form[action='/connected/revoke-all'] button").await;
    walk.sees("all access has ended", "All access has ended").await;
    chromium.close(walk.page).await;
}

async fn as_a_visitor(walk: &Walk) {
    walk.look_at("start", "/").await;
    walk.look_at("unknown address", "/nothing").await;
    walk.look_at("demo", "/demo").await;
    walk.look_at("demo with an unexpected answer", "/demo/callback?code=x").await;
    walk.look_at("login", "/login").await;
    walk.look_at("login for an application", &request("calendar", "user:write", "")).await;
    log_in(&walk.page, "ada", "wrong horse").await;
    walk.sees("login with a wrong password", "is wrong").await;
    log_in(&walk.page, "ada", "correct horse").await;
}

async fn decisions(walk: &Walk) {
    walk.sees("consent", "A calendar").await;
    let form_token = walk.value("input[name=form_token]").await;
    click(&walk.page, "button[value=approve]").await;
    sent_to(&walk.page).await;
    let answered = json!({ "form_token": form_token, "decision": "approve" });
    walk.page.goto(&walk.example.url("/")).await.unwrap();
    walk.post("/consent", &answered).await;
    walk.sees("form that was answered", "Your first answer counts").await;
    walk.post("/consent", &json!({ "form_token": "x" })).await;
    walk.sees("malformed form", "Nothing was decided").await;

    let scopes: Vec<_> = many_scopes().into_iter().map(|(name, _)| name).collect();
    walk.look_at("consent with many permissions", &request("calendar", &scopes.join(" "), "")).await;
    walk.look_at("consent for an unchecked application", &request("guest", "user:read", "")).await;
    let more = "&prompt=select_account";
    walk.look_at("accounts", &request("calendar", "user:write", more)).await;
    walk.look_at("login again", &request("calendar", "user:write", "&prompt=login")).await;

    for (decision, name, text) in
        [("approve", "code to copy", "Copy this code"), ("deny", "access denied", "no access")]
    {
        let oob = "urn%3Aietf%3Awg%3Aoauth%3A2.0%3Aoob";
        let path =
            format!("/authorize?response_type=code&client_id=tool&scope=user%3Aread&redirect_uri={oob}&prompt=consent");
        walk.page.goto(&walk.example.url(&path)).await.unwrap();
        click(&walk.page, &format!("button[value={decision}]")).await;
        walk.sees(name, text).await;
    }
}

async fn connected_applications(walk: &Walk) {
    walk.page.goto(&walk.example.url("/demo")).await.unwrap();
    click(&walk.page, "a.button[href*='/authorize']").await;
    click(&walk.page, "button[value=approve]").await;
    walk.sees("demo with tokens", "The client has access").await;
    walk.look_at("connected applications", "/connected").await;
    walk.post("/connected/end", &json!({ "csrf": "of another site", "client": "demo" })).await;
    walk.sees("form of an unknown origin", "can no longer be used").await;
    walk.page.goto(&walk.example.url("/connected")).await.unwrap();
    click_in_the_middle(&walk.page, "form[action='/connected/end'] button").await;
    walk.sees("no connected application", "No application").await;
}

async fn own_applications(walk: &Walk) {
    walk.look_at("no application", "/applications").await;
    walk.look_at("registration", "/applications/new").await;
    for (name, value) in [("name", "My app"), ("redirect_uri", "http://app.example/cb")] {
        walk.page.find(Locator::Css(&format!("input[name={name}]"))).await.unwrap().send_keys(value).await.unwrap();
    }
    press_enter(&walk.page, "input[name=name]").await;
    walk.sees("registration with a mistake", "127.0.0.1, [::1] or localhost").await;
    let field = walk.page.find(Locator::Css("input[name=redirect_uri]")).await.unwrap();
    field.clear().await.unwrap();
    field.send_keys("https://app.example/cb").await.unwrap();
    press_enter(&walk.page, "input[name=name]").await;
    walk.sees("registered application", "Copy the secret now").await;

    walk.look_at("applications", "/applications").await;
    click(&walk.page, "a[href^='/applications/change']").await;
    walk.sees("change", "Redirect URIs").await;
    let fields = ["client", "version", "csrf"].map(|name| format!("form[action$=secret] input[name={name}]"));
    let mut form = json!({});
    for (name, css) in ["client", "version", "csrf"].iter().zip(&fields) {
        form[*name] = walk.value(css).await.into();
    }
    walk.page.find(Locator::Css("textarea")).await.unwrap().clear().await.unwrap();
    press_enter(&walk.page, "input[name=name]").await;
    walk.page.wait().for_element(Locator::Css("#redirect_uris-problem")).await.unwrap();
    walk.auditor.passes("change with a mistake").await;
    click_in_the_middle(&walk.page, "form[action='/applications/secret'] button").await;
    walk.sees("new secret", "Copy the secret now").await;
    walk.post("/applications/secret", &form).await;
    walk.sees("second new secret", "No new secret was made").await;
}

/// The user logs out and in again while a form is open.
async fn forms_of_earlier_logins(walk: &Walk) {
    walk.page.goto(&walk.example.url("/connected")).await.unwrap();
    let csrf = walk.value("form[action$='revoke-all'] input[name=csrf]").await;
    click(&walk.page, "form[action='/logout'] button").await;
    walk.page.wait().for_element(Locator::Css("a[href='/login']")).await.unwrap();
    walk.page.goto(&walk.example.url("/login?next=/connected")).await.unwrap();
    log_in(&walk.page, "bob", "battery staple").await;
    shows(&walk.page, "Connected applications").await;
    walk.post("/connected/revoke-all", &json!({ "csrf": csrf })).await;
    walk.sees("form of an earlier login", "nothing was changed yet").await;

    walk.page.goto(&walk.example.url("/")).await.unwrap();
    walk.post("/logout", &json!({ "csrf": "of another site" })).await;
    walk.sees("log out", "Log out?").await;
}

/// The pages that the library renders with the templates of the example.
async fn refusals(walk: &Walk) {
    let (unknown, faulty) = (request("nobody", "user:read", ""), request("guest", "unknown", ""));
    walk.look_at("unknown application", &unknown).await;
    walk.look_at("faulty request of an unchecked application", &faulty).await;
    prefer_language(&walk.page, "de").await;
    walk.look_at("unknown application in German", &unknown).await;
    let language = walk.page.execute("return document.documentElement.lang", Vec::new()).await.unwrap();
    assert_eq!(language, "de");
    prefer_language(&walk.page, "en").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_library_passes_axe() {
    let Some(chromium) = Chromium::start().await else { return };
    let page = chromium.open(DESKTOP).await;
    let Some(auditor) = Auditor::new(page.clone()) else { return chromium.close(page).await };
    let (names, answers): (Vec<_>, Vec<_>) = responses::all().await.into_iter().unzip();
    let bodies: BTreeSet<_> = answers.iter().map(|answer| answer.body().clone()).collect();
    assert_eq!(bodies.len(), names.len(), "two pages are the same");
    let address = responses::serve(answers).await;
    for (place, name) in names.iter().enumerate() {
        page.goto(&format!("{address}/{place}")).await.unwrap();
        auditor.passes(&format!("library - {name}")).await;
    }
    chromium.close(page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_small_examples_passes_axe() {
    for example in ["axum", "actix", "custom_http"] {
        let Some(chromium) = Chromium::start().await else { return };
        let page = chromium.open(DESKTOP).await;
        let Some(auditor) = Auditor::new(page.clone()) else { return chromium.close(page).await };
        let provider = Provider::start(example);
        page.goto(provider.link.as_str()).await.unwrap();
        if let Some(password) = &provider.password {
            auditor.passes(&format!("{example} - login")).await;
            type_password(&page, "wrong horse").await;
            shows(&page, "The password is wrong").await;
            auditor.passes(&format!("{example} - wrong password")).await;
            type_password(&page, password).await;
        }
        shows(&page, "See your name").await;
        auditor.passes(&format!("{example} - consent")).await;
        chromium.close(page).await;
    }
}

/// Checks the audit itself: it must find each kind of barrier in the view that has the barrier.
#[tokio::test(flavor = "multi_thread")]
async fn audit_finds_barriers_that_are_planted() {
    let Some(chromium) = Chromium::start().await else { return };
    let page = chromium.open(DESKTOP).await;
    let Some(auditor) = Auditor::new(page.clone()) else { return chromium.close(page).await };
    let example = example();
    let small = "all:unset;display:block;width:9px;font:9px/9px serif";
    let small =
        format!("document.querySelector('.button').outerHTML = '<button style=\"{small}\">x</button>'.repeat(5)");
    let grey = |colour: &str| format!("document.querySelector('h1').style.color = '{colour}'");
    for (barrier, rule, expected) in [
        ("document.documentElement.removeAttribute('lang')", "html-has-lang", [true, true]),
        ("document.querySelectorAll('label').forEach(label => label.remove())", "label", [true, true]),
        ("document.querySelector('main').outerHTML = document.querySelector('main').innerHTML", "region", [true, true]),
        (&grey("#999"), "color-contrast", [true, false]),
        (&grey("#555"), "color-contrast", [false, true]),
        (&small, "target-size", [true, true]),
    ] {
        page.goto(&example.url("/login")).await.unwrap();
        page.execute(barrier, Vec::new()).await.unwrap();
        let mut found = [false; 2];
        for (found, view) in found.iter_mut().zip(VIEWS) {
            let rules = auditor.violations(view).await;
            *found = rules.iter().any(|text| text.starts_with(&format!("{rule}:")));
        }
        assert_eq!(found, expected, "{rule} after {barrier}");
    }
    chromium.close(page).await;
}
