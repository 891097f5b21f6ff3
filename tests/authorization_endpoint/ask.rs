//! Requests to modify, and helpers that take responses apart.

use std::collections::BTreeMap;

use grantor::storage::{GrantPage, GrantSelector};
use grantor::testing::{ISSUER, TestClient, approve};
use grantor::{
    Approval, AuthorizationOutcome, Client, ClientId, Clock, Consent, Grant, PendingAuthorization, Request, Response,
    Storage, Subject,
};
use std::sync::Arc;

use crate::common::{CHALLENGE, fragment_of, location, query_of, responded, text};
use crate::source::{TestServer, encoded};

pub(crate) use crate::common::CB as CALLBACK;

/// The parameters of a request. A test starts with a valid request and adds a fault.
#[derive(Clone)]
pub(crate) struct Ask {
    pairs: Vec<(String, String)>,
    raw: String,
}

impl Ask {
    /// A valid request for a code, with all parameters that a good client sends.
    pub(crate) fn code(client: &TestClient) -> Self {
        Self::token(client)
            .with("response_type", "code")
            .with("code_challenge", CHALLENGE)
            .with("code_challenge_method", "S256")
    }

    /// A valid request for a token (`response_type=token`), which needs no PKCE.
    pub(crate) fn token(client: &TestClient) -> Self {
        Self { pairs: Vec::new(), raw: String::new() }
            .with("response_type", "token")
            .with("client_id", &client.id)
            .with("redirect_uri", &client.redirect_uri)
            .with("scope", "user:read")
            .with("state", "af0ifjsldkj")
    }

    /// Sets a parameter.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.without(name).and(name, value)
    }

    /// Removes a parameter.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.pairs.retain(|(own, _)| own != name);
        self
    }

    /// The value of a parameter.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// Adds a parameter, even if it is there already.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.pairs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Repeats an existing parameter.
    pub(crate) fn twice(self, name: &str) -> Self {
        let value = self.pairs.iter().find(|(own, _)| own == name).expect("a parameter to repeat").1.clone();
        self.and(name, &value)
    }

    /// Appends text to the encoded form, unescaped.
    pub(crate) fn raw(mut self, text: &str) -> Self {
        self.raw.push_str(text);
        self
    }

    /// The size of all names and values together.
    pub(crate) fn size(&self) -> usize {
        self.pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    pub(crate) fn encoded(&self) -> String {
        let pairs: Vec<(&str, &str)> = self.pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        encoded(&pairs, &self.raw)
    }

    pub(crate) fn get(&self) -> Request {
        Request::get(format!("/authorize?{}", self.encoded()))
    }

    pub(crate) fn post(&self) -> Request {
        Request::post_form("/authorize", self.encoded())
    }
}

/// Returns the pending request; panics if the request is invalid.
pub(crate) async fn pending(t: &TestServer, ask: &Ask) -> PendingAuthorization {
    match t.server.authorize(&ask.get()).await {
        AuthorizationOutcome::Pending(pending) => pending,
        AuthorizationOutcome::Respond(response) => panic!("{} was refused: {}", ask.encoded(), describe(&response)),
    }
}

/// Returns the request at the consent page of alice; panics if no consent is needed.
pub(crate) async fn consent(t: &TestServer, ask: &Ask) -> Consent {
    grantor::testing::ask(pending(t, ask).await, subject("alice")).await
}

/// Returns the response to an invalid request.
pub(crate) async fn refused(t: &TestServer, ask: &Ask) -> Response {
    responded(t.server.authorize(&ask.get()).await)
}

/// Returns the response after alice approved the request.
pub(crate) async fn approved(t: &TestServer, ask: &Ask) -> Response {
    approve(pending(t, ask).await, by("alice")).await.into()
}

pub(crate) fn by(name: &str) -> Approval {
    Approval::by(subject(name))
}

pub(crate) fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

/// The grants that a client has, newest first.
pub(crate) async fn grants_of(t: &TestServer, client: &TestClient) -> Vec<Arc<Grant>> {
    let which = GrantSelector::Client(ClientId::new(&client.id).unwrap());
    t.storage.list_grants(&which, t.clock.now(), &GrantPage::first(100)).await.unwrap()
}

/// Returns the stored client, whose parts a test can change and store again.
pub(crate) async fn client_of(t: &TestServer, client: &TestClient) -> Arc<Client> {
    use grantor::ClientStore;
    t.storage.find_client(&client.id).await.unwrap().expect("a registered client")
}

/// The text of pages about a stale form.
const STALE: [&str; 3] =
    ["this form has expired", "this form does not belong to your current session", "this form was already submitted"];

/// Asserts that a response is an error page without a redirect. The page of a stale form may
/// link back to the request.
#[track_caller]
pub(crate) fn assert_page(response: &Response, status: u16, code: &str, description: &str) {
    assert_eq!(response.status(), status, "{}", describe(response));
    assert_eq!(response.header("location"), None);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    let page = text(response);
    assert!(page.contains(&format!("<p class=\"detail\">{code}</p>")), "{code} is not on the page: {page}");
    assert!(page.contains(&format!(": {description}.</p>")), "{description:?} is not on the page: {page}");
    let leads_back = page.contains("<p><a href=\"/authorize?return_target=") && STALE.contains(&description);
    assert_eq!(page.matches("href").count(), usize::from(leads_back), "an error page has no other link: {page}");
}

/// Returns the text of an error page without the value that it quotes from the request (a `client_id` or a
/// `redirect_uri`). The value occurs once and can't contain markup.
#[track_caller]
pub(crate) fn text_around_value(response: &Response) -> String {
    let page = text(response);
    let Some((before, rest)) = page.split_once("<p>The request contains:</p><p><code>") else {
        return page.to_owned();
    };
    let (value, after) = rest.split_once("</code></p>").expect("an end");
    let is_plain = |c: char| matches!(c, ' '..='~' | '\u{2026}') && !matches!(c, '<' | '>' | '"' | '\'');
    assert!(value.chars().all(is_plain), "{value}");
    format!("{before}{after}")
}

/// Asserts that a response redirects an error to `uri`, with only the expected parameters in its query.
#[track_caller]
pub(crate) fn assert_error(response: &Response, uri: &str, code: &str, state: Option<&str>) {
    let query = query_of(response);
    assert_eq!(target_of(response), uri);
    assert_is_error(&query, code, state);
}

/// Asserts that a response redirects an error to `uri`, with only the expected parameters in its fragment.
#[track_caller]
pub(crate) fn assert_error_in_fragment(response: &Response, uri: &str, code: &str, state: Option<&str>) {
    let fragment = fragment_of(response);
    assert_eq!(response.header("location").unwrap().split('#').next(), Some(uri));
    assert_is_error(&fragment, code, state);
}

#[track_caller]
fn assert_is_error(members: &BTreeMap<String, String>, code: &str, state: Option<&str>) {
    let mut expected = vec!["error", "error_description", "iss"];
    expected.extend(state.map(|_| "state"));
    assert_eq!(members.keys().collect::<Vec<_>>(), expected, "{members:?}");
    assert_eq!(members["error"], code, "{members:?}");
    assert_eq!(members["iss"], ISSUER);
    assert_eq!(members.get("state").map(String::as_str), state);
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let description = &members["error_description"];
    assert!(!description.is_empty() && description.bytes().all(allowed), "RFC 6749 §4.1.2.1: {description:?}");
}

/// Returns the target of a redirect without query and fragment.
#[track_caller]
pub(crate) fn target_of(response: &Response) -> String {
    let url = location(response);
    url.as_str().split(['?', '#']).next().unwrap().to_owned()
}

pub(crate) fn describe(response: &Response) -> String {
    format!("{} {:?} {}", response.status(), response.header("location"), text(response))
}
