//! Changes of a registration: name, website and redirect URIs. The owner changes them on a page (`manage.rs`). The
//! application itself uses the API here, with a token from the client credentials grant (RFC 6749 §4.4).

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use grantor::client::{ClientError, ClientVersion, MemberError, RedirectUri, SetBy};
use grantor::lint::ClientLint;
use grantor::storage::RegistryError;
use grantor::{Access, AuthorizationServer, Client};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::{self, Body};
use crate::app::App;
use crate::attempts::Changer;

/// The scope that the API here requires. The server always declares it, and no client can ask a user for it.
pub(crate) const SCOPE: &str = "application";

/// The description of the scope.
pub(crate) const DESCRIPTION: &str = "Change the registration of the application itself";

/// The members that can be changed, with their names in RFC 7591 §2. A missing member is removed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Changeable {
    pub(crate) client_name: Option<String>,
    pub(crate) client_uri: Option<String>,
    pub(crate) redirect_uris: Vec<String>,
}

impl Changeable {
    pub(crate) fn of(client: &Client) -> Self {
        Self {
            client_name: client.name().map(str::to_owned),
            client_uri: client.client_uri().map(str::to_owned),
            redirect_uris: client.redirect_uris().iter().map(|uri| uri.as_str().to_owned()).collect(),
        }
    }
}

/// Why a registration can't be changed in this way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("redirects to {0} are not offered by this server")]
    NotOffered(RedirectUri),
    #[error("the registration can't be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// Returns the client with these members. The client then counts as self-registered, because no administrator checked
/// the change. Fails if the client has rights that only an administrator can give.
pub(crate) fn changed(client: &Client, new: &Changeable) -> Result<Client, ChangeError> {
    // `set_members` also resets members that are missing, so the others are passed on unchanged.
    let mut members = members_of(client.parts())?;
    members.extend(members_of(new)?);
    let mut parts = client.parts().clone();
    parts.set_members(&mut members, SetBy::Anyone)?;
    Ok(Client::from_parts(parts)?)
}

/// Returns the client if the server redirects to all its URIs.
pub(crate) fn with_allowed_redirects(oauth: &AuthorizationServer, client: Client) -> Result<Client, ChangeError> {
    for finding in oauth.lint_client(&client) {
        if let ClientLint::RedirectUriNotAllowed(uri) = finding {
            return Err(ChangeError::NotOffered(uri));
        }
    }
    Ok(client)
}

fn members_of(value: impl Serialize) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::to_value(value).and_then(serde_json::from_value)
}

/// `GET /api/application`, behind `require`
pub(crate) async fn read(State(app): State<App>, access: Access) -> Response {
    if access.subject().is_some() {
        return users_token();
    }
    match app.clients.find_client(access.client_id().as_str()).await {
        Ok(Some(client)) => shown(&client),
        Ok(None) => unknown(),
        Err(_) => unavailable(),
    }
}

/// `PUT /api/application`, behind `require`. Takes the response of `GET` with changes. With `If-Match`, it fails if the
/// registration has changed in the meantime.
pub(crate) async fn change(State(app): State<App>, access: Access, headers: HeaderMap, body: Body) -> Response {
    if access.subject().is_some() {
        return users_token();
    }
    let id = access.client_id();
    if !app.attempts.begin_change(Changer::Application(id)) {
        return api::too_fast();
    }
    let new = match changes(body.bytes(), id.as_str()) {
        Ok(new) => new,
        Err(problem) => return api::bad_request(&problem),
    };
    let old = match app.clients.find_client(id.as_str()).await {
        Ok(Some(client)) => client,
        Ok(None) => return unknown(),
        Err(_) => return unavailable(),
    };
    if !matches(&headers, old.version()) {
        return changed_meanwhile();
    }
    let new = match changed(&old, &new).and_then(|new| with_allowed_redirects(&app.oauth, new)) {
        Ok(new) => new,
        Err(problem) => return api::bad_request(&problem.to_string()),
    };
    match app.clients.update(new.clone(), old.version()).await {
        Ok(()) => shown(&new),
        Err(RegistryError::Conflict) => changed_meanwhile(),
        Err(RegistryError::Unknown) => unknown(),
        Err(_) => unavailable(),
    }
}

/// Reads the body. It may contain the identifier of the client, as in RFC 7592 §2.2.
fn changes(body: &[u8], id: &str) -> Result<Changeable, String> {
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sent {
        client_id: Option<String>,
        client_name: Option<String>,
        client_uri: Option<String>,
        redirect_uris: Vec<String>,
    }
    let problem =
        |error| format!("the body must be a JSON object with client_name, client_uri and redirect_uris: {error}");
    let sent: Sent = api::read_object(body).map_err(problem)?;
    if sent.client_id.is_some_and(|sent| sent != id) {
        return Err("client_id can't be changed".to_owned());
    }
    let Sent { client_name, client_uri, redirect_uris, .. } = sent;
    Ok(Changeable { client_name, client_uri, redirect_uris })
}

/// Returns whether the version fulfils `If-Match` (RFC 9110 §13.1.1).
fn matches(headers: &HeaderMap, version: ClientVersion) -> bool {
    let mut wanted = headers.get_all(header::IF_MATCH).iter().peekable();
    let version = etag(version);
    let is_it = |tag: &str| matches!(tag.trim(), tag if tag == "*" || tag == version);
    wanted.peek().is_none() || wanted.any(|tags| tags.to_str().is_ok_and(|tags| tags.split(',').any(is_it)))
}

fn etag(version: ClientVersion) -> String {
    format!("\"{version}\"")
}

fn shown(client: &Client) -> Response {
    #[derive(Serialize)]
    struct Shown<'a> {
        client_id: &'a str,
        #[serde(flatten)]
        members: Changeable,
    }
    let shown = Json(Shown { client_id: client.id().as_str(), members: Changeable::of(client) });
    ([(header::CACHE_CONTROL, "no-store".to_owned()), (header::ETAG, etag(client.version()))], shown).into_response()
}

/// Rejects a token that acts for a user: users decide on access, not on the registration.
fn users_token() -> Response {
    let description = "the access token acts for a user: get one by the client credentials grant";
    let mut response = api::refusal(StatusCode::FORBIDDEN, "insufficient_scope", description);
    let challenge = "Bearer error=\"insufficient_scope\", error_description=\"the access token acts for a user\"";
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(challenge));
    response
}

fn changed_meanwhile() -> Response {
    let description = "the registration was changed in the meantime: read it again";
    api::refusal(StatusCode::PRECONDITION_FAILED, "invalid_request", description)
}

fn unknown() -> Response {
    api::refusal(StatusCode::NOT_FOUND, "invalid_request", "the application is no longer registered")
}

fn unavailable() -> Response {
    let description = "the registration is unavailable: try again later";
    api::refusal(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description)
}

#[cfg(test)]
mod tests {
    use grantor::client::{ClientCredential, RegisteredBy};
    use grantor::{ClientSecret, Scope};
    use time::OffsetDateTime;

    use super::*;

    fn client() -> Client {
        let secret = ClientCredential::secret(&ClientSecret::new("s3cr3t")).expiring(OffsetDateTime::UNIX_EPOCH);
        let client = Client::confidential("app", secret).name("App").client_uri("https://app.example/");
        let client = client.authorization_code(["https://app.example/cb"]).client_credentials().refresh_token();
        client.scope("user:read").own_scope(SCOPE).contacts(["ada@app.example"]).build().unwrap()
    }

    #[test]
    fn change_replaces_three_members_and_keeps_the_others() {
        let old = client();
        let new = changes(br#"{"client_name":"New","redirect_uris":["https://app.example/new"]}"#, "app").unwrap();
        let new = changed(&old, &new).unwrap();
        assert_eq!((new.name(), new.client_uri()), (Some("New"), None));
        let uris: Vec<_> = new.redirect_uris().iter().map(RedirectUri::as_str).collect();
        assert_eq!(uris, ["https://app.example/new"]);
        assert_eq!((new.own_scope().map(Scope::as_str), new.registered_by()), (Some(SCOPE), RegisteredBy::SelfService));
        let others = |client: &Client| {
            let mut members = members_of(client.parts()).unwrap();
            for name in ["client_name", "client_uri", "redirect_uris", "registered_by"] {
                members.remove(name);
            }
            members
        };
        assert_eq!(others(&new), others(&old));
        assert_eq!(others(&new).len(), 8, "{:?}", others(&new));
    }

    #[test]
    fn change_that_is_not_allowed_is_refused() {
        let change = |body: &str| {
            let new = changes(body.as_bytes(), "app")?;
            changed(&client(), &new).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(change(r#"{"client_id":"app","redirect_uris":["https://app.example/cb"]}"#), Ok(()));
        for (body, problem) in [
            ("", "the body must be a JSON object"),
            ("[]", "the body must be a JSON object"),
            (r#"{"redirect_uris":1}"#, "redirect_uris"),
            (r#"{"client_name":"A","client_name":"B"}"#, "duplicate field"),
            (r#"{"scope":"user:read"}"#, "unknown field `scope`"),
            (r#"{"own_scope":"user:read"}"#, "unknown field `own_scope`"),
            (r#"{"client_id":"other"}"#, "client_id can't be changed"),
            (r"{}", "redirect URI"),
            (r#"{"redirect_uris":["javascript:alert(1)"]}"#, "redirect_uris"),
            (r#"{"redirect_uris":["com.example.app:/cb"]}"#, "native apps"),
            (r#"{"client_name":"\u202e","redirect_uris":["https://app.example/cb"]}"#, "client_name"),
        ] {
            let refused = change(body).unwrap_err();
            assert!(refused.contains(problem), "{body}: {refused}");
        }
        // A first-party client must be registered by an administrator.
        let mut own = client().into_parts();
        own.first_party = true;
        own.registered_by = RegisteredBy::Administrator;
        let own = Client::from_parts(own).unwrap();
        assert!(matches!(changed(&own, &Changeable::of(&own)), Err(ChangeError::Client(_))));
    }

    #[test]
    fn change_with_if_match_needs_the_current_version() {
        let version = client().version();
        let with = |tags: &[&str]| {
            let mut headers = HeaderMap::new();
            for tag in tags {
                headers.append(header::IF_MATCH, tag.parse().unwrap());
            }
            matches(&headers, version)
        };
        let tag = etag(version);
        assert!(
            with(&[]) && with(&["*"]) && with(&[&tag]) && with(&[&format!("\"x\", {tag}")]) && with(&["\"x\"", &tag])
        );
        assert!(!with(&["\"x\""]) && !with(&[&format!("W/{tag}")]) && !with(&[""]) && !with(&[&version.to_string()]));
    }
}
