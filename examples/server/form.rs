//! Submitted forms.

use axum::extract::{FromRequest, FromRequestParts, RawForm, Request};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use crate::app::App;
use crate::page;
use crate::session::Session;

/// The fields of a form, in order; a name may occur more than once, as checkboxes do.
#[derive(Debug)]
pub(crate) struct Fields(Vec<(String, String)>);

/// A form that came from a page of ours, and the session it came in. A handler that takes this can't forget to check.
#[derive(Debug)]
pub(crate) struct OwnForm {
    pub(crate) session: Session,
    pub(crate) fields: Fields,
}

impl Fields {
    /// Reads a query.
    pub(crate) fn of_query(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first field of this name; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// All fields of this name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl FromRequest<App> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        match RawForm::from_request(request, app).await {
            Ok(RawForm(form)) => Ok(Self(form_urlencoded::parse(&form).into_owned().collect())),
            Err(rejection) => {
                let status = rejection.into_response().status().as_u16();
                Err(page::error(status, "That was not a form", "This address takes the forms of this server only."))
            }
        }
    }
}

impl FromRequest<App> for OwnForm {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Ok(session) = Session::from_request_parts(&mut parts, app).await;
        let fields = Fields::from_request(Request::from_parts(parts, body), app).await?;
        if session.is_csrf_token(fields.get("csrf")) {
            return Ok(Self { session, fields });
        }
        let hint = "It belongs to an earlier session, or your browser refuses cookies. Go back and reload the page.";
        Err(page::error(403, "This form is no longer good", hint))
    }
}
