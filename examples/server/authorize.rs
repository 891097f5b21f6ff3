//! The authorization endpoint and the consent page.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use grantor::authorize::LoginReason;
use grantor::axum::run_to_completion;
use grantor::client::RegisteredBy;
use grantor::{Approval, Client, Consent, DescribedScope, Interaction, PendingAuthorization, SelectAccount, Subject};
use maud::{Markup, html};
use time::Duration;
use url::Url;

use crate::app::App;
use crate::attempts::Changer;
use crate::form::Received;
use crate::session::Session;
use crate::{login, page};

/// `GET` and `POST /authorize`
///
/// The server may have to fetch the keys of a client. `run_to_completion` finishes the fetch even if the browser
/// disconnects. Otherwise each such request would cause another fetch.
pub(crate) async fn authorize(State(app): State<App>, Received { session, request }: Received) -> Response {
    let (oauth, login) = (app.oauth.clone(), session.login().cloned());
    let next = async move {
        let next = oauth.interaction(&request, login.as_ref()).await;
        (request, next)
    };
    let (request, next) = run_to_completion(next).await;
    match next {
        // The client prefers a stronger login (`acr_values`). This server has only passwords, so the request continues.
        Interaction::Login(login) if login.reason() == LoginReason::StepUp => {
            Redirect::to(&login.return_target()).into_response()
        }
        Interaction::Login(login) => {
            let present = session.user().map(Subject::as_str);
            let username = login.request().login_hint().or(present).unwrap_or_default();
            login::form(&session, 200, &login.return_target(), username, None)
        }
        Interaction::SelectAccount(accounts) => accounts_page(&session, &accounts),
        Interaction::Consent(consent) => consent_page(&session, &consent, request.query().ends_with(NONE)),
        Interaction::Proceed(proceed) if !app.attempts.begin_change(Changer::Decider(&proceed.user().subject)) => {
            too_fast()
        }
        Interaction::Proceed(proceed) => session.approve(&app, proceed.approve()).await,
        Interaction::Respond(response) => response.into_response(),
    }
}

/// `POST /consent`
///
/// The form token binds the form to this session and to everything that the page showed, so the form needs no CSRF
/// token. `run_to_completion` carries the decision out even if the browser disconnects.
pub(crate) async fn decide(State(app): State<App>, Received { session, request }: Received) -> Response {
    // A visitor has an empty secret, which the library rejects. Its error page has a link back to the request.
    match (app.oauth.resume_form(&request, session.secret()).await, session.login()) {
        // The form can be submitted again later.
        (Ok(_), Some(user)) if !app.attempts.begin_change(Changer::Decider(&user.subject)) => too_fast(),
        (Ok((consent, form)), Some(user)) if form.approved => {
            let approval = Approval::by(user).scope(form.scope);
            session.approve(&app, consent.approve(approval)).await
        }
        (Ok((consent, _)), _) => run_to_completion(consent.deny()).await.into_response(),
        (Err(error), _) => error.into_response(),
    }
}

fn too_fast() -> Response {
    let hint = "You allowed or denied many applications in a short time. Wait a moment, then reload this page.";
    page::error(429, "Too many decisions", hint)
}

/// Lets the user continue, or log in as another user.
fn accounts_page(session: &Session, accounts: &SelectAccount) -> Response {
    let here = accounts.return_target();
    let client = accounts.request().client();
    let content = html! {
        h1 { "Choose an account" }
        p.soft { strong { bdi { (name_of(client)) } } " asks which account you want to use." }
        p { a.button href=(here) { "Continue as " @if let Some(user) = session.user() { bdi { (user.as_str()) } } } }
        form method="post" action="/logout" {
            (page::csrf_field(session))
            input type="hidden" name="next" value=(here);
            button.button.quiet { "Use another account" }
        }
    };
    page::ask(200, "Choose an account", &content)
}

/// The end of a link to a consent page on which no permission is selected.
const NONE: &str = "&select=none";

fn consent_page(session: &Session, asked: &Consent, selects_none: bool) -> Response {
    let request = asked.request();
    let client = request.client();
    let name = name_of(client);
    let registered_by = match client.registered_by() {
        RegisteredBy::Administrator => "The administrator of this server",
        _ => "A user of this server",
    };
    let logo = client.logo();
    let is_long = request.scopes().count() > FEW;
    let facts = html! {
        dl {
            dt { "Registered by" } dd { (registered_by) }
            @if let Some(link) = client.client_uri().and_then(website_link) {
                dt { "Website" } dd { (link) " (not verified)" }
            }
            @if let Some(link) = client.policy_uri().and_then(website_link) { dt { "Privacy policy" } dd { (link) } }
            @if let Some(link) = client.tos_uri().and_then(website_link) { dt { "Terms" } dd { (link) } }
            dt { "Access lasts" }
            dd { "Up to " (in_words(request.lifetime())) ", or until you end it under " em { "Connected" } }
        }
    };
    let content = html! {
        @match &logo {
            Some(logo) => { img.logo src=(logo.uri()) alt="" referrerpolicy="no-referrer"; }
            None => div.avatar aria-hidden="true" { (name.trim().chars().take(1).collect::<String>()) }
        }
        h1 { strong { bdi { (name) } } " asks for access to your account" }
        // Without `resource`, access is to the API of this server.
        @if request.parameter("resource").is_some() {
            p { "for " @for (at, api) in request.resources().enumerate() {
                @if at > 0 { ", " }
                strong { bdi { (api) } }
            } }
        }
        form.account method="post" action="/logout" {
            (page::csrf_field(session))
            input type="hidden" name="next" value=(request.return_target());
            "Logged in as " @if let Some(user) = session.user() { strong { bdi { (user.as_str()) } } } " "
            button.link { "Not you? Log out" }
        }
        (caution(client))
        form method="post" action="/consent" {
            input type="hidden" name="form_token" value=(asked.form_token(session.secret()));
            // Enter in a checkbox presses the first button of a form. This one does nothing, because it is outside of a
            // dialog.
            button.unseen formmethod="dialog" tabindex="-1" aria-hidden="true" {}
            // A long list of permissions would push the facts about the client out of sight.
            @if is_long { (facts) }
            (permissions(request, selects_none))
            @if !is_long { (facts) }
            // This part stays at the bottom of the window.
            div.choice {
                p {
                    @if is_long { strong.name { bdi { (name) } } }
                    (destination(request))
                }
                button.button.quiet name="decision" value="deny" { "Deny" }
                button.button name="decision" value="approve" { "Allow" }
            }
        }
    };
    page::ask_with_logo(&format!("Allow {}?", page::isolated(name)), &content, logo.as_ref())
}

fn name_of(client: &Client) -> &str {
    client.name().unwrap_or(client.id().as_str())
}

/// More permissions than this are shown in groups, with links that select all or none of them.
const FEW: usize = 8;

/// Renders a checkbox for each scope. The page runs no script, so `all` and `none` are links that load it again.
fn permissions(request: &PendingAuthorization, selects_none: bool) -> Markup {
    let scopes: Vec<_> = request.scopes().collect();
    let checkbox = |scope: &DescribedScope<'_>| {
        html! {
            label.permission {
                input type="checkbox" name="scope" value=(scope.token) checked[!selects_none];
                span { span dir="auto" { (scope.description) } small { (scope.token) } }
            }
        }
    };
    let here = request.return_target();
    html! {
        fieldset {
            @if scopes.len() <= FEW {
                legend { "It wants to" }
                @for scope in &scopes { (checkbox(scope)) }
            } @else {
                legend { "It asks for " (scopes.len()) " permissions" }
                p.select { "Select " a href=(here) { "all" } " or " a href={ (here) (NONE) } { "none" } }
                @for (name, scopes) in &groups(&scopes) {
                    details open {
                        summary { strong { bdi { (name) } } " " small { (scopes.len()) } }
                        @for scope in scopes { (checkbox(scope)) }
                    }
                }
            }
        }
    }
}

/// Groups scopes by the part of their names before the first colon or dot. The last group has the scopes that share
/// theirs with no other.
fn groups<'a>(scopes: &[DescribedScope<'a>]) -> Vec<(&'a str, Vec<DescribedScope<'a>>)> {
    let mut groups: Vec<(&str, Vec<DescribedScope<'_>>)> = Vec::new();
    for scope in scopes {
        let name = scope.token.split([':', '.']).next().unwrap_or_default();
        match groups.iter_mut().find(|(own, _)| *own == name) {
            Some((_, members)) => members.push(*scope),
            None => groups.push((name, vec![*scope])),
        }
    }
    let (mut groups, alone): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(_, members)| members.len() > 1);
    if !alone.is_empty() {
        groups.push(("other", alone.into_iter().flat_map(|(_, members)| members).collect()));
    }
    groups
}

/// Warns of applications that users registered: their names prove nothing.
fn caution(client: &Client) -> Markup {
    html! {
        @if client.registered_by() != RegisteredBy::Administrator {
            p.caution {
                strong { "This application was not checked." } " A user of this server registered it and chose its "
                "name. Allow it only if you know who made it."
            }
        }
    }
}

/// Says where the browser goes afterwards. An application can't fake this, as it can its name.
fn destination(request: &PendingAuthorization) -> Markup {
    html! {
        @match request.redirect_host() {
            None => "You then get a code to copy into the application",
            Some(host) => {
                "You then go to " strong { bdi { (host) } } @if is_this_device(host) { ", a program on this device" }
            }
        }
    }
}

/// Whether a host, with or without a port, is a loopback address.
fn is_this_device(host: &str) -> bool {
    let is_or_has_port = |rest: &str| rest.is_empty() || rest.starts_with(':');
    ["127.0.0.1", "[::1]", "localhost"].iter().any(|name| host.strip_prefix(name).is_some_and(is_or_has_port))
}

/// Renders a link to a website of a client. It shows the host.
pub(crate) fn website_link(website: &str) -> Option<Markup> {
    let url = Url::parse(website).ok()?;
    let host = url.host_str()?;
    Some(html! { a href=(url) rel="noreferrer" target="_blank" { (host) } })
}

/// Returns a duration in the largest unit of which it has at least two, rounded down.
fn in_words(duration: Duration) -> String {
    let units = [
        (duration.whole_days(), "days"),
        (duration.whole_hours(), "hours"),
        (duration.whole_minutes(), "minutes"),
        (duration.whole_seconds(), "seconds"),
    ];
    let (count, unit) = units.into_iter().find(|(count, _)| *count >= 2).unwrap_or((1, "second"));
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_loopback_address_is_this_device() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "localhost", "localhost:80"] {
            assert!(is_this_device(host), "{host}");
        }
        for host in ["127.0.0.1.evil.example", "localhost.evil.example:80", "com.example.app", ""] {
            assert!(!is_this_device(host), "{host}");
        }
    }

    // Regression: letters of other alphabets can look like those of a known name.
    #[test]
    fn link_to_a_website_shows_punycode() {
        for (website, host) in [
            ("https://p\u{430}y.example/about", "xn--py-7kc.example"),
            ("https://B\u{dc}cher.example", "xn--bcher-kva.example"),
            ("https://app.example:8443/\u{430}", "app.example"),
        ] {
            let link = website_link(website).unwrap().into_string();
            assert!(link.contains(&format!(">{host}</a>")) && link.is_ascii(), "{link}");
        }
        assert!(website_link("about:blank").is_none());
    }

    #[test]
    fn lifetime_is_shown_in_words() {
        let cases = [
            (86_400 * 90, "90 days"),
            (86_400, "24 hours"),
            (3_600, "60 minutes"),
            (90, "90 seconds"),
            (1, "1 second"),
        ];
        for (seconds, words) in cases {
            assert_eq!(in_words(Duration::seconds(seconds)), words);
        }
    }
}
