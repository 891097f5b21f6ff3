//! The rules for registering redirect URIs, and their comparison with requested ones.
//!
//! The first line of the input is a URI to register. Each further line is a requested URI.

use grantor::client::{RedirectUri, RedirectUriClass};
use url::{Host, Url};

pub const OUTCOMES: [&str; 8] =
    ["not text", "not registered", "https", "loopback", "localhost", "private use", "undotted scheme", "out of band"];

pub fn check(data: &[u8]) -> &'static str {
    let Ok(text) = str::from_utf8(data) else { return "not text" };
    let mut lines = text.split('\n');
    let first = lines.next().unwrap_or_default();
    let Ok(registered) = RedirectUri::parse(first) else {
        assert!(!is_certainly_fit(first), "{first:?} may be registered");
        return "not registered";
    };
    assert_eq!(registered.as_str(), first, "kept as it is");
    check_registered(&registered);
    for requested in lines.chain([first]) {
        let expected = requested == first || has_free_port(registered.class()) && differ_in_port_only(first, requested);
        assert_eq!(registered.matches(requested), expected, "{first:?} {requested:?}");
        if expected {
            leads_to_the_same_place(first, requested);
        }
    }
    match registered.class() {
        RedirectUriClass::Https => "https",
        RedirectUriClass::Loopback => "loopback",
        RedirectUriClass::Localhost => "localhost",
        RedirectUriClass::PrivateUse => "private use",
        RedirectUriClass::UndottedScheme => "undotted scheme",
        RedirectUriClass::OutOfBand => "out of band",
        other => panic!("a new class: {other:?}"),
    }
}

/// Checks the rules for registered URIs with another parser.
pub(crate) fn check_registered(uri: &RedirectUri) {
    let text = uri.as_str();
    let again = serde_json::to_string(uri).and_then(|json| serde_json::from_str::<RedirectUri>(&json));
    assert_eq!(&again.expect("it can be stored"), uri);
    if text == "urn:ietf:wg:oauth:2.0:oob" {
        return assert_eq!(uri.class(), RedirectUriClass::OutOfBand);
    }
    assert!(text.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && !b"#\\\"<>^`{|}".contains(&byte)), "{text:?}");
    assert!(has_whole_escapes(text), "{text:?}");
    let url = Url::parse(text).expect("a URL");
    assert_eq!((url.username(), url.password(), url.fragment()), ("", None, None), "{text:?}");
    assert!(text.starts_with(&format!("{}:", url.scheme())), "{text:?}");
    let reserved = ["code", "state", "iss", "error", "error_description", "error_uri", "access_token", "token_type"];
    assert!(url.query_pairs().all(|(name, _)| !reserved.contains(&&*name)), "{text:?}");
    let has_authority = text.starts_with(&format!("{}://", url.scheme()));
    let class = match (url.scheme(), url.host()) {
        ("https", Some(_)) => RedirectUriClass::Https,
        ("http", Some(Host::Ipv4(ip))) if ip.octets() == [127, 0, 0, 1] => RedirectUriClass::Loopback,
        ("http", Some(Host::Ipv6(ip))) if ip.is_loopback() => RedirectUriClass::Loopback,
        ("http", Some(Host::Domain("localhost"))) => RedirectUriClass::Localhost,
        (scheme, None) if scheme.contains('.') && !has_authority && !url.cannot_be_a_base() => {
            RedirectUriClass::PrivateUse
        }
        (scheme, _) if (!scheme.contains('.') || has_authority) && !url.cannot_be_a_base() && !is_special(scheme) => {
            RedirectUriClass::UndottedScheme
        }
        other => panic!("{text:?}: {other:?}"),
    };
    assert_eq!(uri.class(), class, "{text:?}");
    if class != RedirectUriClass::UndottedScheme
        && let Some(split) = Split::of(text)
    {
        assert_eq!(Some(split.host), url.host_str(), "the host that a user reads is the one that is asked: {text:?}");
    }
}

/// Returns whether the scheme leads into the browser or to a file.
fn is_special(scheme: &str) -> bool {
    ["http", "https", "ws", "wss", "ftp", "file", "data", "blob", "javascript", "vbscript", "about"].contains(&scheme)
}

fn has_whole_escapes(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// Checks with another parser that a matching request leads to the registered place, except for the port.
fn leads_to_the_same_place(registered: &str, requested: &str) {
    let parts = |text: &str| {
        let url = Url::parse(text).expect("a URL");
        assert_eq!((url.username(), url.password(), url.fragment()), ("", None, None), "{text:?}");
        (
            url.scheme().to_owned(),
            url.host().map(|host| host.to_owned()),
            url.path().to_owned(),
            url.query().map(String::from),
        )
    };
    assert_eq!(parts(registered), parts(requested));
}

pub(crate) fn has_free_port(class: RedirectUriClass) -> bool {
    matches!(class, RedirectUriClass::Loopback | RedirectUriClass::Localhost)
}

/// The parts of a hierarchical URI (RFC 3986 §3).
struct Split<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Split<'a> {
    fn of(uri: &'a str) -> Option<Self> {
        let (scheme, after) = uri.split_once("://").filter(|(scheme, _)| !scheme.contains([':', '/']))?;
        let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
        let end = if authority.starts_with('[') {
            authority.find(']')? + 1
        } else {
            authority.find(':').unwrap_or(authority.len())
        };
        let (host, port) = authority.split_at(end);
        let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
        Some(Self { scheme, host, port, rest })
    }

    fn has_a_port_number_if_any(&self) -> bool {
        self.port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|number| number.to_string() == port)
        })
    }
}

/// Returns whether two URIs differ only in their port. On the loopback interface, the app chooses the port (RFC 8252
/// §7.3).
pub(crate) fn differ_in_port_only(registered: &str, requested: &str) -> bool {
    let (Some(a), Some(b)) = (Split::of(registered), Split::of(requested)) else { return false };
    let is_loopback = ["127.0.0.1", "[::1]", "localhost"].contains(&a.host);
    is_loopback
        && (a.scheme, a.host, a.rest) == (b.scheme, b.host, b.rest)
        && a.scheme == "http"
        && b.has_a_port_number_if_any()
        && requested.len() <= 2_048
}

/// Returns whether the text is a plain https URI, which must always be accepted.
fn is_certainly_fit(text: &str) -> bool {
    let Some(split) = Split::of(text) else { return false };
    let is_label =
        |label: &str| !label.is_empty() && label.len() < 64 && label.bytes().all(|byte| byte.is_ascii_lowercase());
    let port =
        split.port.is_none_or(|port| !port.starts_with('0') && port.parse::<u16>().is_ok_and(|port| port != 443));
    let plain_path = split.rest.is_empty()
        || split.rest.starts_with('/') && split.rest.bytes().all(|byte| byte == b'/' || byte.is_ascii_alphanumeric());
    split.scheme == "https"
        && text.len() <= 2_000
        && split.host.len() < 250
        && split.host.split('.').all(is_label)
        && port
        && plain_path
}
