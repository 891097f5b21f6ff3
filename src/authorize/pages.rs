//! The pages that the authorization endpoint shows, and the trait that replaces them.

use std::fmt::{self, Write};
use std::sync::Arc;

use crate::client::Client;
use crate::error::{Error, ErrorCode, Refusal};
use crate::http::{Languages, Response};

/// Renders the pages that the library shows. Each method has a plain default in English. Implement the methods
/// whose page should have your design and the language of the user.
///
/// No value is escaped: [`escape`] every value that you put into a page, including error codes, because extensions
/// define their own.
///
/// Each page gets the languages that the user prefers and the reason why it is shown: match on [`Error::refusal`] or on
/// the [cause](ErrorCause). Pages are sent with `Cache-Control: no-store`, so they need no `Vary` header.
///
/// ```
/// use grantor::authorize::{ErrorCause, ErrorPage, PageTemplates, escape};
/// use grantor::{Error, Refusal};
///
/// struct OurPages;
///
/// impl PageTemplates for OurPages {
///     fn error(&self, page: &ErrorPage<'_>) -> String {
///         let german = page.languages.choose(&["en", "de"]) == Some("de");
///         let title = match (page.error, page.cause) {
///             (Error::Refused(Refusal::ExpiredFormToken), _) if german => "Das hat zu lange gedauert",
///             (Error::Refused(Refusal::ExpiredFormToken), _) => "That took too long",
///             (_, ErrorCause::Server) if german => "Wir haben gerade ein Problem",
///             (_, ErrorCause::Server) => "We have a problem",
///             _ if german => "Das hat nicht geklappt",
///             _ => "That did not work",
///         };
///         let language = if german { "de" } else { "en" };
///         format!("<!doctype html><html lang=\"{language}\"><title>{title}</title><h1>{title}</h1>{}", escape(page.code))
///     }
/// }
/// ```
///
/// # The client of a page
/// Anyone can send a browser here with the identifier of any client in the request. So a page gets a client only if the
/// redirect URI of the request is registered for that client. The rest of the request may be wrong, and the user may
/// not know the client. Write that the request is for the client; do not write that the client made a mistake. Look at
/// [`Client::registered_by`]: a client that registered itself chose its own name, which may be misleading.
#[diagnostic::on_unimplemented(note = "every method of `PageTemplates` has a default: an empty impl is a start")]
pub trait PageTemplates: Send + Sync {
    /// Renders the page for an error that can't be sent to the client by redirect (RFC 6749 §4.1.2.1). The page should
    /// say what went wrong and blame only the [cause](ErrorPage::cause). If the user submitted an old form, offer a
    /// link [back to the request](ErrorPage::return_target).
    fn error(&self, page: &ErrorPage<'_>) -> String {
        let (code, description) = (escape(page.code), escape(page.description));
        let (title, problem, advice) = match page.cause {
            ErrorCause::Application => (
                "This request can't be completed",
                "The application you came from sent a request that this server can't accept",
                "Go back to the application and try again. If the problem remains, contact the application's developer.",
            ),
            ErrorCause::OldPage => (
                "This page can't be used any more",
                "Nothing was decided",
                "Go back to the application and start again.",
            ),
            ErrorCause::UsedPage => (
                "You have already answered",
                "Your first answer counts",
                "Go back to the application. If it does not react to your answer, start again there.",
            ),
            ErrorCause::User => ("Access was denied", "The application gets no access", "You can close this page."),
            ErrorCause::Server => (
                "This server has a problem",
                "The request can't be completed right now",
                "The application did not cause this problem. Try again in a few minutes.",
            ),
        };
        let presented = page.presented.map_or_else(String::new, |value| {
            format!("<p>The request contains:</p><p><code>{}</code></p>", escape(value))
        });
        let way_on = page.return_target.map_or_else(String::new, |target| {
            format!("<p><a href=\"{}\" rel=\"noreferrer\">Ask me again</a></p>", escape(target))
        });
        document(
            title,
            &format!(
                "<p>{problem}: {description}.</p>{presented}<p>{advice}</p>{way_on}<p class=\"detail\">{code}</p>"
            ),
        )
    }

    /// Renders the page that shows a code for the user to copy into the client (the out-of-band redirect).
    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        document(
            "Copy this code",
            &format!(
                "<p>Paste this code into the application that asked for it. It works once, and only for a short time.</p>\
             <p><code>{}</code></p><p>Do not give it to anyone else.</p>",
                escape(page.code)
            ),
        )
    }

    /// Renders the page that asks the user before the browser goes to a client with an error (RFC 9700 §4.11.2). It is
    /// shown for a client that no administrator registered, and for every client with
    /// [`AskFirst`](crate::policy::ErrorRedirects::AskFirst).
    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        document(
            "Leave this site?",
            &format!(
                "<p>An application sent you here with a request that can't be completed: {}.</p>\
             <p>It asks to send you on to <strong>{}</strong>. If you do not know this address, close this page.</p>\
             <p><a href=\"{}\" rel=\"noreferrer\">Continue to {}</a></p>",
                escape(page.description),
                escape(page.host),
                escape(page.location),
                escape(page.host)
            ),
        )
    }
}

impl<T: PageTemplates + ?Sized> PageTemplates for Arc<T> {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        (**self).error(page)
    }

    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        (**self).out_of_band(page)
    }

    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        (**self).confirm_redirect(page)
    }
}

/// The default pages, in English.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct DefaultPages;

impl PageTemplates for DefaultPages {}

/// The content of an error page, see [`PageTemplates::error`].
#[non_exhaustive]
pub struct ErrorPage<'a> {
    /// The error, to match on. It may be less precise than the event that the observer gets.
    pub error: &'a Error,
    /// The error code, such as `invalid_request`.
    pub code: &'a str,
    /// The problem: a fixed sentence without a full stop.
    pub description: &'a str,
    /// The cause of the error.
    pub cause: ErrorCause,
    /// The client, if the redirect URI of the request is registered for it: see
    /// [the client of a page](PageTemplates#the-client-of-a-page).
    pub client: Option<&'a Client>,
    /// The value of the request that matches no registration, to help the client's developer. It is the client
    /// identifier with [`UnregisteredClient`](Refusal::UnregisteredClient) and the redirect URI with
    /// [`UnregisteredRedirectUri`](Refusal::UnregisteredRedirectUri). It is cut off after 200 characters, and
    /// characters other than printable ASCII are written as `\u{…}`. The text is untrusted: escape it, and do not turn
    /// it into a link. Only the page gets it; it is in no event.
    pub presented: Option<&'a str>,
    /// The address of a link that starts the request again, if the user submitted an old consent form. Escape it.
    pub return_target: Option<&'a str>,
    /// The languages that the user prefers. Empty after [`resume`](crate::AuthorizationServer::resume), which gets no
    /// request.
    pub languages: &'a Languages,
}

impl fmt::Debug for ErrorPage<'_> {
    /// Leaves out the values of the request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorPage")
            .field("error", self.error)
            .field("cause", &self.cause)
            .field("client", &self.client.map(Client::id))
            .field("languages", self.languages)
            .finish_non_exhaustive()
    }
}

/// The cause of an error on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCause {
    /// The application sent an invalid request.
    Application,
    /// A form or a return target of this server is too old, was made for another session, or is malformed.
    OldPage,
    /// The user has already submitted this form, and the first decision counts. It may have been an approval or a
    /// denial, or it may have failed.
    UsedPage,
    /// The user denied the request, and the application can't learn that by redirect.
    User,
    /// The server failed or is not available.
    Server,
}

impl ErrorCause {
    fn of(error: &Error) -> Self {
        match error.refusal() {
            None => Self::Server,
            Some(
                Refusal::InvalidFormToken | Refusal::ExpiredFormToken | Refusal::StaleFormToken | Refusal::ConsentEnded,
            ) => Self::OldPage,
            Some(Refusal::UsedFormToken) => Self::UsedPage,
            Some(refusal) if refusal.code() == ErrorCode::ACCESS_DENIED => Self::User,
            Some(_) => Self::Application,
        }
    }
}

/// The content of a page with a code, see [`PageTemplates::out_of_band`].
#[non_exhaustive]
pub struct OutOfBandPage<'a> {
    /// The authorization code to show.
    pub code: &'a str,
    /// The client that the user approved.
    pub client: &'a Client,
    /// The languages that the user prefers; see [`ErrorPage::languages`].
    pub languages: &'a Languages,
}

impl fmt::Debug for OutOfBandPage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutOfBandPage([redacted])")
    }
}

/// The content of a page that asks before a redirect, see [`PageTemplates::confirm_redirect`].
#[non_exhaustive]
pub struct ConfirmRedirectPage<'a> {
    /// The error, to match on. It may be less precise than the event that the observer gets.
    pub error: &'a Error,
    /// The client whose registered redirect URI the link leads to. An attacker may have registered the client to lure
    /// users there: see [the client of a page](PageTemplates#the-client-of-a-page).
    pub client: &'a Client,
    /// The languages that the user prefers; see [`ErrorPage::languages`].
    pub languages: &'a Languages,
    /// The address of the link, which contains the error. Escape it.
    pub location: &'a str,
    /// The host of the address, to show to the user. Escape it.
    pub host: &'a str,
    /// The problem: a fixed sentence without a full stop.
    pub description: &'a str,
}

impl fmt::Debug for ConfirmRedirectPage<'_> {
    /// Leaves out the location, which contains the client's `state`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfirmRedirectPage")
            .field("host", &self.host)
            .field("description", &self.description)
            .field("client", self.client.id())
            .field("languages", self.languages)
            .finish_non_exhaustive()
    }
}

/// Escapes a text for HTML text and attribute values.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The maximum number of characters of a request's value on a page.
const MAX_PRESENTED: usize = 200;

/// Returns a value for a page: cut off, and without characters that are invisible or look like others.
pub(super) fn presented(value: &str) -> String {
    let mut shown = String::new();
    for (place, c) in value.chars().enumerate() {
        match c {
            _ if place == MAX_PRESENTED => {
                shown.push('\u{2026}');
                break;
            }
            ' '..='~' => shown.push(c),
            other => shown.extend(other.escape_unicode()),
        }
    }
    shown
}

/// The details of an error page beyond the error.
#[derive(Clone, Copy, Default)]
pub(super) struct PageOf<'a> {
    pub(super) client: Option<&'a Client>,
    pub(super) presented: Option<&'a str>,
    pub(super) return_target: Option<&'a str>,
    /// The cause, if it differs from that of [`ErrorCause::of`].
    pub(super) cause: Option<ErrorCause>,
}

impl<'a> PageOf<'a> {
    pub(super) fn client(client: &'a Client) -> Self {
        Self { client: Some(client), ..Self::default() }
    }
}

/// Renders the pages of a server as responses.
#[derive(Clone)]
pub(super) struct PageSet(pub(super) Arc<dyn PageTemplates>);

impl PageSet {
    pub(super) fn show_error(&self, error: &Error, languages: &Languages, of: PageOf<'_>) -> Response {
        let (code, description) = (error.code(), error.description());
        let PageOf { client, presented, return_target, cause } = of;
        let cause = cause.unwrap_or_else(|| ErrorCause::of(error));
        let (code, description) = (code.as_str(), &*description);
        let page = ErrorPage { error, code, description, cause, client, presented, return_target, languages };
        let mut response = Response::page(page_status(error), self.0.error(&page));
        if let Some(Refusal::MethodNotAllowed(allow)) = error.refusal() {
            response = response.with_header("allow", *allow);
        }
        with_retry_after(response, error)
    }

    pub(super) fn show_code(&self, code: &str, client: &Client, languages: &Languages) -> Response {
        Response::page(200, self.0.out_of_band(&OutOfBandPage { code, client, languages }))
    }

    pub(super) fn confirm_redirect(
        &self,
        error: &Error,
        client: &Client,
        languages: &Languages,
        location: &str,
        host: &str,
    ) -> Response {
        let description = error.description();
        let page = ConfirmRedirectPage { error, client, languages, location, host, description: &description };
        with_retry_after(Response::page(page_status(error), self.0.confirm_redirect(&page)), error)
    }
}

fn with_retry_after(response: Response, error: &Error) -> Response {
    match error.retry_after() {
        Some(seconds) => response.with_header("retry-after", seconds.to_string()),
        None => response,
    }
}

/// Returns 400 instead of 401, because a page for a browser has no challenge.
fn page_status(error: &Error) -> u16 {
    match error.status() {
        401 => 400,
        status => status,
    }
}

impl fmt::Debug for PageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageSet")
    }
}

fn document(title: &str, content: &str) -> String {
    let mut html = String::with_capacity(1024);
    let written = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>\
         body{{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:12vh auto;padding:0 1.25rem;color:#1c1e21;overflow-wrap:anywhere}}\
         h1{{font-size:1.4rem}}code{{display:block;padding:.75rem;background:#f1f3f5;white-space:pre-wrap;user-select:all}}\
         .detail{{color:#6a6f76;font-size:.85rem}}\
         @media(prefers-color-scheme:dark){{body{{background:#16181b;color:#e4e6e9}}code{{background:#26292e}}\
         a{{color:#8ab4f8}}.detail{{color:#9aa0a6}}}}\
         </style></head><body><main><h1>{title}</h1>{content}</main></body></html>"
    );
    debug_assert!(written.is_ok(), "writing to a String does not fail");
    html
}
