//! Pages without a mouse.

use end_to_end::example::Example;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::{Client, Locator};
use serde::Deserialize;

use crate::chromium::{Chromium, DESKTOP, PHONE};
use crate::{server, shows};

/// Presses and releases a key.
async fn press(page: &Client, key: impl Into<char>) {
    let value = key.into();
    let keys = KeyActions::new("keyboard".to_owned()).then(KeyAction::Down { value }).then(KeyAction::Up { value });
    page.perform_actions(keys).await.unwrap();
}

async fn type_text(page: &Client, text: &str) {
    for c in text.chars() {
        press(page, c).await;
    }
}

/// The element that has the focus.
#[derive(Debug, Deserialize)]
struct Focused {
    name: String,
    /// Whether the element and its focus ring are visible.
    visible: bool,
}

async fn focused(page: &Client) -> Focused {
    let script = "
        const element = document.activeElement;
        const label = element.labels?.[0] ?? element;
        const { left, top, width, height } = element.getBoundingClientRect();
        const seen = document.elementFromPoint(left + width / 2, top + height / 2);
        const style = getComputedStyle(element);
        return {
            name: label.innerText.trim().split('\\n')[0],
            visible: (element.contains(seen) || seen?.contains(element))
                && style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2,
        }";
    serde_json::from_value(page.execute(script, Vec::new()).await.unwrap()).unwrap()
}

/// Waits until an element has the focus, which browsers set some time after a page was loaded.
async fn has_focus(page: &Client, css: &str) {
    let found = page.wait().for_element(Locator::Css(&format!("{css}:focus"))).await;
    assert!(found.is_ok(), "{css} does not have the focus");
}

/// Presses the tab key until an element with this name has the focus; returns the names of all elements on the way.
async fn tab_to(page: &Client, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < 20 {
        press(page, Key::Tab).await;
        let element = focused(page).await;
        assert!(element.visible, "the focus can't be seen: {element:?}");
        names.push(element.name);
        if names.last().is_some_and(|last| last == name) {
            return names;
        }
    }
    panic!("the tab key does not lead to {name}: {names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keyboard_alone_logs_in_and_decides() {
    for window in [PHONE, DESKTOP] {
        let Some(chromium) = Chromium::start().await else { return };
        let example = server();
        let page = chromium.open(window).await;
        logs_in_and_allows(&page, &example).await;
        chromium.close(page).await;
    }
}

async fn logs_in_and_allows(page: &Client, example: &Example) {
    page.goto(&example.url("/demo")).await.unwrap();
    let navigation = ["grantor example", "Demo", "Applications", "Connected", "Log in"];
    let way = tab_to(page, "Continue to the server").await;
    assert_eq!(way[..5], navigation);
    press(page, Key::Enter).await;

    shows(page, "Log in to allow or deny it.").await;
    has_focus(page, "#username").await;
    type_text(page, "ada").await;
    assert_eq!(tab_to(page, "Password").await, ["Password"]);
    type_text(page, "wrong horse").await;
    press(page, Key::Enter).await;
    shows(page, "is wrong").await;
    // The name is there already, and a screen reader reads the problem with the field.
    has_focus(page, "#password").await;
    let described = "return document.getElementById(document.activeElement.getAttribute('aria-describedby')).innerText";
    let problem = page.execute(described, Vec::new()).await.unwrap();
    assert_eq!(problem, "The user name or the password is wrong.");
    type_text(page, "correct horse").await;
    assert_eq!(tab_to(page, "Log in").await, ["Log in"]);
    press(page, Key::Enter).await;

    shows(page, "asks for access to your account").await;
    let way = tab_to(page, "Keep access while you are away").await;
    assert_eq!(way, ["Not you? Log out", "Read your profile", "Change your profile", "Keep access while you are away"]);
    press(page, Key::Space).await;
    // Enter in a checkbox decides nothing.
    press(page, Key::Enter).await;
    assert_eq!(tab_to(page, "Allow").await, ["Deny", "Allow"]);
    press(page, Key::Space).await;
    shows(page, "The client has access").await;
    let text = crate::text(page).await;
    assert!(text.contains("user:read user:write") && !text.contains("offline_access"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keyboard_user_hears_which_field_is_wrong() {
    let Some(chromium) = Chromium::start().await else { return };
    let example = server();
    let page = chromium.open(DESKTOP).await;
    page.goto(&example.url("/applications/new")).await.unwrap();
    crate::log_in(&page, "ada", "correct horse").await;
    shows(&page, "Register an application").await;
    tab_to(&page, "Name").await;
    type_text(&page, "App").await;
    assert_eq!(tab_to(&page, "Redirect URI").await, ["Website (optional)", "Redirect URI"]);
    type_text(&page, "nowhere").await;
    press(&page, Key::Enter).await;
    has_focus(&page, "#redirect_uri[aria-invalid]").await;
    assert!(focused(&page).await.visible);
    let script = "
        const ids = document.activeElement.getAttribute('aria-describedby').split(' ');
        return ids.map(id => document.getElementById(id).innerText)";
    let described = page.execute(script, Vec::new()).await.unwrap();
    assert_eq!(described.as_array().map(Vec::len), Some(2), "the problem and the hint: {described}");
    chromium.close(page).await;
}
