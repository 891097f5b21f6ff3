//! The few pages the authorization endpoint shows by itself, and their replacement.

use std::fmt::{self, Write};
use std::sync::Arc;

use crate::client::Client;
use crate::error::{Error, ErrorCode, Refusal};
use crate::http::{Languages, Response};

/// Renders the pages that the library shows. Each has a plain default in English; replace those that you want in your own look and in
/// the user's language.
///
/// No value comes escaped: [`escape`] whatever you put into a page, the codes of errors too, of which extensions have their own.
///
/// Each page knows the languages that the user prefers, and why it is shown: match on [`Error::refusal`] or on the
/// [cause](ErrorCause). No cache stores a page, so that none has to be told that it varies by language.
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
/// Anyone can send a browser here with the name of any client in the request. A page is therefore told of a client only if the
/// redirect URI of the request is one of its registration; the rest of the request may be wrong. Even then its user may not have
/// meant to come. Name the client as the one that the request is for, not as the one that has made a mistake, and look at
/// [`Client::registered_by`]: the name of a client that registered itself is text of a stranger, which can say anything.
#[diagnostic::on_unimplemented(note = "every method of `PageTemplates` has a default: an empty impl is a start")]
pub trait PageTemplates: Send + Sync {
    /// The request is so faulty that the browser can't be sent anywhere (RFC 6749 §4.1.2.1), or the server can't answer it. The page is
    /// to say what went wrong, and to blame nobody but the [cause](ErrorPage::cause). The one way on is
    /// [back to the request](ErrorPage::return_target), if the user came by a form that is no longer good.
    fn error(&self, page: &ErrorPage<'_>) -> String {
        let (code, description) = (escape(page.code), escape(page.description));
        let (title, problem, advice) = match page.cause {
            ErrorCause::Application => (
                "This request can't be completed",
                "The application you came from sent a request that this server can't accept",
                "Go back to the application and try again. If that does not help, tell its makers.",
            ),
            ErrorCause::OldPage => (
                "This page can't be used any more",
                "Nothing was decided",
                "Go back to the application and start again.",
            ),
            ErrorCause::UsedPage => (
                "You have already answered",
                "Your first answer counts",
                "Go back to the application. If it does not know your answer, start again there.",
            ),
            ErrorCause::User => ("Access was denied", "The application gets no access", "You can close this page."),
            ErrorCause::Server => (
                "This server has a problem",
                "The request can't be answered at the moment",
                "The application is not at fault. Try again in a while.",
            ),
        };
        let presented = page
            .presented
            .map_or_else(String::new, |value| format!("<p>The request says:</p><p><code>{}</code></p>", escape(value)));
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

    /// Shows a code to be copied by hand into the client (the out-of-band redirect).
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

    /// An application that no administrator registered sent a faulty request: asks the user before sending the browser
    /// there (RFC 9700 §4.11.2).
    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        document(
            "Leave this site?",
            &format!(
                "<p>An application sent you here with a request that can't be completed: {}.</p>\
             <p>It asks to send you on to <strong>{}</strong>. If you do not know that address, close this page.</p>\
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

/// The pages as they come.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct DefaultPages;

impl PageTemplates for DefaultPages {}

/// See [`PageTemplates::error`].
#[non_exhaustive]
pub struct ErrorPage<'a> {
    /// Why, to be matched on. The observer is told more if the client may not learn it.
    pub error: &'a Error,
    /// The error code, such as `invalid_request`.
    pub code: &'a str,
    /// What went wrong: a fixed sentence without a full stop.
    pub description: &'a str,
    /// Who or what has caused it.
    pub cause: ErrorCause,
    /// The client, if the redirect URI of the request is one of its registration: see
    /// [the client of a page](PageTemplates#the-client-of-a-page). That is so if the answer can't be redirected for another reason.
    pub client: Option<&'a Client>,
    /// The value of the request that was compared, so that its developer sees what differs: the client identifier with
    /// [`UnregisteredClient`](Refusal::UnregisteredClient), the redirect URI with
    /// [`UnregisteredRedirectUri`](Refusal::UnregisteredRedirectUri). It has at most 200 characters; others than those of printable ASCII stand as
    /// `\u{…}`. It is text of whoever made the request: escape it, and make no link of it. Nothing but the page is told of it.
    pub presented: Option<&'a str>,
    /// Where the browser can begin the request again, if a consent form is no longer good: the address of a link. Needs to be escaped.
    pub return_target: Option<&'a str>,
    /// The languages that the user prefers. None are known after [`resume`](crate::AuthorizationServer::resume), which sees no request.
    pub languages: &'a Languages,
}

impl fmt::Debug for ErrorPage<'_> {
    /// Without what the request says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorPage")
            .field("error", self.error)
            .field("cause", &self.cause)
            .field("client", &self.client.map(Client::id))
            .field("languages", self.languages)
            .finish_non_exhaustive()
    }
}

/// What has caused an error that a user reads about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCause {
    /// The application sent a faulty request.
    Application,
    /// A form or a return target of this server is too old, was made for another session, or is malformed.
    OldPage,
    /// The user has already answered by this form, and the first answer counts. It may have been a yes, a no, or have failed.
    UsedPage,
    /// The user said no, and the application can't be told by redirect.
    User,
    /// The server failed, or is not available.
    Server,
}

impl ErrorCause {
    fn of(error: &Error) -> Self {
        match error.refusal() {
            None => Self::Server,
            Some(Refusal::InvalidFormToken | Refusal::ExpiredFormToken | Refusal::StaleFormToken) => Self::OldPage,
            Some(Refusal::UsedFormToken) => Self::UsedPage,
            Some(refusal) if refusal.code() == ErrorCode::ACCESS_DENIED => Self::User,
            Some(_) => Self::Application,
        }
    }
}

/// See [`PageTemplates::out_of_band`].
#[non_exhaustive]
pub struct OutOfBandPage<'a> {
    /// The code to be shown.
    pub code: &'a str,
    /// The client that the user has approved.
    pub client: &'a Client,
    /// The languages that the user prefers; see [`ErrorPage::languages`].
    pub languages: &'a Languages,
}

impl fmt::Debug for OutOfBandPage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutOfBandPage([redacted])")
    }
}

/// See [`PageTemplates::confirm_redirect`].
#[non_exhaustive]
pub struct ConfirmRedirectPage<'a> {
    /// Why, to be matched on. The observer is told more if the client may not learn it.
    pub error: &'a Error,
    /// The client to whose registered redirect URI the link leads. It may have registered itself to lure users there: see
    /// [the client of a page](PageTemplates#the-client-of-a-page).
    pub client: &'a Client,
    /// The languages that the user prefers; see [`ErrorPage::languages`].
    pub languages: &'a Languages,
    /// Where the link leads, the error in it. Needs to be escaped.
    pub location: &'a str,
    /// The host of that address, to be shown. Needs to be escaped.
    pub host: &'a str,
    /// What went wrong: a fixed sentence without a full stop.
    pub description: &'a str,
}

impl fmt::Debug for ConfirmRedirectPage<'_> {
    /// Without the location, which has the client's `state` in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfirmRedirectPage")
            .field("host", &self.host)
            .field("description", &self.description)
            .field("client", self.client.id())
            .field("languages", self.languages)
            .finish_non_exhaustive()
    }
}

/// Replaces the characters that have a meaning in HTML text and attribute values.
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

/// The most characters of a value that a page shows.
const MOST_PRESENTED: usize = 200;

/// A value as a page can show it: not longer than anybody reads, and without characters that can't be seen or that look like others.
pub(super) fn presented(value: &str) -> String {
    let mut shown = String::new();
    for (place, c) in value.chars().enumerate() {
        match c {
            _ if place == MOST_PRESENTED => {
                shown.push('\u{2026}');
                break;
            }
            ' '..='~' => shown.push(c),
            other => shown.extend(other.escape_unicode()),
        }
    }
    shown
}

/// What is known about an error beyond its reason.
#[derive(Clone, Copy, Default)]
pub(super) struct PageOf<'a> {
    pub(super) client: Option<&'a Client>,
    pub(super) presented: Option<&'a str>,
    pub(super) return_target: Option<&'a str>,
    /// Another cause than the reason says.
    pub(super) cause: Option<ErrorCause>,
}

impl<'a> PageOf<'a> {
    pub(super) fn client(client: &'a Client) -> Self {
        Self { client: Some(client), ..Self::default() }
    }
}

/// The pages of a server, ready to be sent.
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

/// A browser has no use for 401 without a challenge: an unknown client is a bad request here.
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
         a{{color:#8ab4f8}}}}\
         </style></head><body><h1>{title}</h1>{content}</body></html>"
    );
    debug_assert!(written.is_ok(), "writing to a String does not fail");
    html
}
