//! Extractors for submitted forms.

use axum::RequestExt;
use axum::body::Body;
use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::app::App;
use crate::page;
use crate::session::{Origin, Session};

/// A form of the current session. A handler that takes this argument needs no further check.
///
/// If the form is from an earlier session of the same browser, the user is asked to confirm it.
#[derive(Debug)]
pub(crate) struct OwnForm<T> {
    pub(crate) session: Session,
    pub(crate) fields: T,
}

/// A form of any origin. The handler must change nothing if the origin is [`Origin::Unknown`], because another site may
/// have sent the form.
#[derive(Debug)]
pub(crate) struct AnyForm<T> {
    pub(crate) session: Session,
    pub(crate) origin: Origin,
    pub(crate) fields: T,
}

/// A request for the library, and the session of its browser.
///
/// The session is read after the body. A body can take seconds to arrive, and a session that ends in the meantime must
/// not approve anything.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) session: Session,
    pub(crate) request: grantor::Request,
}

impl FromRequest<App> for Received {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let unread = Request::from_parts(parts.clone(), body);
        let request = grantor::Request::from_request(unread, app).await.map_err(IntoResponse::into_response)?;
        let session = Session::from_request_parts(&mut parts, app).await?;
        Ok(Self { session, request })
    }
}

#[derive(Deserialize)]
struct WithToken<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    fields: T,
}

impl<T: DeserializeOwned + 'static> FromRequest<App> for AnyForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        submitted(request, app).await.map(|(form, _)| form)
    }
}

impl<T: DeserializeOwned + 'static> FromRequest<App> for OwnForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let path = request.uri().path().to_owned();
        let (AnyForm { session, origin, fields }, body) = submitted(request, app).await?;
        match origin {
            Origin::Session => Ok(Self { session, fields }),
            Origin::Browser => Err(once_more(&session, &path, &body)),
            Origin::Unknown => Err(refused()),
        }
    }
}

/// Returns the form, and the body that it was read from.
async fn submitted<T: DeserializeOwned + 'static>(
    request: Request,
    app: &App,
) -> Result<(AnyForm<T>, Vec<u8>), Response> {
    let no_form = |status| {
        page::error(status, "This form can\u{2019}t be read", "Go back, reload the page and submit the form again.")
    };
    let (parts, body) = read(request, app).await.map_err(no_form)?;
    let mut request = Request::from_parts(parts, Body::from(body.clone()));
    // After the body: see `Received`.
    let session: Session = request.extract_parts_with_state(app).await?;
    let Form(form) = Form::<WithToken<T>>::from_request(request, app)
        .await
        .map_err(|rejection| no_form(rejection.status().as_u16()))?;
    let origin = session.origin(&form.csrf);
    Ok((AnyForm { session, origin, fields: form.fields }, body))
}

/// Reads the body with the library's extractor, which has a size limit and a deadline. The error is the status of the
/// response.
async fn read(request: Request, app: &App) -> Result<(Parts, Vec<u8>), u16> {
    let (parts, body) = request.into_parts();
    let unread = Request::from_parts(parts.clone(), body);
    let whole = grantor::Request::from_request(unread, app).await.map_err(|refused| refused.status())?;
    match whole.body_refusal() {
        Some(refusal) => Err(refusal.status()),
        None => Ok((parts, whole.body().to_vec())),
    }
}

/// Returns the page for a form of an unknown origin.
pub(crate) fn refused() -> Response {
    let hint = "It may be too old, or your browser blocks cookies. Go back, reload the page and try again.";
    page::error(403, "This form can no longer be used", hint)
}

/// Names the action of a form.
fn action_name(path: &str) -> &'static str {
    match path {
        "/applications/change" => "Change the application",
        "/applications/secret" => "Make a new secret for the application",
        "/applications/remove" => "Remove the application",
        "/connected/end" => "End the access of the application",
        "/connected/revoke" => "End one session of the application",
        "/connected/revoke-all" => "Log out everywhere and end all access",
        _ => "Submit the form",
    }
}

/// Asks the user to confirm a form of an earlier session. Another user may have logged in since.
fn once_more(session: &Session, path: &str, body: &[u8]) -> Response {
    let page = path.split('/').nth(1).map(|first| format!("/{first}")).unwrap_or_default();
    let Some(user) = session.user() else { return Redirect::to(&format!("/login?next={page}")).into_response() };
    let fields = form_urlencoded::parse(body).filter(|(name, _)| name != "csrf");
    let content = html! {
        h1 { (action_name(path)) "?" }
        p { "You opened this form before your latest login, so nothing was changed yet." }
        p { "You are now logged in as " strong { bdi { (user.as_str()) } } "." }
        form method="post" action=(path) {
            (page::csrf_field(session))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button.button { "Continue as " bdi { (user.as_str()) } }
        }
        p { a.button.quiet href=(page) { "Cancel" } }
    };
    page::ask(409, action_name(path), &content)
}
