//! The page that lists the applications with access to the account of a user, and ends their access.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use grantor::axum::run_to_completion;
use grantor::policy::RefreshTokens;
use grantor::storage::GrantSelector;
use grantor::{Client, ClientId, Connection, Connections, Grant, GrantType, Policy};
use maud::{Markup, html};
use serde::Deserialize;
use time::{OffsetDateTime, UtcOffset};
use url::Url;

use crate::app::App;
use crate::applications::TRY_AGAIN;
use crate::form::OwnForm;
use crate::session::Session;
use crate::{authorize, page};

/// `GET /connected`
pub(crate) async fn list(State(app): State<App>, session: Session) -> Result<Response, Redirect> {
    let user = session.require_user("/connected")?;
    let Ok(Connections { applications, has_more, .. }) = app.oauth.connections(user).await else {
        return Ok(page::error(503, "The connected applications can\u{2019}t be shown", TRY_AGAIN));
    };
    let content = html! {
        h1 { "Connected applications" }
        @if applications.is_empty() {
            p.soft.empty { "No application has access to your account." }
        } @else {
            p.soft { "These applications have access to your account." }
        }
        @for connection in &applications { (application(&app, &session, connection)) }
        @if has_more {
            p.soft { "There are older sessions. End some of these to see them, or end all access below." }
        }
        h2 { "Is somebody else using your account?" }
        form.card method="post" action="/connected/revoke-all" {
            (page::csrf_field(&session))
            p { "You will be logged out in every browser, including this one, and all applications lose their access." }
            button.button.quiet { "Log out everywhere and end all access" }
        }
    };
    Ok(page::show(&session, 200, "Connected applications", &content))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Application {
    client: String,
}

/// `POST /connected/end` ends all sessions of one application.
pub(crate) async fn end(
    State(app): State<App>,
    OwnForm { session, fields }: OwnForm<Application>,
) -> Result<Response, Redirect> {
    let user = session.require_user("/connected")?;
    let client = ClientId::new(&fields.client).ok();
    let which = client.map(|client| GrantSelector::SubjectAndClient(user.clone(), client));
    Ok(revoke_selected(&app, which).await)
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ended {
    grant: String,
}

/// `POST /connected/revoke` ends one session of an application.
pub(crate) async fn revoke(
    State(app): State<App>,
    OwnForm { session, fields }: OwnForm<Ended>,
) -> Result<Response, Redirect> {
    let user = session.require_user("/connected")?;
    let id = fields.grant.parse().ok();
    Ok(revoke_selected(&app, id.map(|id| GrantSelector::SubjectAndId(user.clone(), id))).await)
}

/// Revokes the selected grants, even if the browser disconnects. Every selector names the user, so that no user can end
/// the grants of another.
async fn revoke_selected(app: &App, which: Option<GrantSelector>) -> Response {
    let Some(which) = which else {
        return page::error(
            400,
            "This access can\u{2019}t be ended",
            "It may have ended already. Go back and reload the page.",
        );
    };
    let oauth = app.oauth.clone();
    match run_to_completion(async move { oauth.revoke_grants(&which).await }).await {
        Ok(_) => Redirect::to("/connected").into_response(),
        Err(_) => {
            page::error(503, "The access has not ended", "The server has a problem. Please try again in a moment.")
        }
    }
}

/// `POST /connected/revoke-all`
///
/// The sessions end first, so that an intruder can't allow an application again.
pub(crate) async fn revoke_all(
    State(app): State<App>,
    OwnForm { session, .. }: OwnForm<()>,
) -> Result<Response, Redirect> {
    let user = session.require_user("/connected")?;
    let (oauth, everything) = (app.oauth.clone(), GrantSelector::Subject(user.clone()));
    let revocation = async move { oauth.revoke_grants(&everything).await };
    if app.sessions.log_out_everywhere(user, revocation).await.is_err() {
        let hint = "You are logged out, but applications may still have access. Log in and try again.";
        return Ok(page::error(503, "The access has not ended", hint));
    }
    let content = html! {
        h1 { "All access has ended" }
        p { "You are logged out in every browser, and no application has access to your account." }
        p { a href="/login" { "Log in again" } }
    };
    Ok(page::ask(200, "All access has ended", &content))
}

fn application(app: &App, session: &Session, connection: &Connection) -> Markup {
    let Connection { client_id: id, client, grants, .. } = connection;
    let client = client.as_deref();
    let name = client.and_then(Client::name).unwrap_or(id.as_str());
    html! {
        section.card {
            h2 { bdi { (name) } }
            p.soft { (origin(id, client)) }
            div.grant {
                div {
                    (page::permissions(&app.describe(&connection.scope)))
                    small { "Since " (moment(connection.since)) ". Last used " (moment(connection.last_used_at)) "." }
                }
                form method="post" action="/connected/end" {
                    (page::csrf_field(session))
                    input type="hidden" name="client" value=(id);
                    button.button.quiet { "End access" span.unseen { " of " bdi { (name) } } }
                }
            }
            details {
                summary { @if let [_] = &grants[..] { "One session" } @else { (grants.len()) " sessions" } }
                @for grant in grants { (one_session(app, session, name, client, grant)) }
            }
        }
    }
}

fn one_session(app: &App, session: &Session, name: &str, client: Option<&Client>, grant: &Grant) -> Markup {
    html! {
        div.grant {
            div {
                (page::permissions(&app.describe(&grant.scope)))
                small { "Since " (moment(grant.opened_at)) ". " (ending(app.oauth.policy(), client, grant)) }
            }
            form method="post" action="/connected/revoke" {
                (page::csrf_field(session))
                input type="hidden" name="grant" value=(grant.id);
                button.button.quiet { "End this session" span.unseen { " of " bdi { (name) } } }
            }
        }
    }
}

/// Tells applications with the same name apart: by redirect hosts, website and client identifier.
fn origin(id: &ClientId, client: Option<&Client>) -> Markup {
    let uris = client.map_or(&[][..], Client::redirect_uris);
    let mut hosts: Vec<String> = uris.iter().filter_map(|uri| host_of(uri.as_str())).collect();
    hosts.sort();
    hosts.dedup();
    html! {
        @if !hosts.is_empty() { "At " strong { bdi { (hosts.join(", ")) } } ". " }
        @if let Some(link) = client.and_then(Client::client_uri).and_then(authorize::website_link) {
            "Website: " (link) " (not verified). "
        }
        "Client ID: " code { (id.as_str()) }
    }
}

/// Returns the host of a redirect URI, or the scheme of a native app. `None` if users copy a code instead.
fn host_of(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    match (url.host_str(), url.port(), url.scheme()) {
        (Some(host), Some(port), _) => Some(format!("{host}:{port}")),
        (Some(host), None, _) => Some(host.to_owned()),
        (None, _, "urn") => None,
        (None, _, scheme) => Some(scheme.to_owned()),
    }
}

/// Says when a grant expires. A grant with refresh tokens can be renewed up to its absolute lifetime.
fn ending(policy: &Policy, client: Option<&Client>, grant: &Grant) -> String {
    let ends = format!("Ends {}", moment(grant.expires_at));
    let Some(client) = client.filter(|client| has_refresh_tokens(policy, client, grant)) else {
        return format!("{ends}.");
    };
    let lifetime = client.lifetimes().refresh_token_absolute;
    let lifetime = lifetime.unwrap_or(policy.refresh_token_absolute_lifetime);
    let can_be_later = grant.expires_at < grant.opened_at.saturating_add(lifetime);
    let unless = if can_be_later { " unless it is renewed before" } else { "" };
    format!("Last renewed {}. {ends}{unless}.", moment(grant.last_used_at))
}

/// Formats a date with the time of day, because an application often has several sessions of one day.
fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

fn has_refresh_tokens(policy: &Policy, client: &Client, grant: &Grant) -> bool {
    let by_user = [GrantType::AUTHORIZATION_CODE, GrantType::PASSWORD].contains(&grant.grant_type.as_str());
    let wanted = match policy.refresh_tokens {
        RefreshTokens::Always => true,
        RefreshTokens::OfflineAccess => grant.scope.contains("offline_access"),
        _ => false,
    };
    by_user && wanted && client.allows_grant_type(GrantType::REFRESH_TOKEN)
}

#[cfg(test)]
mod tests {
    use grantor::record::GrantDetails;
    use grantor::{GrantId, Scope};
    use time::{Duration, Time};

    use super::*;

    fn grant(grant_type: &str, scope: &str, ends_after_days: i64) -> Grant {
        let opened_at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        Grant {
            id: GrantId::from_bytes([1; 16]),
            client_id: ClientId::new("app").unwrap(),
            subject: None,
            grant_type: GrantType::new(grant_type).unwrap(),
            scope: Scope::parse(scope).unwrap(),
            opened_at,
            last_used_at: opened_at + Duration::days(2),
            expires_at: opened_at + Duration::days(ends_after_days),
            revoked_at: None,
            parent_grant: None,
            session: None,
            host_data: None,
            details: GrantDetails::default(),
        }
    }

    #[test]
    fn only_a_renewable_grant_says_unless_renewed() {
        let web = || Client::public("app").authorization_code(["https://app.example/"]);
        let (once, kept) = (web().build().unwrap(), web().refresh_token().build().unwrap());
        let short = web().refresh_token().lifetimes(|own| own.refresh_token_absolute = Some(Duration::days(5)));
        let short = short.build().unwrap();
        let (mut always, mut offline, mut never) = (Policy::default(), Policy::default(), Policy::default());
        always.refresh_token_absolute_lifetime = Duration::days(9);
        offline.refresh_token_absolute_lifetime = Duration::days(9);
        offline.refresh_tokens = RefreshTokens::OfflineAccess;
        never.refresh_tokens = RefreshTokens::Never;
        let (open, plain) = (Some("unless it is renewed before"), Some(""));
        for (policy, client, grant_type, scope, days, renewals) in [
            (&always, Some(&kept), "authorization_code", "a", 5, open),
            (&always, Some(&kept), "password", "a", 5, open),
            (&always, Some(&kept), "authorization_code", "a", 9, plain),
            (&always, Some(&short), "authorization_code", "a", 5, plain),
            (&always, Some(&short), "authorization_code", "a", 4, open),
            (&always, Some(&kept), "implicit", "a", 5, None),
            (&always, Some(&once), "authorization_code", "a", 5, None),
            (&always, None, "authorization_code", "a", 5, None),
            (&offline, Some(&kept), "authorization_code", "a", 5, None),
            (&offline, Some(&kept), "authorization_code", "a offline_access", 5, open),
            (&never, Some(&kept), "authorization_code", "a offline_access", 5, None),
        ] {
            let grant = grant(grant_type, scope, days);
            let ends = format!("Ends {} 22:13 UTC", grant.expires_at.date());
            let expected = match renewals {
                None => format!("{ends}."),
                Some("") => format!("Last renewed 2023-11-16 22:13 UTC. {ends}."),
                Some(hint) => format!("Last renewed 2023-11-16 22:13 UTC. {ends} {hint}."),
            };
            assert_eq!(ending(policy, client, &grant), expected, "{grant_type} {scope} {days}");
        }
    }

    #[test]
    fn moment_has_the_time_of_day_in_utc() {
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        assert_eq!(moment(at), "2023-11-14 22:13 UTC");
        assert_eq!(moment(at.to_offset(UtcOffset::from_hms(5, 30, 0).unwrap())), "2023-11-14 22:13 UTC");
        assert_eq!(moment(at.replace_time(Time::MIDNIGHT)), "2023-11-14 00:00 UTC");
    }

    #[test]
    fn redirect_uri_leads_to_a_host_or_a_local_app() {
        for (uri, host) in [
            ("https://mail.example/cb", Some("mail.example")),
            ("https://mail.example:8443/cb", Some("mail.example:8443")),
            ("http://[::1]:80/", Some("[::1]")),
            ("com.example.mail:/cb", Some("com.example.mail")),
            ("urn:ietf:wg:oauth:2.0:oob", None),
        ] {
            assert_eq!(host_of(uri).as_deref(), host, "{uri}");
        }
    }
}
