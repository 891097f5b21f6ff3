//! The authorization endpoint, from the request to the response that the client gets after the user's decision.
//!
//! The first byte of the input is a set of flags (`@` is the empty set):
//! * 1: the request is a `POST`
//! * 2: everything in `dangerous()` is enabled
//! * 4: users are always asked before an error redirects them to a client
//! * 8: the user denies the request
//! * 16: the request passes through a consent form
//! * 32: the client sends the parameters in a signed request object, if an object can contain them
//!
//! The rest of the input is the query or the body.

mod expected;
mod object;

use std::collections::BTreeMap;

use grantor::authorize::escape;
use grantor::{
    AccessToken, Approval, AuthorizationCode, AuthorizationOutcome, BearerRequest, ClientSecret, CodeVerifier, Consent,
    Interaction, PendingAuthorization, Proceed, Request, Response, Subject, TokenRequest, UserSession,
};
use time::OffsetDateTime;
use url::{Url, form_urlencoded};

use self::expected::{Asked, Expected, Proof, Route};
use crate::answer;
use crate::form::Form;
use crate::world::{ISSUER, Switches, VERIFIER, World, block_on};

pub const OUTCOMES: [&str; 9] = [
    "error page",
    "error redirect",
    "question before the error redirect",
    "error page instead of out of band",
    "denied",
    "denied out of band",
    "code",
    "code out of band",
    "token",
];

const AUTHORIZATION_ERRORS: [&str; 8] = [
    "invalid_request",
    "unauthorized_client",
    "unsupported_response_type",
    "invalid_scope",
    "access_denied",
    "login_required",
    "consent_required",
    "request_uri_not_supported",
];

/// The tags in the pages of the library.
const MARKUP: [&str; 13] =
    ["!doctype", "html", "head", "meta", "title", "style", "body", "main", "h1", "p", "code", "strong", "a"];

pub fn check(data: &[u8]) -> &'static str {
    let Some((flags, form)) = data.split_first() else { return "error page" };
    let flags = Flags(*flags);
    let switches = Switches { dangers: flags.has(2), ask_first: flags.has(4) };
    World::lend(switches, |world| ask(world, flags, form, switches))
}

#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}

fn ask(world: &World, flags: Flags, form: &[u8], switches: Switches) -> &'static str {
    let request = if flags.has(1) {
        Request::post_form("/authorize", form)
    } else {
        Request::get([&b"/authorize?"[..], form].concat().iter().map(|byte| char::from(*byte)).collect::<String>())
    };
    // A query is text, so each non-ASCII byte becomes a character of two bytes.
    let received = if flags.has(1) { request.body() } else { request.query().as_bytes() };
    let form = Form::read(received);
    let signed = if flags.has(32) { object::request(&form) } else { None };
    let request = signed.unwrap_or(request);
    match (block_on(world.server.authorize(&request)), Expected::of(&form, switches)) {
        (AuthorizationOutcome::Respond(response), Expected::Page) => error_page(&response),
        (AuthorizationOutcome::Respond(response), Expected::Error(route)) => error(&response, &route),
        (AuthorizationOutcome::Pending(pending), Expected::Pending(asked)) => decide(world, pending, &asked, flags),
        (AuthorizationOutcome::Respond(response), Expected::Pending(_)) => {
            panic!("a good request was refused: {response:?}")
        }
        (AuthorizationOutcome::Pending(pending), _) => panic!("a bad request was accepted: {pending:?}"),
    }
}

/// Checks an error page. It contains nothing of the request, so that nothing can be injected.
fn error_page(response: &Response) -> &'static str {
    assert!([400, 405, 413].contains(&response.status()), "{response:?}");
    page(response);
    assert_eq!(response.header("location"), None);
    "error page"
}

/// Returns the text of a page. Checks that its headers are safe and that all markup is from the library.
fn page(response: &Response) -> &str {
    answer::check_headers(response);
    assert_eq!(response.header("location"), None);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.header("x-frame-options"), Some("DENY"));
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    assert!(response.header("content-security-policy").is_some_and(|policy| policy.contains("frame-ancestors 'none'")));
    let html = str::from_utf8(response.body()).expect("UTF-8");
    for tag in html.split('<').skip(1) {
        let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
        assert!(MARKUP.contains(&name), "{tag}");
    }
    html
}

fn error(response: &Response, route: &Route<'_>) -> &'static str {
    if route.is_out_of_band() {
        assert_eq!(response.status(), 400, "{response:?}");
        page(response);
        return "error page instead of out of band";
    }
    if route.asks_first {
        assert_eq!(response.status(), 400, "{response:?}");
        let html = page(response);
        let (_, after) = html.split_once("href=\"").expect("a link");
        let (link, _) = after.split_once('"').expect("the end of the link");
        assert!(link.starts_with(&escape(route.target)), "{link}");
        assert!(link.split('&').skip(1).all(|rest| rest.starts_with("amp;") || rest.starts_with("#39;")), "{link}");
        let unescaped = link.replace("&#39;", "'").replace("&amp;", "&");
        let answer = answer_of(&unescaped, route);
        assert!(AUTHORIZATION_ERRORS.contains(&&*answer["error"]), "{answer:?}");
        return "question before the error redirect";
    }
    let answer = redirect(response, route);
    assert!(AUTHORIZATION_ERRORS.contains(&&*answer["error"]), "{answer:?}");
    let names: Vec<&str> = answer.keys().map(String::as_str).collect();
    assert_eq!(names, ["error", "error_description"]);
    "error redirect"
}

fn redirect(response: &Response, route: &Route<'_>) -> BTreeMap<String, String> {
    answer::check_headers(response);
    assert_eq!((response.status(), response.body()), (303, &b""[..]), "RFC 9700 §4.12");
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    let locations: Vec<&str> =
        response.headers().filter(|(name, _)| *name == "location").map(|(_, value)| value).collect();
    let [location] = locations[..] else { panic!("one location: {locations:?}") };
    answer_of(location, route)
}

/// Returns the parameters of a redirect. Checks and removes those that every redirect has: the issuer and the state.
/// The redirect must lead to the redirect URI of the client.
fn answer_of(location: &str, route: &Route<'_>) -> BTreeMap<String, String> {
    let added = location.strip_prefix(route.target).expect("the redirect URI, character for character");
    let separator = match (route.in_fragment, route.target.find('?')) {
        (true, _) => "#",
        (false, None) => "?",
        (false, Some(at)) if at + 1 == route.target.len() => "",
        (false, Some(_)) => "&",
    };
    let added = added.strip_prefix(separator).expect("the separator");
    assert!(added.starts_with(|first: char| first.is_ascii_lowercase()), "{added}");
    assert!(added.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%+=&-._*".contains(&byte)), "{added}");

    let (url, target) = (Url::parse(location).expect("a URL"), Url::parse(route.target).expect("a URL"));
    assert_eq!((url.scheme(), url.host(), url.port()), (target.scheme(), target.host(), target.port()));
    assert_eq!(url.fragment().is_some(), route.in_fragment);

    let pairs: Vec<(String, String)> = form_urlencoded::parse(added.as_bytes()).into_owned().collect();
    let mut members: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(members.len(), pairs.len(), "each once: {added}");
    assert_eq!(members.remove("iss").as_deref(), Some(ISSUER), "RFC 9207 §2");
    assert_eq!(members.remove("state").as_deref(), route.state, "exactly what was sent");
    members
}

/// A request that alice may approve.
enum Decidable {
    Asked(Consent),
    NotAsked(Proceed),
}

impl Decidable {
    fn request(&self) -> &PendingAuthorization {
        match self {
            Self::Asked(consent) => consent.request(),
            Self::NotAsked(proceed) => proceed.request(),
        }
    }
}

/// Takes a request to the decision of alice, who logs in and chooses her account each time she is asked. Returns the
/// response as an error if the request allows no page.
fn until_decided(world: &World, mut pending: PendingAuthorization, alice: &UserSession) -> Result<Decidable, Response> {
    for _ in 0..3 {
        let target = match block_on(pending.interaction(Some(alice))) {
            Interaction::Consent(consent) => return Ok(Decidable::Asked(consent)),
            Interaction::Proceed(proceed) => return Ok(Decidable::NotAsked(proceed)),
            Interaction::Respond(response) => return Err(response),
            Interaction::Login(login) => login.return_target(),
            Interaction::SelectAccount(accounts) => accounts.return_target(),
        };
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>".contains(&byte)), "{target}");
        assert_eq!(world.server.check_return_target(&target), Some(&*target));
        let AuthorizationOutcome::Pending(again) = block_on(world.server.authorize(&Request::get(target))) else {
            panic!("a request that came back from login was refused")
        };
        pending = again;
    }
    panic!("the request runs in circles: {pending:?}")
}

/// Seals the request for a session and opens it again. Checks that another session can't open it.
fn through_a_form(world: &World, consent: &Consent) -> Consent {
    let token = consent.form_token("the session of alice");
    assert!(token.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>&".contains(&byte)), "fit for a hidden field");
    let stranger =
        block_on(world.server.resume(&token, "the session of bobby")).expect_err("it is bound to the session");
    error_page(&stranger.into());
    let cut = token.get(..token.len() - 1).unwrap_or_default();
    error_page(&block_on(world.server.resume(cut, "the session of alice")).expect_err("it is sealed").into());
    let resumed = block_on(world.server.resume(&token, "the session of alice")).expect("the form token opens");
    let (before, after) = (consent.request(), resumed.request());
    assert_eq!((after.client().id(), after.scope()), (before.client().id(), before.scope()));
    assert_eq!(after.redirect_host(), before.redirect_host());
    for name in ["state", "prompt", "max_age", "acr_values", "login_hint", "code_challenge"] {
        assert_eq!(after.parameter(name), before.parameter(name), "{name}");
    }
    resumed
}

fn decide(world: &World, pending: PendingAuthorization, asked: &Asked<'_>, flags: Flags) -> &'static str {
    let route = &asked.route;
    let late = OffsetDateTime::from_unix_timestamp(4_102_444_800).expect("the year 2100");
    let alice = UserSession::new(Subject::new("alice").expect("a subject")).authenticated_at(late);
    let decidable = match until_decided(world, pending, &alice) {
        Ok(Decidable::Asked(consent)) if flags.has(16) => Decidable::Asked(through_a_form(world, &consent)),
        Ok(decidable) => decidable,
        Err(response) => return error(&response, route),
    };
    assert_eq!(decidable.request().client().id().as_str(), asked.client.id);
    assert_eq!(decidable.request().scope().as_str(), asked.scope.join(" "));
    assert_eq!(decidable.request().scopes().count(), asked.scope.len());
    if flags.has(8) {
        let response = match decidable {
            Decidable::Asked(consent) => block_on(consent.deny()),
            Decidable::NotAsked(proceed) => proceed.deny(),
        };
        assert!(response.code().is_none() && response.access_token().is_none());
        let response = response.into_http();
        if route.is_out_of_band() {
            page(&response);
            return "denied out of band";
        }
        assert_eq!(redirect(&response, route)["error"], "access_denied");
        return "denied";
    }
    let response = match decidable {
        Decidable::Asked(consent) => block_on(consent.approve(Approval::by(&alice))),
        Decidable::NotAsked(proceed) => block_on(proceed.approve()),
    };
    assert_eq!((response.redirect_uri(), response.state()), (route.target, route.state));
    if asked.is_token {
        return token(world, &response.into_http(), asked);
    }
    let code = response.code().expect("a code").expose().to_owned();
    let response = response.into_http();
    let outcome = if route.is_out_of_band() {
        assert!(page(&response).contains(&format!("<code>{code}</code>")));
        "code out of band"
    } else {
        assert_eq!(redirect(&response, route), BTreeMap::from([("code".to_owned(), code.clone())]));
        "code"
    };
    redeem(world, &AuthorizationCode::new(code), asked);
    outcome
}

fn token(world: &World, response: &Response, asked: &Asked<'_>) -> &'static str {
    let answer = redirect(response, &asked.route);
    let names: Vec<&str> = answer.keys().map(String::as_str).collect();
    assert_eq!(names, ["access_token", "expires_in", "scope", "token_type"], "RFC 6749 §4.2.2: no refresh token");
    assert!(asked.route.in_fragment, "a token never travels in a query");
    assert_eq!((&*answer["scope"], &*answer["token_type"]), (&*asked.scope.join(" "), "Bearer"));
    works(world, &AccessToken::new(&*answer["access_token"]), asked);
    "token"
}

fn works(world: &World, token: &AccessToken, asked: &Asked<'_>) {
    let access = block_on(world.server.bearer_request(&BearerRequest::of(token)))
        .expect("it is live")
        .require(&asked.scope.join(" "));
    let access = access.expect("it has the scope");
    assert_eq!((access.client_id().as_str(), access.user().expect("a user").as_str()), (asked.client.id, "alice"));
}

/// Redeems a code. Checks that it works once, and only for its client with all bindings.
fn redeem(world: &World, code: &AuthorizationCode, asked: &Asked<'_>) {
    let (known, wrong) = (CodeVerifier::new(VERIFIER), CodeVerifier::new("w".repeat(43)));
    let secret = asked.client.secrets.first().map(|secret| ClientSecret::new(*secret));
    let attempt = |client_id: &'static str, redirect_uri: Option<&str>, verifier: Option<&CodeVerifier>| {
        let mut request = TokenRequest::authorization_code(code);
        if let Some(uri) = redirect_uri {
            request = request.redirect_uri(uri);
        }
        if let Some(verifier) = verifier {
            request = request.code_verifier(verifier);
        }
        let request = match &secret {
            Some(secret) if client_id == asked.client.id => request.client_secret_basic(client_id, secret),
            _ => request.client_id(client_id),
        };
        block_on(world.server.token_request(&request))
    };
    let sent = asked.redirect_uri_was_sent.then_some(asked.route.target);
    let verifier = (asked.proof != Proof::None).then_some(&known);

    let other = if asked.client.id == "spa" { "native" } else { "spa" };
    attempt(other, sent, verifier).expect_err("it is another client's");
    attempt(asked.client.id, Some("https://evil.example/"), verifier).expect_err("it was sent elsewhere");
    attempt(asked.client.id, sent, Some(&wrong)).expect_err("this is not the verifier");
    if asked.proof != Proof::None {
        attempt(asked.client.id, sent, None).expect_err("there was a challenge");
    }
    if asked.redirect_uri_was_sent {
        attempt(asked.client.id, None, verifier).expect_err("RFC 6749 §4.1.3");
    }
    let tokens = attempt(asked.client.id, sent, verifier);
    if asked.proof == Proof::Unknown {
        tokens.expect_err("nobody knows this verifier");
        return;
    }
    let tokens = tokens.expect("it is the client with all it needs");
    assert_eq!(tokens.scope.as_str(), asked.scope.join(" "));
    assert_eq!(tokens.refresh_token.is_some(), asked.client.uses("refresh_token"));
    works(world, &tokens.access_token, asked);
    attempt(asked.client.id, sent, verifier).expect_err("a code works once");
    let access = block_on(world.server.bearer_request(&BearerRequest::of(&tokens.access_token)));
    access.expect_err("RFC 6749 §4.1.2: a replay ends what the code gave");
}
