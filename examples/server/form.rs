//! Submitted forms.

use axum::RequestExt;
use axum::body::Body;
use axum::extract::{Form, FromRequest, Request};
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::page;
use crate::session::Session;

/// A form that a page of this server submitted, and its session. A handler that takes this can't forget the check.
#[derive(Debug)]
pub(crate) struct OwnForm<T> {
    pub(crate) session: Session,
    pub(crate) fields: T,
}

#[derive(Deserialize)]
struct WithToken<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    fields: T,
}

impl<T: DeserializeOwned + 'static> FromRequest<App> for OwnForm<T> {
    type Rejection = Response;

    async fn from_request(mut request: Request, app: &App) -> Result<Self, Response> {
        let session: Session = request.extract_parts_with_state(app).await?;
        let no_form =
            |status| page::error(status, "That was not a form", "This address takes the forms of this server only.");
        let request = read(request, app).await.map_err(no_form)?;
        let Form(form) = Form::<WithToken<T>>::from_request(request, app)
            .await
            .map_err(|rejection| no_form(rejection.status().as_u16()))?;
        if session.is_csrf_token(&form.csrf) {
            return Ok(Self { session, fields: form.fields });
        }
        let hint = "It belongs to an earlier session, or your browser refuses cookies. Go back and reload the page.";
        Err(page::error(403, "This form is no longer good", hint))
    }
}

/// Reads the body by the library's extractor, which has a limit and a deadline. The error is the status of the answer.
async fn read(request: Request, app: &App) -> Result<Request, u16> {
    let (parts, body) = request.into_parts();
    let unread = Request::from_parts(parts.clone(), body);
    let whole = grantor::Request::from_request(unread, app).await.map_err(|refused| refused.status())?;
    match whole.body_refusal() {
        Some(refusal) => Err(refusal.status()),
        None => Ok(Request::from_parts(parts, Body::from(whole.body().to_vec()))),
    }
}
