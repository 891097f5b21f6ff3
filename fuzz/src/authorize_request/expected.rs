//! The expected outcome of an authorization request, according to RFC 6749 §4.1.1, RFC 7636 and RFC 9700.

use grantor::client::RedirectUri;
use grantor::{CodeChallenge, CodeVerifier};

use crate::form::Form;
use crate::redirect_uri::{differ_in_port_only, has_free_port};
use crate::world::{Habit, Registered, Switches, VERIFIER, registered};

const PARAMETERS: [&str; 12] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "acr_values",
    "login_hint",
];

pub(super) enum Expected<'a> {
    /// An error page for the user. The client gets no error.
    Page,
    /// An error response to the client.
    Error(Route<'a>),
    Pending(Asked<'a>),
}

/// The target of the response and the parameters that every response has.
pub(super) struct Route<'a> {
    pub(super) target: &'a str,
    pub(super) in_fragment: bool,
    pub(super) state: Option<&'a str>,
    pub(super) asks_first: bool,
}

/// A valid request.
pub(super) struct Asked<'a> {
    pub(super) route: Route<'a>,
    pub(super) client: &'static Registered,
    pub(super) is_token: bool,
    pub(super) scope: Vec<String>,
    pub(super) redirect_uri_was_sent: bool,
    pub(super) proof: Proof,
}

/// The proof that is needed to redeem the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// None, because there is no challenge.
    None,
    /// The verifier that the targets know.
    Known,
    /// A verifier that the targets do not know.
    Unknown,
}

impl Route<'_> {
    pub(super) fn is_out_of_band(&self) -> bool {
        self.target == RedirectUri::OUT_OF_BAND
    }
}

impl<'a> Expected<'a> {
    pub(super) fn of(form: &'a Form, switches: Switches) -> Self {
        if form.size() > 16 * 1024 {
            return Self::Page;
        }
        // No input contains a value that this server has sealed.
        if !form.is_readable("return_target") || form.one("return_target").is_some() {
            return Self::Page;
        }
        if !form.is_readable("request") || !form.is_readable("request_uri") {
            return Self::Page;
        }
        let by_reference = form.one("request_uri").is_some();
        // No input contains a signature.
        if form.one("request").is_some() && !by_reference {
            return Self::Page;
        }
        let Some(client) = form.one("client_id").and_then(registered) else { return Self::Page };
        let Some(target) = target(form, client, switches) else { return Self::Page };
        let wants_token = form.one("response_type") == Some("token");
        let route = Route {
            target,
            in_fragment: wants_token || form.one("response_mode") == Some("fragment"),
            state: form.one("state").filter(|state| is_state(state)),
            asks_first: switches.ask_first || client.has(Habit::SelfService),
        };
        let response_type_allowed = match form.one("response_type") {
            Some("code") => client.uses("authorization_code"),
            Some("token") => switches.dangers && client.uses("implicit") && !route.is_out_of_band(),
            _ => false,
        };
        let response_mode_allowed = match form.one("response_mode") {
            None | Some("fragment") => true,
            Some("query") => !wants_token,
            Some(_) => false,
        };
        let is_readable = form.is_acceptable(&PARAMETERS) && form.one("state").is_none_or(is_state);
        let wishes_are_clear =
            form.one("prompt").is_none_or(is_prompt) && form.one("max_age").is_none_or(is_number_of_seconds);
        let may_go_on =
            !by_reference && is_readable && response_type_allowed && response_mode_allowed && wishes_are_clear;
        match (may_go_on, proof(form, client, wants_token, switches), client.grantable(form.one("scope"))) {
            (true, Some(proof), Some(scope)) => Self::Pending(Asked {
                route,
                client,
                is_token: wants_token,
                scope,
                redirect_uri_was_sent: form.one("redirect_uri").is_some(),
                proof,
            }),
            _ => Self::Error(route),
        }
    }
}

/// Returns the requested registered URI, or the only one if none was requested.
fn target<'a>(form: &'a Form, client: &Registered, switches: Switches) -> Option<&'a str> {
    if !form.is_readable("redirect_uri") {
        return None;
    }
    let is_allowed = |uri: &str| switches.dangers || uri != RedirectUri::OUT_OF_BAND;
    let Some(requested) = form.one("redirect_uri") else {
        return match client.redirect_uris {
            [only] if is_allowed(only) => Some(only),
            _ => None,
        };
    };
    let class = |uri: &str| RedirectUri::parse(uri).expect("it was registered").class();
    let is_registered = client
        .redirect_uris
        .iter()
        .any(|uri| *uri == requested || has_free_port(class(uri)) && differ_in_port_only(uri, requested));
    (is_registered && is_allowed(requested)).then_some(requested)
}

fn is_state(state: &str) -> bool {
    state.len() <= 4_096 && state.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Returns whether the text is a valid `prompt` (OpenID Connect Core §3.1.2.1). `none` can't be combined with other
/// words.
fn is_prompt(list: &str) -> bool {
    let words: Vec<&str> = list.split(' ').collect();
    words == ["none"] || words.iter().all(|word| ["login", "consent", "select_account"].contains(word))
}

fn is_number_of_seconds(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_ok()
}

/// Returns the proof that the challenge needs, or `None` if the request must be refused because of its challenge.
fn proof(form: &Form, client: &Registered, wants_token: bool, switches: Switches) -> Option<Proof> {
    let is_legacy = switches.dangers && client.has(Habit::Legacy);
    let challenge = match (form.one("code_challenge"), form.one("code_challenge_method")) {
        (None, None) => return (wants_token || is_legacy).then_some(Proof::None),
        (Some(challenge), Some("S256")) => {
            let fits = challenge.len() == 43 && !challenge.contains(['+', '/']) && is_base64(challenge);
            let own = CodeChallenge::s256(&CodeVerifier::new(VERIFIER));
            return fits.then_some(if challenge == own.as_str() { Proof::Known } else { Proof::Unknown });
        }
        (Some(challenge), None | Some("plain")) if is_legacy => challenge,
        _ => return None,
    };
    let is_unreserved = challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let fits = (43..=128).contains(&challenge.len()) && is_unreserved;
    fits.then_some(if challenge == VERIFIER { Proof::Known } else { Proof::Unknown })
}

/// Returns whether all characters are in one of the two base64 alphabets. (The last of 43 may have bits that no digest
/// has.)
fn is_base64(text: &str) -> bool {
    text.chars().all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' | '-' | '_'))
}
