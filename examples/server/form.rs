//! Submitted forms.

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

/// A form that a page of the present session submitted. A handler that takes this can't forget the check.
///
/// A form of an earlier session of the same browser is shown once more, to be sent as who the user is now.
#[derive(Debug)]
pub(crate) struct OwnForm<T> {
    pub(crate) session: Session,
    pub(crate) fields: T,
}

/// A form, and what is known of where it comes from: for a handler that goes on in any case. What is of an unknown origin may be
/// of another site, so nothing is changed by it.
#[derive(Debug)]
pub(crate) struct AnyForm<T> {
    pub(crate) session: Session,
    pub(crate) origin: Origin,
    pub(crate) fields: T,
}

/// A request for the library whose body has come, and the session of its browser.
///
/// The session is looked up after the body was read. A body may take until its deadline, and a session that was ended meanwhile must
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

/// A form, and the body that it was read from.
async fn submitted<T: DeserializeOwned + 'static>(
    request: Request,
    app: &App,
) -> Result<(AnyForm<T>, Vec<u8>), Response> {
    let no_form =
        |status| page::error(status, "That was not a form", "This address takes the forms of this server only.");
    let (parts, body) = read(request, app).await.map_err(no_form)?;
    let mut request = Request::from_parts(parts, Body::from(body.clone()));
    // Only now, see `Received`.
    let session: Session = request.extract_parts_with_state(app).await?;
    let Form(form) = Form::<WithToken<T>>::from_request(request, app)
        .await
        .map_err(|rejection| no_form(rejection.status().as_u16()))?;
    let origin = session.origin(&form.csrf);
    Ok((AnyForm { session, origin, fields: form.fields }, body))
}

/// Reads the body by the library's extractor, which has a limit and a deadline. The error is the status of the answer.
async fn read(request: Request, app: &App) -> Result<(Parts, Vec<u8>), u16> {
    let (parts, body) = request.into_parts();
    let unread = Request::from_parts(parts.clone(), body);
    let whole = grantor::Request::from_request(unread, app).await.map_err(|refused| refused.status())?;
    match whole.body_refusal() {
        Some(refusal) => Err(refusal.status()),
        None => Ok((parts, whole.body().to_vec())),
    }
}

/// The page for a form that another site may have made.
pub(crate) fn refused() -> Response {
    let hint = "It belongs to an earlier session, or your browser refuses cookies. Go back and reload the page.";
    page::error(403, "This form is no longer good", hint)
}

/// What a form does, for a user who is asked once more.
fn deed(path: &str) -> &'static str {
    match path {
        "/applications/change" => "Change the application",
        "/applications/secret" => "Make a new secret for the application",
        "/applications/remove" => "Remove the application",
        "/connected/end" => "End the access of the application",
        "/connected/revoke" => "End one session of the application",
        "/connected/revoke-all" => "Log out everywhere and end all access",
        _ => "Send the form",
    }
}

/// Shows a form of an earlier session again: the user may be another one by now, so nothing is done without a click.
fn once_more(session: &Session, path: &str, body: &[u8]) -> Response {
    let page = path.split('/').nth(1).map(|first| format!("/{first}")).unwrap_or_default();
    let Some(user) = session.user() else { return Redirect::to(&format!("/login?next={page}")).into_response() };
    let fields = form_urlencoded::parse(body).filter(|(name, _)| name != "csrf");
    let content = html! {
        h1 { "You have logged in again" }
        p { "The page that you came from is of an earlier login. Nothing was done yet." }
        p { "You are now logged in as " strong { (user.as_str()) } ". " (deed(path)) "?" }
        form method="post" action=(path) {
            (page::csrf_field(session))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button.button { "Do it as " (user.as_str()) }
        }
        p { a href=(page) { "Leave it" } }
    };
    page::ask(409, "You have logged in again", &content)
}
