//! Checks that apply to every response.

use std::collections::BTreeMap;

use grantor::Response;
use serde_json::{Map, Value};

/// The error codes of RFC 6749 §5.2, which RFC 7009 and RFC 7662 use, too.
const TOKEN_ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// An error of the token endpoint.
#[derive(Debug)]
pub(crate) struct TokenError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) description: String,
}

/// Checks that no header can inject another one, and that caches must not store the response.
pub(crate) fn check_headers(response: &Response) {
    for (name, value) in response.headers() {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        assert!(value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{name}: {value:?}");
    }
    assert_eq!(all(response, "cache-control"), ["no-store"], "RFC 6749 §5.1");
    assert_eq!(all(response, "pragma"), ["no-cache"], "RFC 6749 §5.1");
}

fn all<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    response.headers().filter(|(own, _)| *own == name).map(|(_, value)| value).collect()
}

/// Returns the members of a JSON response.
pub(crate) fn json(response: &Response) -> Map<String, Value> {
    check_headers(response);
    assert_eq!(all(response, "content-type"), ["application/json"]);
    match serde_json::from_slice(response.body()) {
        Ok(Value::Object(members)) => members,
        other => panic!("not an object: {other:?}"),
    }
}

/// Reads and checks an error response (RFC 6749 §5.2).
pub(crate) fn error(response: &Response) -> TokenError {
    let members = json(response);
    let names: Vec<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(names, ["error", "error_description"]);
    let text = |name: &str| members[name].as_str().expect("a text").to_owned();
    let error = TokenError { status: response.status(), code: text("error"), description: text("error_description") };
    assert!(TOKEN_ERRORS.contains(&&*error.code), "{error:?}");
    assert!(error.description.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{error:?}");

    let expected: &[u16] = if error.code == "invalid_client" { &[401] } else { &[400, 405, 413] };
    assert!(expected.contains(&error.status), "{error:?}");
    let allow: &[&str] = if error.status == 405 { &["POST"] } else { &[] };
    assert_eq!(all(response, "allow"), allow, "RFC 9110 §15.5.6");
    match &all(response, "www-authenticate")[..] {
        [] => assert_ne!(error.status, 401, "RFC 9110 §15.5.2"),
        [value] => {
            assert_eq!(error.status, 401);
            let (scheme, parameters) = challenge(value);
            assert_eq!((scheme, parameters.get("realm")), ("Basic", Some(&crate::world::ISSUER)));
        }
        several => panic!("{several:?}"),
    }
    error
}

/// Reads one challenge (RFC 9110 §11.6.1) and returns its scheme and parameters. All parameters must be quoted, without
/// escapes.
pub(crate) fn challenge(value: &str) -> (&str, BTreeMap<&str, &str>) {
    let (scheme, mut rest) = value.split_once(' ').expect("a scheme and parameters");
    assert!(scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{value}");
    let mut parameters = BTreeMap::new();
    loop {
        let (name, quoted) = rest.split_once("=\"").expect("a name and a quoted value");
        let (text, tail) = quoted.split_once('"').expect("the end of the value");
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{value}");
        assert!(!text.contains('\\'), "{value}");
        assert_eq!(parameters.insert(name, text), None, "each once: {value}");
        if tail.is_empty() {
            return (scheme, parameters);
        }
        rest = tail.strip_prefix(", ").expect("a comma between parameters");
    }
}
