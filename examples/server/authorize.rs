//! The authorization endpoint: what an application asks for, and what the user answers.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use grantor::authorize::PendingAuthorization;
use grantor::axum::run_to_completion;
use grantor::client::Registration;
use grantor::{Approval, Authorize, Client, Subject};
use maud::{Markup, html};
use time::Duration;
use url::{Url, form_urlencoded};

use crate::app::App;
use crate::session::Session;
use crate::{login, page};

/// `GET` and `POST /authorize`
pub(crate) async fn authorize(State(app): State<App>, session: Session, request: grantor::Request) -> Response {
    let pending = match app.oauth.authorize(&request).await {
        Authorize::Respond(response) => return response.into_response(),
        Authorize::Pending(pending) => pending,
    };
    let here = address_of(&request);
    if request.method() == "POST" {
        // The session's cookie does not come with a post from another site. It does with the get that follows.
        return Redirect::to(&here).into_response();
    }
    let Some(user) = session.user() else { return login::form(&session, 200, &here, "", None) };
    match pending.consented(user).await {
        Err(error) => pending.fail(error).into_response(),
        Ok(true) => approve(pending, Approval::by(user.clone())).await,
        Ok(false) => consent_page(&session, user, &pending, &here),
    }
}

/// `POST /consent`. The form token binds the form to this session and to all that was shown, so the form needs no other
/// token, and nothing in it but the user's answer is believed.
pub(crate) async fn decide(State(app): State<App>, session: Session, request: grantor::Request) -> Response {
    let Some(user) = session.user() else {
        let hint = "Nothing was decided. Go back to the application and start again.";
        return page::error(403, "You are not logged in any more", hint);
    };
    match app.oauth.resume_form(&request, session.secret()).await {
        Ok((pending, form)) if form.approved => approve(pending, Approval::by(user.clone()).scope(form.scope)).await,
        Ok((pending, _)) => pending.deny().into_response(),
        Err(response) => response.into_response(),
    }
}

/// A decision that was taken is carried out, even if the browser hangs up meanwhile.
async fn approve(pending: PendingAuthorization, approval: Approval) -> Response {
    run_to_completion(async move { pending.approve(approval).await }).await.into_response()
}

/// The request as a path of this server, in plain ASCII.
fn address_of(request: &grantor::Request) -> String {
    let form = if request.method() == "POST" { request.body() } else { request.query().as_bytes() };
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(form_urlencoded::parse(form)).finish();
    format!("/authorize?{query}")
}

fn consent_page(session: &Session, user: &Subject, pending: &PendingAuthorization, here: &str) -> Response {
    let client = pending.client();
    let name = client.name().unwrap_or(client.id().as_str());
    let registered_by = match client.registration() {
        Registration::Administrator => "the administrator of this server",
        Registration::SelfService => "a user of this server",
    };
    let content = html! {
        div.avatar aria-hidden="true" { (name.trim().chars().take(1).collect::<String>()) }
        h1 { strong { (name) } " asks for access to your account" }
        form.account method="post" action="/logout" {
            (page::csrf_field(session))
            input type="hidden" name="next" value=(here);
            "Logged in as " strong { (user.as_str()) } " " button.link { "Not you? Log out" }
        }
        (caution(client))
        form method="post" action="/consent" {
            input type="hidden" name="form_token" value=(pending.form_token(session.secret()));
            fieldset {
                legend { "It wants to" }
                @for scope in pending.scopes() {
                    label.permission {
                        input type="checkbox" name="scope" value=(scope.token) checked;
                        span { (scope.description) small { (scope.token) } }
                    }
                }
            }
            dl {
                dt { "You go on to" } dd { (destination(pending)) }
                dt { "Registered by" } dd { (registered_by) }
                @if let Some(link) = client.website().and_then(website_link) {
                    dt { "Website" } dd { (link) " (as it says itself)" }
                }
                dt { "How long" }
                dd { "Up to " (in_words(pending.lifetime())) ", or until you end it under " em { "Connected" } }
            }
            div.choice {
                button.button.quiet name="decision" value="deny" { "Deny" }
                button.button name="decision" value="approve" { "Allow" }
            }
        }
    };
    page::ask(200, &format!("Allow {name}?"), &content)
}

/// Users can register applications, so a good name proves nothing.
fn caution(client: &Client) -> Markup {
    html! {
        @if client.registration() == Registration::SelfService {
            p.caution {
                strong { "Nobody has checked this application." } " A user of this server registered it and chose its name. "
                "Allow it only if you know where it comes from."
            }
        }
    }
}

/// Where the browser goes afterwards: the one thing about an application that can't be made up.
fn destination(pending: &PendingAuthorization) -> Markup {
    html! {
        @match pending.redirect_host() {
            None => "Nowhere: you get a code to copy into the application",
            Some(host) => { strong { (host) } @if is_this_device(host) { ", a program on this device" } }
        }
    }
}

/// Whether a host, with or without a port, is a loopback address.
fn is_this_device(host: &str) -> bool {
    let is_or_has_port = |rest: &str| rest.is_empty() || rest.starts_with(':');
    ["127.0.0.1", "[::1]", "localhost"].iter().any(|name| host.strip_prefix(name).is_some_and(is_or_has_port))
}

/// Renders a link to a client's website that shows its host.
pub(crate) fn website_link(website: &str) -> Option<Markup> {
    let url = Url::parse(website).ok()?;
    let host = url.host_str()?;
    Some(html! { a href=(url) rel="noreferrer" target="_blank" { (host) } })
}

/// Roughly how long, in the largest unit of which there are two at least.
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
    fn a_posted_request_becomes_the_same_request_by_get() {
        let posted = grantor::Request::post_form("/authorize", "state=a+b&scope=user%3Aread&x=%C3%A9#");
        assert_eq!(address_of(&posted), "/authorize?state=a+b&scope=user%3Aread&x=%C3%A9%23");
        let got = grantor::Request::get("/authorize?state=//evil.example&scope=a%20b");
        assert_eq!(address_of(&got), "/authorize?state=%2F%2Fevil.example&scope=a+b");
        assert_eq!(login::path_of_ours(&address_of(&got)), address_of(&got));
    }

    #[test]
    fn a_loopback_address_is_this_device_and_a_name_that_begins_like_one_is_not() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "localhost", "localhost:80"] {
            assert!(is_this_device(host), "{host}");
        }
        for host in ["127.0.0.1.evil.example", "localhost.evil.example:80", "com.example.app", ""] {
            assert!(!is_this_device(host), "{host}");
        }
    }

    #[test]
    fn a_lifetime_is_told_in_words() {
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
