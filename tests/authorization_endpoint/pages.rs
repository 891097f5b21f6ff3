//! The library's pages: their content, and how a host replaces them.

use std::sync::{Arc, Mutex};

use grantor::authorize::{ConfirmRedirectPage, ErrorPage, OutOfBandPage, PageTemplates, escape};
use grantor::client::RegisteredBy;
use grantor::testing::{Fault, TestClient};
use grantor::{
    AuthorizationRequest, Client, ClientRegistry, Error, ErrorCode, Interaction, Languages, Policy, Request, Response,
    UserSession,
};

use crate::ask::{Ask, CALLBACK, approved, by, pending, refused};
use crate::common::{form, responded, text};
use crate::source::TestServer;

const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

// covers: PP-12 (RFC 6749 §10.14)
#[test]
fn escaping_leaves_no_markup() {
    let escaped = escape("<a href=\"x\" onclick='y'>&amp;</a>");
    assert_eq!(escaped, "&lt;a href=&quot;x&quot; onclick=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;");
    assert_eq!(escape("gr\u{fc}n \u{2713}"), "gr\u{fc}n \u{2713}");
    assert_eq!(escape(""), "");
}

fn server(pages: Option<Recorder>) -> TestServer {
    let mut policy = Policy::default();
    policy.dangerous().allow_out_of_band_redirect = true;
    TestServer::with(|builder| match pages {
        // In an `Arc`, for hosts that share their pages between servers.
        Some(pages) => builder.policy(policy).page_templates(Arc::new(pages) as Arc<dyn PageTemplates>),
        None => builder.policy(policy),
    })
}

/// An error page, a code page, and a page that confirms a redirect.
async fn all_pages(t: &TestServer) -> [Response; 3] {
    // Registered addresses may hold characters with a meaning in HTML.
    let uris = ["https://app.example/cb?a='onclick='alert(1)&b=2", OUT_OF_BAND];
    let client =
        Client::public("app").authorization_code(uris).scope("user:read").registered_by(RegisteredBy::SelfService);
    let app = t.register(client.build(), None).await;
    let probe = "'\"><script>alert(1)</script>";
    let ask = Ask::code(&app).with("state", probe);
    [
        refused(t, &ask.clone().with("client_id", probe)).await,
        approved(t, &ask.clone().with("redirect_uri", OUT_OF_BAND)).await,
        refused(t, &ask.with("scope", "nope")).await,
    ]
}

// covers: PP-12 (RFC 6749 §10.14), TL-15 (RFC 9700 §4.2.4)
#[tokio::test]
async fn default_pages_have_no_script_or_foreign_content() {
    let t = server(None);
    for page in all_pages(&t).await {
        let html = text(&page);
        assert!(html.starts_with("<!doctype html><html lang=\"en\">") && html.ends_with("</html>"), "{html}");
        for foreign in ["<script", "onclick='", "src=", "<link", "url(", "@import", "<iframe", "<img", "<form", "<base"]
        {
            assert!(!html.contains(foreign), "{foreign} in {html}");
        }
        // Only the page that confirms a redirect has a link, and it sends no referrer.
        let links = html.matches("href=").count();
        assert_eq!(links, usize::from(html.contains("Leave this site?")), "{html}");
        assert_eq!(html.matches("rel=\"noreferrer\"").count(), links);
        assert_eq!(html.matches("https://").count(), links, "{html}");
    }
}

// covers: PP-12 (RFC 6749 §10.14)
#[tokio::test]
async fn host_error_text_is_escaped() {
    let t = server(None);
    let app =
        t.register(Client::public("app").authorization_code([OUT_OF_BAND]).scope("user:read").build(), None).await;
    let pending = pending(&t, &Ask::code(&app).with("redirect_uri", OUT_OF_BAND)).await;
    let refusal = Error::refused(ErrorCode::from_static("<i>odd</i>"), "neither <b>this</b> nor that");
    let page = Response::from(pending.fail(refusal));
    let html = text(&page);
    assert!(html.contains("&lt;i&gt;odd&lt;/i&gt;") && html.contains("&lt;b&gt;this&lt;/b&gt;"), "{html}");
    assert!(!html.contains("<i>") && !html.contains("<b>"), "{html}");
}

// covers: PP-12 (RFC 6749 §10.14), AZ-20 (RFC 9700 §4.11.2)
#[tokio::test]
async fn confirm_redirect_page_escapes_the_address() {
    let t = server(None);
    let [_, _, confirm] = all_pages(&t).await;
    let html = text(&confirm);
    let expected = "href=\"https://app.example/cb?a=&#39;onclick=&#39;alert(1)&amp;b=2&amp;error=invalid_scope&amp;";
    assert!(html.contains(expected), "{html}");
    assert!(html.contains("&amp;state=%27%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E&amp;iss="), "{html}");
}

#[tokio::test]
async fn error_page_names_the_right_cause() {
    const SESSION: &str = "a-random-session-identifier";
    let t = server(None);
    let uris = [CALLBACK, OUT_OF_BAND];
    let app = t.register(Client::native("app").authorization_code(uris).scope("user:read").build(), None).await;
    let ask = Ask::code(&app);
    let faulty = refused(&t, &ask.clone().with("redirect_uri", "https://evil.example/")).await;
    let form_token = crate::ask::consent(&t, &ask).await.form_token(SESSION);
    let foreign = t.server.resume(&form_token, "another session").await.unwrap_err();
    t.clock.advance(t.server.policy().consent_lifetime + time::Duration::SECOND);
    let old = t.server.resume(&form_token, SESSION).await.unwrap_err();
    let denied: Response = pending(&t, &ask.clone().with("redirect_uri", OUT_OF_BAND)).await.deny().into();
    t.faults.fail(1, Fault::Unavailable);
    let unavailable = refused(&t, &ask).await;
    t.faults.fail(1, Fault::Failed);
    let failed = refused(&t, &ask).await;
    t.faults.clear();
    for (page, title, retry_after) in [
        (faulty, "This request can't be completed", None),
        (foreign.into(), "This page can't be used any more", None),
        (old.into(), "This page can't be used any more", None),
        (denied, "Access was denied", None),
        (unavailable, "This server has a problem", Some("5")),
        (failed, "This server has a problem", None),
    ] {
        let html = text(&page);
        assert!(html.contains(&format!("<h1>{title}</h1>")), "{title}: {html}");
        let blames =
            html.contains("The application you came from") || html.contains("contact the application's developer");
        assert_eq!(blames, title == "This request can't be completed", "{html}");
        assert_eq!(page.header("retry-after"), retry_after, "{html}");
    }
}

/// Pages of the host that record their arguments.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn page(&self, shown: String) -> String {
        self.0.lock().unwrap().push(shown);
        "<p>our own page".to_owned()
    }
}

impl PageTemplates for Recorder {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        self.page(format!("{}: {}", page.code, page.description))
    }

    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        assert!(!format!("{page:?}").contains(page.code), "a code is not for logs");
        self.page(format!("{} characters of code", page.code.len()))
    }

    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        let start = page.location.split("&state=").next().unwrap();
        self.page(format!("{} {start}: {}", page.host, page.description))
    }
}

#[tokio::test]
async fn host_replaces_pages_but_not_status_or_headers() {
    let pages = Recorder::default();
    let (ours, default) = (server(Some(pages.clone())), server(None));
    let (ours, default) = (all_pages(&ours).await, all_pages(&default).await);
    assert_eq!(
        *pages.0.lock().unwrap(),
        [
            "invalid_client: the client is not registered with this server",
            "43 characters of code",
            "app.example https://app.example/cb?a='onclick='alert(1)&b=2&error=invalid_scope\
             &error_description=a%20requested%20scope%20is%20unknown: a requested scope is unknown",
        ]
    );
    for (ours, default) in ours.iter().zip(&default) {
        assert_eq!(text(ours), "<p>our own page");
        assert_eq!(ours.status(), default.status());
        assert!(ours.headers().eq(default.headers()));
    }
}

/// A host that replaces the error page only.
struct OnlyErrors;

impl PageTemplates for OnlyErrors {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        format!("<h1>{}</h1>", escape(page.description))
    }
}

#[tokio::test]
async fn page_that_the_host_does_not_replace_is_the_default() {
    let t = TestServer::with(|builder| builder.page_templates(OnlyErrors));
    let client = Client::public("app").authorization_code([CALLBACK]).scope("user:read");
    let app = t.register(client.registered_by(RegisteredBy::SelfService).build(), None).await;
    let error = refused(&t, &Ask::code(&app).without("client_id")).await;
    assert_eq!(text(&error), "<h1>the parameter client_id is missing</h1>");
    let confirm = refused(&t, &Ask::code(&app).with("scope", "nope")).await;
    assert!(text(&confirm).contains("Leave this site?"), "{}", text(&confirm));
}

/// Pages that record the client, the languages and the reason.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn page(&self, client: Option<&Client>, languages: &Languages, error: Option<&Error>) -> String {
        let language = languages.choose(&["en", "de"]);
        let reason = error.map(|error| error.refusal().map_or("failure".to_owned(), |refusal| format!("{refusal:?}")));
        let (client, reason) = (client.map(|client| client.id().as_str()), reason.unwrap_or("no error".to_owned()));
        self.0.lock().unwrap().push(format!("{client:?} {language:?} {reason}"));
        language.unwrap_or("none").to_owned()
    }

    /// Asserts what the last page received, and that there was no other page.
    #[track_caller]
    fn assert(&self, client: Option<&TestClient>, language: Option<&str>, reason: &str) {
        let client = client.map(|client| &*client.id);
        assert_eq!(std::mem::take(&mut *self.0.lock().unwrap()), [format!("{client:?} {language:?} {reason}")]);
    }
}

impl PageTemplates for Told {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        assert_eq!((page.code, page.description), (page.error.code().as_str(), &*page.error.description()));
        self.page(page.client, page.languages, Some(page.error))
    }

    fn out_of_band(&self, page: &OutOfBandPage<'_>) -> String {
        self.page(Some(page.client), page.languages, None)
    }

    fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
        assert!(!format!("{page:?}").contains(page.location), "a location is not for logs");
        assert_eq!(page.description, page.error.description());
        self.page(Some(page.client), page.languages, Some(page.error))
    }
}

/// A server with pages that record, and a self-registered client with an out-of-band redirect.
async fn told() -> (TestServer, Told, TestClient) {
    let told = Told::default();
    let mut policy = Policy::default();
    policy.dangerous().allow_out_of_band_redirect = true;
    let t = TestServer::with(|builder| builder.policy(policy).page_templates(told.clone()));
    let client = Client::native("app").authorization_code([CALLBACK, OUT_OF_BAND]).scope("user:read user:write");
    let app = t.register(client.registered_by(RegisteredBy::SelfService).build(), None).await;
    (t, told, app)
}

fn in_german(request: Request) -> Request {
    request.with_header("Accept-Language", "fr, en;q=0.1").with_header("accept-language", "de-AT;q=0.9")
}

// covers: PP-12 (RFC 6749 §10.14)
#[tokio::test]
async fn error_page_gets_a_client_only_with_its_redirect_uri() {
    let (t, told, app) = told().await;
    let ask = Ask::code(&app);
    let out_of_band = ask.clone().with("redirect_uri", OUT_OF_BAND);
    // Anyone can send these requests, with the identifier of any client.
    drop(refused(&t, &ask.clone().with("client_id", "unknown")).await);
    told.assert(None, None, "UnregisteredClient");
    drop(refused(&t, &ask.clone().with("redirect_uri", "https://evil.example/")).await);
    told.assert(None, None, "UnregisteredRedirectUri");
    drop(responded(t.server.authorize(&Request::new("PUT", "/authorize")).await));
    told.assert(None, None, r#"MethodNotAllowed("GET, POST")"#);
    t.faults.fail(1, Fault::Failed);
    drop(refused(&t, &ask).await);
    t.faults.clear();
    told.assert(None, None, "failure");
    // The redirect URI belongs to the client's registration.
    drop(refused(&t, &out_of_band.clone().with("scope", "nope")).await);
    told.assert(Some(&app), None, "UnknownScope");
    drop(Response::from(pending(&t, &out_of_band).await.deny()));
    told.assert(Some(&app), None, "DeniedByUser");
    drop(refused(&t, &ask.clone().with("scope", "nope")).await);
    told.assert(Some(&app), None, "UnknownScope");
    drop(approved(&t, &out_of_band).await);
    told.assert(Some(&app), None, "no error");
}

#[tokio::test]
async fn stale_form_page_gets_client_if_form_is_genuine() {
    const SESSION: &str = "a-random-session-identifier";
    let (t, told, app) = told().await;
    let form_token = crate::ask::consent(&t, &Ask::code(&app)).await.form_token(SESSION);
    drop(t.server.resume(&form_token, "another session").await.unwrap_err());
    told.assert(None, None, "InvalidFormToken");
    let mut parts = crate::ask::client_of(&t, &app).await.parts().clone();
    parts.client_name = Some("Another name".into());
    let version = crate::ask::client_of(&t, &app).await.version();
    t.storage.update(Client::from_parts(parts).unwrap(), version).await.unwrap();
    drop(t.server.resume(&form_token, SESSION).await.unwrap_err());
    told.assert(Some(&app), None, "StaleFormToken");
}

#[tokio::test]
async fn every_page_gets_the_languages_of_its_request() {
    const SESSION: &str = "a-random-session-identifier";
    let (t, told, app) = told().await;
    let (ask, german) = (Ask::code(&app), Some("de"));
    let out_of_band = ask.clone().with("redirect_uri", OUT_OF_BAND);
    let scope = "UnknownScope";
    for request in [Ask::get, Ask::post] {
        let page = responded(t.server.authorize(&in_german(request(&ask.clone().without("client_id")))).await);
        assert_eq!(text(&page), "de");
        assert_eq!((page.header("cache-control"), page.header("vary")), (Some("no-store"), None));
        told.assert(None, german, r#"MissingParameter("client_id")"#);
        drop(responded(t.server.authorize(&in_german(request(&ask.clone().with("scope", "nope")))).await));
        told.assert(Some(&app), german, scope);
        let alice = UserSession::new(crate::ask::subject("alice"));
        let asked = async || match t.server.interaction(&in_german(request(&out_of_band)), Some(&alice)).await {
            Interaction::Consent(asked) => asked,
            other => panic!("alice is asked: {other:?}"),
        };
        let form = async || {
            let body = form(&[("form_token", &asked().await.form_token(SESSION))]);
            Request::post_form("/consent", body)
        };
        drop(Response::from(asked().await.approve(by("alice")).await));
        told.assert(Some(&app), german, "no error");
        // A submitted form comes with its own language header.
        let (resumed, _) = t.server.resume_form(&form().await, SESSION).await.unwrap();
        drop(Response::from(resumed.deny().await));
        told.assert(Some(&app), None, "DeniedByUser");
        let (resumed, _) = t.server.resume_form(&in_german(form().await), SESSION).await.unwrap();
        drop(Response::from(resumed.approve(by("alice")).await));
        told.assert(Some(&app), german, "no error");
        drop(t.server.resume_form(&in_german(form().await), "another session").await.unwrap_err());
        told.assert(None, german, "InvalidFormToken");
        drop(t.server.resume_form(&in_german(Request::get("/consent")), SESSION).await.unwrap_err());
        told.assert(None, german, r#"MethodNotAllowed("POST")"#);
    }
    drop(responded(t.server.authorize(&in_german(Request::new("PUT", "/authorize"))).await));
    told.assert(None, german, r#"MethodNotAllowed("GET, POST")"#);
    let typed = AuthorizationRequest::code(&app.id).redirect_uri(CALLBACK).languages(Languages::parse("de"));
    drop(t.server.authorization_request(&typed).await.unwrap_err());
    told.assert(Some(&app), german, "MissingCodeChallenge");
}

/// Error pages that record the value from the request that they may quote.
#[derive(Clone, Default)]
struct Presented(Arc<Mutex<Vec<Option<String>>>>);

impl PageTemplates for Presented {
    fn error(&self, page: &ErrorPage<'_>) -> String {
        assert!(page.presented.is_none_or(|value| !format!("{page:?}").contains(value)), "a value is not for logs");
        self.0.lock().unwrap().push(page.presented.map(str::to_owned));
        String::new()
    }
}

// The page shows the value, so that its reader can find a typing error.
// covers: PP-12 (RFC 6749 §10.14), AZ-05 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn error_page_shows_unregistered_client_id_or_redirect_uri() {
    let t = server(None);
    let app = t.register(Client::public("app").authorization_code([CALLBACK]).scope("user:read").build(), None).await;
    let ask = Ask::code(&app);
    let long = format!("https://app.example/{}", "x".repeat(400));
    for (name, value, shown) in [
        ("client_id", "<b>no\"body</b>", "&lt;b&gt;no&quot;body&lt;/b&gt;"),
        ("client_id", "app ", "app "),
        ("redirect_uri", "https://app.example/cb/", "https://app.example/cb/"),
        ("redirect_uri", "javascript:alert(1)", "javascript:alert(1)"),
        ("redirect_uri", "https://\u{430}pp.example/\u{202e}bc", "https://\\u{430}pp.example/\\u{202e}bc"),
        ("redirect_uri", &long, &format!("{}\u{2026}", &long[..200])),
    ] {
        let page = refused(&t, &ask.clone().with(name, value)).await;
        let html = text(&page);
        assert_eq!((page.status(), page.header("location")), (400, None));
        assert!(html.contains(&format!("<p>The request contains:</p><p><code>{shown}</code></p>")), "{html}");
        assert!(!html.contains("href"), "{html}");
        let event = t.events.events().pop().unwrap();
        assert!(!event.text.contains(value), "{}", event.text);
    }
}

// covers: PP-12 (RFC 6749 §10.14)
#[tokio::test]
async fn other_error_pages_show_no_value_of_the_request() {
    let presented = Presented::default();
    let t = TestServer::with(|builder| builder.page_templates(presented.clone()));
    let app = t.register(Client::public("app").authorization_code([CALLBACK]).scope("user:read").build(), None).await;
    let ask = Ask::code(&app);
    let form_token = crate::ask::consent(&t, &ask).await.form_token("session");
    drop(refused(&t, &ask.clone().without("client_id")).await);
    drop(refused(&t, &ask.clone().twice("redirect_uri")).await);
    drop(refused(&t, &ask.clone().with("return_target", "x")).await);
    drop(t.server.resume(&form_token, "another session").await.unwrap_err());
    for fault in [Fault::Failed, Fault::Unavailable] {
        t.faults.fail(1, fault);
        drop(refused(&t, &ask).await);
    }
    t.faults.clear();
    assert_eq!(std::mem::take(&mut *presented.0.lock().unwrap()), vec![None; 6]);
    drop(refused(&t, &ask.with("client_id", "nobody")).await);
    assert_eq!(*presented.0.lock().unwrap(), [Some("nobody".to_owned())]);
}
