//! Names in any script. They must neither break a page nor reorder the text around them.

use end_to_end::example::Example;
use fantoccini::{Client, Locator};
use serde_json::{Value, json};

use crate::axe::Auditor;
use crate::chromium::{Chromium, DESKTOP};
use crate::{calendar, click, fits, log_in, shows};

/// "Calendar (2)!" in Arabic. Without isolation, the browser would move the digits and signs at the end.
const ARABIC: &str = "\u{62a}\u{642}\u{648}\u{64a}\u{645} (2)!";

/// A user name with an override of the text direction, which a client name can't have.
const OVERRIDE: &str = "ada\u{202e}nimda";

fn example(user: &str) -> Example {
    let scopes = json!({ "user:read": format!("{ARABIC} \u{202e}"), "user:write": "Change your profile" });
    Example::with(crate::CLIENTS, &json!({ user: "correct horse" }).to_string(), &scopes.to_string(), &[])
}

/// Registers an application with a name on the pages of the server, and returns its request for the consent page.
async fn register(page: &Client, example: &Example, name: &str) -> String {
    page.goto(&example.url("/applications/new")).await.unwrap();
    fill(page, "name", name).await;
    fill(page, "redirect_uri", "http://127.0.0.1:59998/gone").await;
    click(page, "form[action='/applications/new'] button").await;
    shows(page, "Copy the secret now").await;
    fits(page).await;
    let id = page.find(Locator::Css("#client_id")).await.unwrap().text().await.unwrap();
    calendar(example).replace("client_id=calendar", &format!("client_id={id}"))
}

async fn fill(page: &Client, field: &str, value: &str) {
    let field = page.wait().for_element(Locator::Css(&format!("input[name={field}]"))).await.unwrap();
    field.clear().await.unwrap();
    field.send_keys(value).await.unwrap();
}

/// Returns the text direction of an element, and whether it is isolated from the text around it.
async fn direction(page: &Client, css: &str) -> Value {
    let script = "
        const style = getComputedStyle(document.querySelector(arguments[0]));
        return [style.direction, style.unicodeBidi]";
    page.execute(script, vec![css.into()]).await.unwrap()
}

/// Returns whether the browser paints the first text left of the second one.
async fn is_left_of(page: &Client, first: &str, second: &str) -> bool {
    let script = "
        const [before, after] = [...arguments].map(text => {
            const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
                const at = walker.currentNode.data.indexOf(text);
                if (at < 0) continue;
                const range = document.createRange();
                range.setStart(walker.currentNode, at);
                range.setEnd(walker.currentNode, at + text.length);
                return range.getBoundingClientRect();
            }
            throw new Error(`${text} is not on the page`);
        });
        return before.right <= after.left + 1 && Math.abs(before.top - after.top) < 20";
    page.execute(script, vec![first.into(), second.into()]).await.unwrap().as_bool().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn name_from_right_to_left_is_isolated_on_consent_page() {
    let Some(chromium) = Chromium::start().await else { return };
    let example = example("ada");
    let page = chromium.open(DESKTOP).await;
    page.goto(&example.url("/applications/new")).await.unwrap();
    log_in(&page, "ada", "correct horse").await;
    shows(&page, "Register an application").await;
    let request = register(&page, &example, ARABIC).await;
    page.goto(&request).await.unwrap();
    shows(&page, "asks for access to your account").await;
    assert_eq!(direction(&page, "h1 bdi").await, json!(["rtl", "isolate"]));
    assert_eq!(direction(&page, ".permission span[dir]").await[0], "rtl");
    assert_eq!(direction(&page, "html").await[0], "ltr");
    assert!(is_left_of(&page, ARABIC, " asks").await, "the sentence is from left to right around the name");
    let (end, start) = ("!", "\u{62a}\u{642}");
    assert!(is_left_of(&page, end, start).await, "the name is from right to left");
    assert_eq!(page.title().await.unwrap(), format!("Allow \u{2068}{ARABIC}\u{2069}? \u{b7} grantor example"));
    if let Some(auditor) = Auditor::new(page.clone()) {
        auditor.passes("consent for a name from right to left").await;
    }
    let without = "document.querySelectorAll('bdi').forEach(name => name.replaceWith(...name.childNodes))";
    page.execute(without, Vec::new()).await.unwrap();
    assert!(!is_left_of(&page, end, start).await, "the test finds a name that is not isolated");
    for path in ["/applications", "/connected"] {
        page.goto(&example.url(path)).await.unwrap();
        fits(&page).await;
    }
    chromium.close(page).await;
}

// WCAG 2.2, 1.4.10: nothing scrolls sideways at a width of 320.
#[tokio::test(flavor = "multi_thread")]
async fn longest_names_wrap_on_a_narrow_screen() {
    let Some(chromium) = Chromium::start().await else { return };
    let user = "x".repeat(255);
    let example = example(&user);
    let page = chromium.open((320, 800)).await;
    page.goto(&example.url("/applications/new")).await.unwrap();
    log_in(&page, &user, "correct horse").await;
    shows(&page, "Register an application").await;
    fits(&page).await;
    // 200 characters are the most that a name can have.
    for name in ["\u{645}".repeat(200), "W".repeat(200)] {
        let request = register(&page, &example, &name).await;
        page.goto(&request).await.unwrap();
        shows(&page, "asks for access to your account").await;
        fits(&page).await;
        page.goto(&example.url("/applications")).await.unwrap();
        fits(&page).await;
    }
    chromium.close(page).await;
}

// Regression: a name with many marks on its letters was drawn over the warning about the application.
#[tokio::test(flavor = "multi_thread")]
async fn stacked_marks_are_not_drawn_over_the_rest_of_a_page() {
    let Some(chromium) = Chromium::start().await else { return };
    let example = example("ada");
    let page = chromium.open(DESKTOP).await;
    page.goto(&example.url("/applications/new")).await.unwrap();
    log_in(&page, "ada", "correct horse").await;
    shows(&page, "Register an application").await;
    let mut pictures = Vec::new();
    for marks in ["", &"\u{323}".repeat(90), &"\u{307}".repeat(90)] {
        let request = register(&page, &example, &format!("Calendar{marks}")).await;
        page.goto(&request).await.unwrap();
        shows(&page, "asks for access to your account").await;
        let mut of_page = Vec::new();
        for part in [".account", ".caution", ".brand"] {
            of_page.push(page.find(Locator::Css(part)).await.unwrap().screenshot().await.unwrap());
        }
        pictures.push(of_page);
    }
    assert!(pictures.iter().all(|of_page| *of_page == pictures[0]), "the marks cover other parts of the page");
    chromium.close(page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn name_that_could_deceive_is_refused_at_its_field() {
    let Some(chromium) = Chromium::start().await else { return };
    let example = example("ada");
    let page = chromium.open(DESKTOP).await;
    page.goto(&example.url("/applications/new")).await.unwrap();
    log_in(&page, "ada", "correct horse").await;
    for name in ["Calendar\u{202e}nimda", &"W".repeat(255)] {
        page.goto(&example.url("/applications/new")).await.unwrap();
        fill(&page, "redirect_uri", "https://app.example/cb").await;
        fill(&page, "name", name).await;
        click(&page, "form[action='/applications/new'] button").await;
        let problem = page.wait().for_element(Locator::Css("#name-problem")).await.unwrap();
        assert!(problem.text().await.unwrap().contains("1 to 200 characters"));
        // Browsers set the focus some time after a page was loaded.
        let field = page.wait().for_element(Locator::Css("#name:focus")).await.unwrap();
        assert_eq!(field.prop("value").await.unwrap().as_deref(), Some(name), "what was typed is kept");
        fits(&page).await;
    }
    chromium.close(page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn override_in_user_name_changes_no_text_around_it() {
    let Some(chromium) = Chromium::start().await else { return };
    let example = example(OVERRIDE);
    let page = chromium.open(DESKTOP).await;
    page.goto(&calendar(&example)).await.unwrap();
    log_in(&page, OVERRIDE, "correct horse").await;
    shows(&page, "asks for access to your account").await;
    assert_eq!(direction(&page, ".account bdi").await, json!(["ltr", "isolate"]));
    assert!(is_left_of(&page, OVERRIDE, "Not you?").await, "the name moves what comes after it");
    assert!(is_left_of(&page, "Logged in as", OVERRIDE).await, "the name moves what comes before it");
    for path in ["/", "/connected", "/applications"] {
        page.goto(&example.url(path)).await.unwrap();
        assert_eq!(direction(&page, ".who").await, json!(["ltr", "isolate"]));
        fits(&page).await;
    }
    chromium.close(page).await;
}
