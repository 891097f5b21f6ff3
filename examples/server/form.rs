//! Submitted forms.

use axum::RequestExt;
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
        let Form(form) = Form::<WithToken<T>>::from_request(request, app).await.map_err(|rejection| {
            let hint = "This address takes the forms of this server only.";
            page::error(rejection.status().as_u16(), "That was not a form", hint)
        })?;
        if session.is_csrf_token(&form.csrf) {
            return Ok(Self { session, fields: form.fields });
        }
        let hint = "It belongs to an earlier session, or your browser refuses cookies. Go back and reload the page.";
        Err(page::error(403, "This form is no longer good", hint))
    }
}
