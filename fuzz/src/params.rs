//! Forms and queries: [`grantor::Params`], and the errors of the token endpoint for malformed forms.
//!
//! The input is a form. The result is compared with a strict decoder of this crate. If nothing is lost, it is also
//! compared with the lossy decoder `form_urlencoded`.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use grantor::{Params, Refusal, Request};
use url::form_urlencoded;

use crate::answer;
use crate::form::Form;
use crate::world::{self, block_on};

pub const OUTCOMES: [&str; 5] = ["empty", "malformed", "repeated", "without grant type", "with grant type"];

/// Names to look up, even if the input does not contain them.
const NAMES: [&str; 8] = ["", "a", "b", "code", "client_id", "grant_type", "\u{e9}", "a b"];

/// A global and not a thread-local, because the fuzzer would report memory that only a thread refers to as leaked.
static SHORT_NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

thread_local! {
    static SERVER: grantor::AuthorizationServer = world::empty();
}

pub fn check(data: &[u8]) -> &'static str {
    let (params, form) = (Params::decode(data), Form::read(data));
    let short = form.pairs.iter().filter_map(|(name, _)| name.as_deref()).filter(|name| name.len() <= 2);
    for name in NAMES.into_iter().chain(short.map(interned)) {
        compare(&params, &form, name);
    }
    assert!(!format!("{params:?}").contains('%'), "Debug shows nothing of the form");
    if form.is_well_formed() {
        nothing_is_lost(data, &form);
    }
    the_token_endpoint_agrees(data, &form)
}

/// Returns a static copy of a name, which `Params::get` needs. There are few names of two bytes.
fn interned(name: &str) -> &'static str {
    let mut names = SHORT_NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.into());
    names.insert(name);
    name
}

fn compare(params: &Params<'_>, form: &Form, name: &'static str) {
    let expected = match form.values(name)[..] {
        [] | [Some("")] => Ok(None),
        [Some(value)] => Ok(Some(value)),
        [None] => Err(Refusal::MalformedEncoding),
        _ => Err(Refusal::RepeatedParameter(name)),
    };
    assert_eq!(params.get(name), expected, "{name:?}");
    let required = expected.and_then(|value| value.ok_or(Refusal::MissingParameter(name)));
    assert_eq!(params.require(name), required, "{name:?}");
}

/// Checks that the lossy decoder agrees with the strict one, and that encoding and decoding again gives the same
/// values.
fn nothing_is_lost(data: &[u8], form: &Form) {
    let texts =
        form.pairs.iter().map(|(name, value)| (name.clone().unwrap_or_default(), value.clone().unwrap_or_default()));
    let texts: Vec<(String, String)> = texts.collect();
    assert_eq!(form_urlencoded::parse(data).into_owned().collect::<Vec<_>>(), texts);

    let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&texts).finish();
    let again = Params::decode(encoded.as_bytes());
    let lone: Vec<(String, String)> = texts
        .iter()
        .filter(|(name, _)| texts.iter().filter(|(other, _)| name == other).count() == 1)
        .cloned()
        .collect();
    for (name, value) in lone.iter().filter(|(name, _)| name.len() <= 2) {
        assert_eq!(again.get(interned(name)), Ok((!value.is_empty()).then_some(&**value)), "{encoded}");
    }
}

/// Checks that the token endpoint reports encoding errors and repetitions before all other errors.
fn the_token_endpoint_agrees(data: &[u8], form: &Form) -> &'static str {
    let answer = SERVER.with(|server| block_on(server.token(&Request::post_form("/token", data))));
    let error = answer::error(&answer);
    let (expected, outcome) = if form.pairs.is_empty() {
        ("the parameter grant_type is missing", "empty")
    } else if !form.is_well_formed() {
        ("the parameters have an invalid percent-escape or are not UTF-8", "malformed")
    } else if !form.is_acceptable(&world::TOKEN_PARAMETERS) {
        ("occurs more than once", "repeated")
    } else if form.one("grant_type").is_none() {
        ("the parameter grant_type is missing", "without grant type")
    } else {
        // The server has no clients, so client authentication fails at the latest.
        return "with grant type";
    };
    assert_eq!((error.status, &*error.code), (400, "invalid_request"), "{outcome}: {}", error.description);
    assert!(error.description.ends_with(expected), "{outcome}: {}", error.description);
    outcome
}
