//! A protected API for the profiles of users.

use axum::Json;
use axum::extract::{FromRequest, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use grantor::{Access, BearerError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::App;
use crate::attempts::Changer;
use crate::page;

/// The response of `GET /api/me`.
#[derive(Serialize)]
struct Profile<'a> {
    sub: &'a str,
    client_id: &'a str,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
}

/// The request of `PUT /api/me`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    display_name: String,
}

/// A body that was read by the library's extractor, which has a size limit and a deadline.
pub(crate) struct Body(grantor::Request);

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.body()
    }
}

impl FromRequest<App> for Body {
    type Rejection = Response;

    async fn from_request(request: axum::extract::Request, app: &App) -> Result<Self, Response> {
        let request = grantor::Request::from_request(request, app).await.map_err(IntoResponse::into_response)?;
        match request.body_refusal() {
            None => Ok(Self(request)),
            Some(refused) => {
                let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
                Err(refusal(status, refused.code().as_str(), &refused.description()))
            }
        }
    }
}

/// `GET /api/me`, behind `require`
pub(crate) async fn read(State(app): State<App>, access: Access) -> Result<Response, BearerError> {
    match app.accounts.display_name(access.user()?).await {
        Ok(display_name) => profile(&access, display_name),
        Err(_) => Ok(unavailable()),
    }
}

/// `PUT /api/me`, behind `require`
pub(crate) async fn change(State(app): State<App>, access: Access, body: Body) -> Result<Response, BearerError> {
    let user = access.user()?;
    if !app.attempts.begin_change(Changer::ApplicationOf(user)) {
        return Ok(too_fast());
    }
    let is_name = |name: &str| (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    match read_object(body.bytes()) {
        Ok(Change { display_name }) if is_name(&display_name) => {
            match app.accounts.set_display_name(user, &display_name).await {
                Ok(()) => profile(&access, Some(display_name)),
                Err(_) => Ok(unavailable()),
            }
        }
        _ => Ok(bad_request("the body must be a JSON object with a display_name of 1 to 100 characters")),
    }
}

/// Returns the profile of the user. A token that acts for no user is rejected.
fn profile(access: &Access, display_name: Option<String>) -> Result<Response, BearerError> {
    let user = access.user()?;
    let profile = Profile {
        sub: user.as_str(),
        client_id: access.client_id().as_str(),
        scope: access.scope().as_str(),
        display_name,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(profile)).into_response())
}

/// Reads a JSON object. Rejects an array, which serde would read as the values of the members.
pub(crate) fn read_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Map<String, Value>>(body)?;
    serde_json::from_slice(body)
}

pub(crate) fn bad_request(description: &str) -> Response {
    refusal(StatusCode::BAD_REQUEST, "invalid_request", description)
}

pub(crate) fn too_fast() -> Response {
    let description = "too many changes in a short time: try again later";
    refusal(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", description)
}

fn unavailable() -> Response {
    let description = "the profile is unavailable: try again later";
    refusal(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description)
}

pub(crate) fn refusal(status: StatusCode, error: &str, description: &str) -> Response {
    let problem = serde_json::json!({ "error": error, "error_description": description });
    page::with_retry_after((status, [(header::CACHE_CONTROL, "no-store")], Json(problem)).into_response())
}
