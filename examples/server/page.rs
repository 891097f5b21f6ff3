//! The frame around every page.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use grantor::Refusal;
use grantor::authorize::{ConfirmRedirectPage, ErrorCause, ErrorPage, OutOfBandPage, PageTemplates};
use grantor::client::Logo;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::session::Session;

const STYLE: &str = include_str!("style.css");

/// Renders a page with navigation and, for a user who is logged in, a button to log out.
pub(crate) fn show(session: &Session, status: u16, title: &str, content: &Markup) -> Response {
    let body = html! { (navigation(session)) main.wide { (content) } };
    with_retry_after(grantor::Response::page(status, document(title, &body)).into_response())
}

/// Renders a page that asks one question. It has no navigation.
pub(crate) fn ask(status: u16, title: &str, content: &Markup) -> Response {
    with_retry_after(grantor::Response::page(status, question(title, content)).into_response())
}

/// Renders a page that asks one question, and lets it load the logo of a client.
pub(crate) fn ask_with_logo(title: &str, content: &Markup, logo: Option<&Logo<'_>>) -> Response {
    let page = grantor::Response::page(200, question(title, content));
    logo.into_iter().fold(page, grantor::Response::with_logo).into_response()
}

/// Renders a page that says what went wrong and what to do.
pub(crate) fn error(status: u16, title: &str, hint: &str) -> Response {
    ask(status, title, &html! { h1 { (title) } p { (hint) } p { a href="/" { "Go to the start page" } } })
}

/// Adds `Retry-After` to a response with status 429 or 503, unless it is there.
pub(crate) fn with_retry_after(mut response: Response) -> Response {
    if matches!(response.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("5"));
    }
    response
}

pub(crate) async fn not_found() -> Response {
    error(404, "Page not found", "Check the address, or begin at the start page.")
}

/// Renders what an application may do. A long list is folded.
pub(crate) fn permissions(described: &[&str]) -> Markup {
    let list = html! { ul { @for text in described { li dir="auto" { (text) } } } };
    html! {
        @if described.len() > 8 { details { summary { (described.len()) " permissions" } (list) } } @else { (list) }
    }
}

/// Renders the hidden field that every form carries.
pub(crate) fn csrf_field(session: &Session) -> Markup {
    html! { input type="hidden" name="csrf" value=(session.csrf_token()); }
}

/// Puts a name between characters that isolate its text direction, for texts that can't have a `bdi` element.
pub(crate) fn isolated(name: &str) -> String {
    format!("\u{2068}{name}\u{2069}")
}

/// Renders the problem of a form, below the heading. Fields refer to it with `aria-describedby`.
pub(crate) fn problem(id: &str, text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { p.problem id=(id) role="alert" { (text) } } }
}

fn navigation(session: &Session) -> Markup {
    html! {
        header {
            a.brand href="/" { "grantor" span { " example" } }
            nav {
                a href="/demo" { "Demo" }
                a href="/applications" { "Applications" }
                a href="/connected" { "Connected" }
            }
            div.me {
                @if let Some(user) = session.user() {
                    form method="post" action="/logout" {
                        (csrf_field(session))
                        button.link { "Log out" } " " bdi.who title=(user.as_str()) { (user.as_str()) }
                    }
                } @else { a href="/login" { "Log in" } }
            }
        }
    }
}

fn question(title: &str, content: &Markup) -> String {
    question_in("en", title, content)
}

fn question_in(language: &str, title: &str, content: &Markup) -> String {
    let body = html! { main.narrow { p.brand { "grantor" span { " example" } } div.card { (content) } } };
    document_in(language, title, &body)
}

fn document(title: &str, body: &Markup) -> String {
    document_in("en", title, body)
}

fn document_in(language: &str, title: &str, body: &Markup) -> String {
    let head = html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        title { (title) " \u{b7} grantor example" }
        style { (PreEscaped(STYLE)) }
    };
    html! { (DOCTYPE) html lang=(language) { head { (head) } body { (body) } } }.into_string()
}

/// The texts of an error page in English: title, problem, advice. The description of the library follows the problem.
const fn in_english(cause: ErrorCause) -> [&'static str; 3] {
    match cause {
        ErrorCause::OldPage => {
            ["This page can no longer be used", "Nothing was decided", "Go back to the application and start again."]
        }
        ErrorCause::UsedPage => [
            "You have already answered",
            "Your first answer counts",
            "Go back to the application. If it does not know your answer, start again there.",
        ],
        ErrorCause::User => {
            ["You denied access", "The application has no access to your account", "You can close this page."]
        }
        ErrorCause::Server => [
            "This server has a problem",
            "It can\u{2019}t answer right now",
            "Neither you nor the application made a mistake. Please try again later.",
        ],
        _ => [
            "This request can\u{2019}t be completed",
            "This server can\u{2019}t accept the request of the application that you came from",
            "Go back to the application and try again. If that does not help, contact its developers.",
        ],
    }
}

/// The same texts in German.
const fn in_german(cause: ErrorCause) -> [&'static str; 3] {
    match cause {
        ErrorCause::OldPage => [
            "Diese Seite gilt nicht mehr",
            "Es wurde nichts entschieden",
            "Geh zur\u{fc}ck zur App und fang noch einmal an.",
        ],
        ErrorCause::UsedPage => [
            "Du hast schon geantwortet",
            "Deine erste Antwort gilt",
            "Geh zur\u{fc}ck zur App. Wenn sie deine Antwort nicht kennt, fang dort noch einmal an.",
        ],
        ErrorCause::User => {
            ["Du hast den Zugriff abgelehnt", "Die App bekommt keinen Zugriff", "Du kannst diese Seite schlie\u{df}en."]
        }
        ErrorCause::Server => [
            "Der Server hat ein Problem",
            "Deine Anfrage klappt gerade nicht",
            "Das liegt weder an dir noch an der App. Versuch es sp\u{e4}ter noch einmal.",
        ],
        _ => [
            "Diese Anfrage klappt nicht",
            "Der Server kann die Anfrage der App, aus der du kommst, nicht annehmen",
            "Geh zur\u{fc}ck zur App und versuch es noch einmal. Wenn das nicht hilft, sag ihren Entwicklern Bescheid.",
        ],
    }
}

/// The most common reasons in German. The library describes the others in English, for developers.
const fn reason_in_german(refusal: Option<&Refusal>) -> Option<&'static str> {
    match refusal {
        Some(Refusal::UnregisteredClient) => Some("Die App ist hier nicht angemeldet."),
        Some(Refusal::UnregisteredRedirectUri) => Some("Die R\u{fc}ckadresse der App ist hier nicht eingetragen."),
        Some(Refusal::ExpiredFormToken) => Some("Die Seite war zu lange offen."),
        _ => None,
    }
}

/// Whether the description of the library adds something to the texts of the page.
const fn has_reason(cause: ErrorCause) -> bool {
    !matches!(cause, ErrorCause::User | ErrorCause::UsedPage)
}

/// Renders a link that begins the request again, if its form can no longer be used.
fn asked_again(page: &ErrorPage<'_>, label: &str) -> Markup {
    html! { @if let Some(target) = page.return_target { p { a.button href=(target) { (label) } } } }
}

/// The pages that the library shows, in the look of this server.
#[derive(Debug)]
pub(crate) struct OwnPages;

impl PageTemplates for OwnPages {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        if page.languages.choose(&["en", "de"]) == Some("de") {
            let [title, problem, advice] = in_german(page.cause);
            let content = html! {
                h1 { (title) }
                p { (problem) "." @if let Some(reason) = reason_in_german(page.error.refusal()) { " " (reason) } }
                @if let Some(value) = page.presented { p { "In der Anfrage steht: " code { (value) } } }
                p { (advice) }
                (asked_again(page, "Noch einmal fragen"))
                p.soft { code { (page.code) } }
            };
            return question_in("de", title, &content);
        }
        let [title, problem, advice] = in_english(page.cause);
        let content = html! {
            h1 { (title) }
            p { (problem) @if has_reason(page.cause) { ": " (page.description) } "." }
            @if let Some(value) = page.presented { p { "The request says: " code { (value) } } }
            p { (advice) }
            (asked_again(page, "Ask me again"))
            p.soft { code { (page.code) } }
        };
        question(title, &content)
    }

    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        let content = html! {
            h1 { "Copy this code" }
            p { "Paste it into the application. It works once, and only for a short time." }
            p { code.copy #code { (page.code) } }
            p.caution { "Don\u{2019}t share this code: anyone who has it gets access to your account." }
        };
        question("Copy this code", &content)
    }

    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        let content = html! {
            h1 { "Leave this site?" }
            p { "An application sent you here with a request that can\u{2019}t be completed: " (page.description) "." }
            p {
                "It wants to send you to " strong { bdi { (page.host) } } ". "
                "If you don\u{2019}t know that address, close this page."
            }
            p { a.button href=(page.location) rel="noreferrer" { "Continue to " bdi { (page.host) } } }
        };
        question("Leave this site?", &content)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The colours of one theme, by name.
    fn colours(theme: &str) -> BTreeMap<&str, &str> {
        let names = theme.split("--").skip(1).filter_map(|text| text.split_once(':'));
        names.map(|(name, rest)| (name, rest.split([';', '}', '\n']).next().unwrap_or_default())).collect()
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(colour: &str) -> f64 {
        let digits: Vec<u32> = colour.chars().filter_map(|c| c.to_digit(16)).collect();
        let channels: Vec<u32> = match digits.len() {
            3 => digits.iter().map(|digit| digit * 17).collect(),
            6 => digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect(),
            _ => panic!("{colour} is no colour"),
        };
        let linear = channels.iter().map(|channel| {
            let share = f64::from(*channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        });
        linear.zip([0.2126, 0.7152, 0.0722]).map(|(share, weight)| share * weight).sum()
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        (one / other).max(other / one)
    }

    // The browser tests check the contrast of texts. The border of a field needs 3:1 (WCAG 2.2, 1.4.11), which they do
    // not check.
    #[test]
    fn colours_have_the_contrast_that_readers_need() {
        let (light, dark) = STYLE.split_once("prefers-color-scheme:dark").unwrap();
        let light = colours(light);
        let mut in_the_dark = light.clone();
        in_the_dark.extend(colours(dark.split_once("*{").unwrap().0));
        assert!((contrast("#000", "#fff") - 21.0).abs() < 1e-9);
        assert_ne!(light["page"], in_the_dark["page"]);
        for theme in [&light, &in_the_dark] {
            for (least, colour, behind) in [
                (3.0, "field", &["page", "card"][..]),
                (4.5, "ink", &["page", "card", "code"]),
                (4.5, "soft", &["page", "card"]),
                (4.5, "accent", &["page", "card"]),
                (4.5, "bad", &["page", "card"]),
                (4.5, "accent-ink", &["accent"]),
                (4.5, "warn-ink", &["warn"]),
            ] {
                for behind in behind {
                    let found = contrast(theme[colour], theme[*behind]);
                    assert!(found >= least, "{colour} on {behind}: {found:.2} and not {least}");
                }
            }
        }
        let fields = STYLE.split("input:not([type=checkbox]),textarea{").nth(1).unwrap().split('}').next().unwrap();
        assert!(fields.contains("border:1px solid var(--field)"), "{fields}");
    }
}
