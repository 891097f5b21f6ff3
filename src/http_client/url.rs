//! The checks of a URL that need no network.

use super::policy::FetchPolicy;
use crate::error::UrlError;
use crate::web_url::{WebUrl, WebUrlError};

/// The maximum length of a URL.
const MAX_URL: usize = 2_048;

/// The maximum length of a host name (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// Top-level names that do not belong to public hosts: special names (RFC 6761, RFC 6762, RFC 7686, RFC 9476), and names
/// that private networks use (SAC 113).
const PRIVATE_NAMES: [&str; 14] = [
    "alt",
    "arpa",
    "corp",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
    "test",
];

/// Checks the form of a URL that a client registers, with any port. The loopback interface is allowed; each fetch checks
/// whether the policy allows it, too.
#[cfg(feature = "jwt")]
pub(crate) fn check_registered_url(text: &str) -> Result<(), UrlError> {
    let url = parse(text)?;
    if url.is_loopback_address() || url.is_localhost() {
        return if is_as_written(&url) { Ok(()) } else { Err(UrlError::Malformed) };
    }
    check_public(&url)
}

/// Checks the form of a URL, and returns its host.
pub(crate) fn check_url(text: &str, policy: &FetchPolicy) -> Result<Box<str>, UrlError> {
    let url = parse(text)?;
    let is_loopback = url.is_loopback_address() || url.is_localhost();
    if is_loopback && policy.allow_loopback_for_development {
        return if is_as_written(&url) { Ok(url.host().into()) } else { Err(UrlError::Malformed) };
    }
    check_public(&url)?;
    let is_allowed = url.port().is_some_and(|port| policy.allowed_ports.contains(&port));
    if is_allowed { Ok(url.host().into()) } else { Err(UrlError::Port) }
}

fn check_public(url: &WebUrl<'_>) -> Result<(), UrlError> {
    if !url.is_https() {
        return Err(UrlError::Scheme);
    }
    // The parser turns decimal, octal and hexadecimal numbers into addresses, as browsers do.
    if url.is_address() {
        return Err(UrlError::Address);
    }
    if !is_as_written(url) {
        return Err(UrlError::Malformed);
    }
    if is_public_name(url.host()) { Ok(()) } else { Err(UrlError::Name) }
}

fn parse(text: &str) -> Result<WebUrl<'_>, UrlError> {
    if text.len() > MAX_URL {
        return Err(UrlError::TooLong);
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    if !text.bytes().all(is_plain) {
        return Err(UrlError::Malformed);
    }
    if text.contains('#') {
        return Err(UrlError::Fragment);
    }
    WebUrl::parse(text).map_err(|error| match error {
        WebUrlError::UserInfo => UrlError::UserInfo,
        WebUrlError::NotAbsolute if has_other_scheme(text) => UrlError::Scheme,
        WebUrlError::NotAbsolute | WebUrlError::NoHost => UrlError::Malformed,
    })
}

fn has_other_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        is_scheme && !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http")
    })
}

/// Returns whether the parser found the same host and port that the text shows.
fn is_as_written(url: &WebUrl<'_>) -> bool {
    let written = url.authority().to_ascii_lowercase();
    let rest = written.strip_prefix(url.host());
    rest == Some("") || url.port().is_some_and(|port| rest == Some(&format!(":{port}")))
}

/// Returns whether a name in lower case could be that of a public host.
fn is_public_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let has_ends = !label.starts_with('-') && !label.ends_with('-');
        has_ends && (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let Some((_, last)) = name.rsplit_once('.') else { return false };
    let is_private = PRIVATE_NAMES.contains(&last) || last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= MAX_NAME && name.split('.').all(is_label) && !is_private
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_https_urls_are_allowed() {
        let policy = FetchPolicy::default();
        for (url, host) in [
            ("https://a.example", "a.example"),
            ("https://A.Example/jwks?b=c%20d", "a.example"),
            ("https://a.example:443/", "a.example"),
            ("https://xn--bcher-kva.example/~a/b;c", "xn--bcher-kva.example"),
            ("https://1.2.3.4.example/", "1.2.3.4.example"),
            ("https://0x7f.example/", "0x7f.example"),
        ] {
            assert_eq!(check_url(url, &policy).as_deref(), Ok(host), "{url}");
        }
        let long = format!("https://a.example/{}", "x".repeat(MAX_URL - 18));
        assert!(check_url(&long, &policy).is_ok());
        assert_eq!(check_url(&format!("{long}x"), &policy), Err(UrlError::TooLong));
    }

    #[test]
    fn urls_of_other_forms_are_refused() {
        let policy = FetchPolicy::default();
        for (url, error) in [
            ("", UrlError::Malformed),
            ("/jwks", UrlError::Malformed),
            ("//a.example/", UrlError::Malformed),
            ("a.example", UrlError::Malformed),
            ("https:a.example", UrlError::Malformed),
            ("https:///a.example", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https:\\\\a.example", UrlError::Malformed),
            ("https://a.example\\@b.example", UrlError::Malformed),
            (" https://a.example", UrlError::Malformed),
            ("https://a.example/\n", UrlError::Malformed),
            ("https://a.exam\tple/", UrlError::Malformed),
            ("https://b\u{fc}cher.example/", UrlError::Malformed),
            ("https://a\u{3002}example/", UrlError::Malformed),
            ("https://a.example/\u{e4}", UrlError::Malformed),
            ("https://%61.example/", UrlError::Malformed),
            ("https://a.example:0443/", UrlError::Malformed),
            ("https://a.example:/", UrlError::Malformed),
            ("https://a.example:99999/", UrlError::Malformed),
            ("https://[fe80::1%25eth0]/", UrlError::Malformed),
            ("https://[::1/", UrlError::Malformed),
            ("https://1.2.3.4.5/", UrlError::Malformed),
            ("http://a.example/", UrlError::Scheme),
            ("ftp://a.example/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("gopher://a.example/", UrlError::Scheme),
            ("javascript:alert(1)", UrlError::Scheme),
            ("data:application/json,1", UrlError::Scheme),
            ("wss://a.example/", UrlError::Scheme),
            ("https+unix://a.example/", UrlError::Scheme),
            ("https://user@a.example/", UrlError::UserInfo),
            ("https://user:pass@a.example/", UrlError::UserInfo),
            ("https://@a.example/", UrlError::UserInfo),
            ("https://a.example@127.0.0.1/", UrlError::UserInfo),
            ("https://a.example/#", UrlError::Fragment),
            ("https://a.example#@127.0.0.1/", UrlError::Fragment),
            ("https://a.example:80/", UrlError::Port),
            ("https://a.example:22/", UrlError::Port),
            ("https://a.example:0/", UrlError::Port),
            ("https://a.example:8443/", UrlError::Port),
        ] {
            assert_eq!(check_url(url, &policy), Err(error), "{url:?}");
        }
    }

    #[test]
    fn ip_literals_are_refused_in_all_spellings() {
        let policy = FetchPolicy::default();
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "0",
            "0.0.0.0",
            "2130706433",
            "017700000001",
            "0177.0.0.1",
            "0x7f000001",
            "0x7f.0.0.1",
            "0x7f.1",
            "0X7F.0.0.1",
            "%31%32%37.0.0.1",
            "127.0.0.1.",
            "8.8.8.8",
            "169.254.169.254",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[0:0:0:0:0:0:0:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:4860:4860::8888]",
            "[FE80::1]",
            "4294967295",
        ] {
            assert_eq!(check_url(&format!("https://{host}/"), &policy), Err(UrlError::Address), "{host}");
        }
    }

    #[test]
    fn names_that_are_not_public_are_refused() {
        let policy = FetchPolicy::default();
        let (long_label, long_name) = (format!("{}.example", "a".repeat(64)), format!("{}example", "a.".repeat(124)));
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "intranet",
            "a",
            "printer.local",
            "a.internal",
            "metadata.google.internal",
            "a.onion",
            "router.lan",
            "a.home.arpa",
            "1.0.0.127.in-addr.arpa",
            "localhost.localdomain",
            "a.test",
            "a.invalid",
            "a.corp",
            "a.example.",
            "a..example",
            "-a.example",
            "a-.example",
            "a_b.example",
            "a.b*.example",
            &long_label,
            &long_name,
        ] {
            assert_eq!(check_url(&format!("https://{host}/"), &policy), Err(UrlError::Name), "{host}");
        }
    }

    #[test]
    fn loopback_switch_allows_loopback_and_nothing_else() {
        let mut policy = FetchPolicy::default();
        let urls = ["http://localhost:8080/jwks", "http://127.0.0.1:1/", "https://[::1]:8443/", "https://localhost/"];
        assert!(urls.iter().all(|url| check_url(url, &policy).is_err()));
        policy.allow_loopback_for_development = true;
        assert!(urls.iter().all(|url| check_url(url, &policy).is_ok()));
        for (url, error) in [
            ("http://127.1/", UrlError::Malformed),
            ("http://0x7f.0.0.1/", UrlError::Malformed),
            ("http://2130706433/", UrlError::Malformed),
            ("http://127.0.0.2/", UrlError::Scheme),
            ("https://127.0.0.2/", UrlError::Address),
            ("https://0.0.0.0/", UrlError::Address),
            ("https://[::ffff:127.0.0.1]/", UrlError::Address),
            ("https://10.0.0.1/", UrlError::Address),
            ("http://a.example/", UrlError::Scheme),
            ("https://a.localhost/", UrlError::Name),
            ("https://a.example:8443/", UrlError::Port),
        ] {
            assert_eq!(check_url(url, &policy), Err(error), "{url}");
        }
        policy.allowed_ports.insert(8443);
        assert!(check_url("https://a.example:8443/", &policy).is_ok());
    }
}
