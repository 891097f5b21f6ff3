//! Redirect URIs: what may be registered (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1) and when a requested one matches.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::text_form::text_form;
use crate::web_url::{WebUrl, WebUrlError};

/// A redirect URI that is fit to be registered.
///
/// It is an `https` URI, an `http` URI on the loopback interface, one with a private-use scheme, or the out-of-band value. Everything
/// else, script-capable schemes above all, is refused.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri {
    text: Arc<str>,
    class: RedirectUriClass,
}

/// What sort of place a [`RedirectUri`] leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedirectUriClass {
    /// An `https` URI: a web site, or an app that claimed it.
    Https,
    /// `http` on `127.0.0.1` or `[::1]`; the port is free (RFC 8252 §7.3).
    Loopback,
    /// `http` on `localhost`; the port is free. For native apps, and for clients with
    /// [`localhost_for_development`](super::ClientParts::localhost_for_development).
    Localhost,
    /// A private-use scheme in reverse domain notation (RFC 8252 §7.1). For native apps only.
    PrivateUse,
    /// A private-use scheme without a dot, such as `cursor://callback`, or with two slashes, such as `com.example.app://callback`. Any
    /// app can claim a name without a dot, and two slashes are against RFC 8252 §7.1. For native apps with
    /// [`undotted_schemes`](super::ClientParts::undotted_schemes) only, if [`Policy::undotted_schemes`](crate::Policy::undotted_schemes)
    /// lists the scheme.
    UndottedScheme,
    /// `urn:ietf:wg:oauth:2.0:oob`: the code is shown to the user instead of redirected. A legacy habit that must be
    /// switched on.
    OutOfBand,
}

/// Why a text is not fit to be registered as a redirect URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectUriError {
    /// Not an absolute URI, or one with characters or escapes that RFC 3986 does not allow.
    #[error("a redirect URI is an absolute URI without spaces, non-ASCII characters or broken escapes")]
    NotAbsolute,
    /// It has a fragment, if only an empty one.
    #[error("a redirect URI has no fragment")]
    Fragment,
    /// It has a user name or password.
    #[error("a redirect URI has no user name or password")]
    UserInfo,
    /// `http` on a host that is not the loopback interface.
    #[error("a redirect URI with http leads to 127.0.0.1, [::1] or localhost")]
    PlainHttp,
    /// The host is missing, has a wildcard, or is written in a form that hides it.
    #[error("a redirect URI names one host, in lower case and without escapes")]
    Host,
    /// A scheme that browsers or the operating system use, or one without a slash after the colon.
    #[error("a redirect URI has the scheme https, or a private-use one such as com.example.app:/callback")]
    Scheme,
    /// Its query uses the name of a response parameter.
    #[error("the query of a redirect URI does not use the name of a response parameter")]
    ResponseParameter,
}

/// The bytes of the longest redirect URI.
const LONGEST: usize = 2048;

/// Parameters that an authorization response adds; they could not be told from a registered query's own.
const RESPONSE_PARAMETERS: [&str; 10] = [
    "code",
    "state",
    "iss",
    "error",
    "error_description",
    "error_uri",
    "access_token",
    "token_type",
    "expires_in",
    "scope",
];

/// Schemes without a dot that no app can have as its own: they run scripts, read files, show other content or start system programs.
const FORBIDDEN_SCHEMES: [&str; 50] = [
    "about",
    "android-app",
    "app",
    "blob",
    "chrome",
    "chrome-extension",
    "chrome-untrusted",
    "cid",
    "content",
    "data",
    "devtools",
    "file",
    "filesystem",
    "ftp",
    "ftps",
    "googlechrome",
    "http",
    "https",
    "intent",
    "jar",
    "javascript",
    "ldap",
    "livescript",
    "localhost",
    "mailto",
    "market",
    "mhtml",
    "microsoft-edge",
    "mid",
    "mk",
    "moz-extension",
    "ms-its",
    "ms-msdt",
    "ms-settings",
    "res",
    "resource",
    "search",
    "search-ms",
    "sftp",
    "shell",
    "sms",
    "ssh",
    "tel",
    "telnet",
    "urn",
    "vbscript",
    "view-source",
    "ws",
    "wss",
    "xmpp",
];

/// Returns the scheme from the list of those that are never allowed, if it is on it.
pub(crate) fn forbidden_scheme(scheme: &str) -> Option<&'static str> {
    FORBIDDEN_SCHEMES.into_iter().find(|forbidden| *forbidden == scheme)
}

/// Returns the scheme of a URI.
pub(crate) fn scheme(uri: &str) -> &str {
    uri.split(':').next().unwrap_or(uri)
}

impl RedirectUri {
    /// The value that asks for the code to be shown to the user.
    pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

    /// Checks that a text is fit to be registered. The text is kept as it is and never normalised.
    ///
    /// # Errors
    /// See [`RedirectUriError`].
    pub fn parse(text: &str) -> Result<Self, RedirectUriError> {
        let class = classify(text)?;
        Ok(Self { text: text.into(), class })
    }

    /// The text, exactly as it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> RedirectUriClass {
        self.class
    }

    /// Whether a requested URI is this one: equal as a string, save for the port of a loopback one
    /// (RFC 9700 §4.1.3, RFC 8252 §7.3).
    #[must_use]
    pub fn matches(&self, requested: &str) -> bool {
        if *self.text == *requested {
            return true;
        }
        let port_is_free = matches!(self.class, RedirectUriClass::Loopback | RedirectUriClass::Localhost);
        // What is requested is stored with the code.
        let fits = requested.len() <= LONGEST;
        port_is_free && fits && matches!((split_port(&self.text), split_port(requested)), (Some(a), Some(b)) if a == b)
    }

    pub(crate) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}

/// Returns what tells a user where a redirect leads: the host, or the scheme if it is a private-use one. A host after such a scheme
/// tells nothing, because the app that has the scheme gets the response whatever the host is.
pub(crate) fn display_host(uri: &str) -> &str {
    match uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://")) {
        Some(rest) => rest.split(['/', '?']).next().unwrap_or(rest),
        None => scheme(uri),
    }
}

fn classify(text: &str) -> Result<RedirectUriClass, RedirectUriError> {
    if text == RedirectUri::OUT_OF_BAND {
        return Ok(RedirectUriClass::OutOfBand);
    }
    if text.contains('#') {
        return Err(RedirectUriError::Fragment);
    }
    if text.len() > LONGEST || !text.bytes().all(is_uri_byte) || has_broken_escape(text) {
        return Err(RedirectUriError::NotAbsolute);
    }
    let url = Url::parse(text).map_err(|_| RedirectUriError::NotAbsolute)?;
    // The URL parser forgives what browsers forgive (`https:host`, `HTTPS://..`); a registration must not need that.
    let (scheme, rest) = text.split_once(':').ok_or(RedirectUriError::NotAbsolute)?;
    if scheme != url.scheme() {
        return Err(RedirectUriError::Scheme);
    }
    if url.query_pairs().any(|(name, _)| RESPONSE_PARAMETERS.contains(&name.as_ref())) {
        return Err(RedirectUriError::ResponseParameter);
    }
    match scheme {
        "https" | "http" => {
            let url = WebUrl::of(text, url).map_err(|error| match error {
                WebUrlError::NotAbsolute => RedirectUriError::NotAbsolute,
                WebUrlError::UserInfo => RedirectUriError::UserInfo,
                WebUrlError::NoHost => RedirectUriError::Host,
            })?;
            let (authority, host) = (url.authority(), url.host());
            // Written otherwise (`%2e`, `0x7f.1`), a host would not be recognised by the user who is shown it.
            let with_port = url.port().map(|port| format!("{host}:{port}"));
            if authority.contains('*') || authority != host && Some(authority) != with_port.as_deref() {
                return Err(RedirectUriError::Host);
            }
            if url.is_https() {
                Ok(RedirectUriClass::Https)
            } else if url.is_loopback_address() {
                Ok(RedirectUriClass::Loopback)
            } else if url.is_localhost() {
                Ok(RedirectUriClass::Localhost)
            } else {
                Err(RedirectUriError::PlainHttp)
            }
        }
        _ if scheme.contains('.') && rest.starts_with('/') && !rest.starts_with("//") => {
            Ok(RedirectUriClass::PrivateUse)
        }
        _ if !url.username().is_empty() || url.password().is_some() => Err(RedirectUriError::UserInfo),
        // A dotted one is here if two slashes follow. They begin an authority, which no such scheme has (RFC 8252 §7.1).
        _ if rest.starts_with('/') && forbidden_scheme(scheme).is_none() => Ok(RedirectUriClass::UndottedScheme),
        _ => Err(RedirectUriError::Scheme),
    }
}

/// The characters of RFC 3986, without `#`.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%:/?[]@!$&'()*+,;=".contains(&byte)
}

/// Whether a `%` is not followed by two digits (RFC 3986 §2.1). Clients that decode strictly could not read where they are.
fn has_broken_escape(text: &str) -> bool {
    let is_escaped =
        |rest: &str| matches!(rest.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    text.split('%').skip(1).any(|rest| !is_escaped(rest))
}

/// A loopback URI as its scheme and host, and all that follows the port. A port is written in one way only: leading zeros would make
/// any number of texts for one place.
fn split_port(uri: &str) -> Option<(&'static str, &str)> {
    const HOSTS: [&str; 3] = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
    let host = HOSTS.into_iter().find(|host| uri.starts_with(host))?;
    let mut rest = &uri[host.len()..];
    if let Some(port) = rest.strip_prefix(':') {
        let (digits, tail) = port.split_at(port.bytes().take_while(u8::is_ascii_digit).count());
        let is_padded = digits.len() > 1 && digits.starts_with('0');
        if is_padded || digits.parse::<u16>().is_err() {
            return None;
        }
        rest = tail;
    }
    // Anything else here would make the host a longer name, or everything so far a user name.
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedirectUri({})", self.text)
    }
}

text_form!(RedirectUri, RedirectUriError, RedirectUri::parse);

#[cfg(test)]
mod tests {
    use super::RedirectUriError as E;
    use super::*;

    // covers: NA-01 (RFC 8252 §7), RU-11 (RFC 7591 §5)
    #[test]
    fn redirect_uri_classes_that_may_be_registered() {
        for (text, class) in [
            ("https://app.example/cb", RedirectUriClass::Https),
            ("https://app.example/cb?tenant=1", RedirectUriClass::Https),
            ("https://app.example/caf%C3%a9?x=%FF", RedirectUriClass::Https),
            ("https://app.example:8443", RedirectUriClass::Https),
            ("https://app.example:443/cb", RedirectUriClass::Https),
            ("http://127.0.0.1/cb", RedirectUriClass::Loopback),
            ("http://[::1]:8080/cb", RedirectUriClass::Loopback),
            ("http://localhost:8080/cb", RedirectUriClass::Localhost),
            ("com.example.app:/cb", RedirectUriClass::PrivateUse),
            ("cursor://anysphere.cursor-mcp/oauth/callback", RedirectUriClass::UndottedScheme),
            ("com.example.app://oauth2redirect", RedirectUriClass::UndottedScheme),
            ("com.example.app:///cb", RedirectUriClass::UndottedScheme),
            ("myapp:/cb", RedirectUriClass::UndottedScheme),
            ("myapp:///cb?x=1", RedirectUriClass::UndottedScheme),
            ("urn:ietf:wg:oauth:2.0:oob", RedirectUriClass::OutOfBand),
        ] {
            assert_eq!(RedirectUri::parse(text).map(|uri| uri.class()), Ok(class), "{text}");
        }
    }

    // covers: RU-05 (RFC 6749 §3.1.2), RU-06, RU-10 (RFC 9700 §2.6), NA-07 (RFC 8252 §7.1), NA-08, PP-19, B3, B5, B6
    #[test]
    fn redirect_uris_that_may_not_be_registered() {
        for (text, error) in [
            ("", E::NotAbsolute),
            ("/cb", E::NotAbsolute),
            ("cb", E::NotAbsolute),
            ("//host/cb", E::NotAbsolute),
            ("https:app.example/cb", E::NotAbsolute),
            ("https://app.example/c b", E::NotAbsolute),
            ("https://app.example/cb\n", E::NotAbsolute),
            ("https://app.example\\@evil.example/cb", E::NotAbsolute),
            ("https://\u{e4}pp.example/cb", E::NotAbsolute),
            ("https://app.example/cb%", E::NotAbsolute),
            ("https://app.example/%4/cb", E::NotAbsolute),
            ("https://app.example/cb?x=%zz", E::NotAbsolute),
            ("com.example.app:/%%41", E::NotAbsolute),
            ("HTTPS://app.example/cb", E::Scheme),
            ("https://app.example/cb#x", E::Fragment),
            ("https://app.example/cb#", E::Fragment),
            ("https://app.example@evil.example/cb", E::UserInfo),
            ("http://localhost:80@evil.example/cb", E::UserInfo),
            ("https:///cb", E::Host),
            ("https://*.app.example/cb", E::Host),
            ("https://good.example%2eevil.example/cb", E::Host),
            ("https://0x7f.1/cb", E::Host),
            ("https://APP.example/cb", E::Host),
            ("https://app.example:/cb", E::Host),
            ("https://app.example:0443/cb", E::Host),
            ("http://app.example/cb", E::PlainHttp),
            ("http://127.0.0.1.evil.example/cb", E::PlainHttp),
            ("http://127.0.0.2/cb", E::PlainHttp),
            ("http://0.0.0.0/cb", E::PlainHttp),
            ("http://[::2]/cb", E::PlainHttp),
            ("http://localhost.example/cb", E::PlainHttp),
            ("http://0x7f000001/cb", E::Host),
            ("javascript:alert(1)", E::Scheme),
            ("data:text/html,x", E::Scheme),
            ("vbscript:x", E::Scheme),
            ("file:///etc/passwd", E::Scheme),
            ("blob:https://app.example/x", E::Scheme),
            ("myapp:cb", E::Scheme),
            ("myapp:", E::Scheme),
            ("MyApp://cb", E::Scheme),
            ("myapp://user@cb", E::UserInfo),
            ("com.example.app://user@cb", E::UserInfo),
            ("myapp://:x@cb", E::UserInfo),
            ("myapp://cb#", E::Fragment),
            ("myapp://cb?state=x", E::ResponseParameter),
            ("data://text/html,x", E::Scheme),
            ("javascript://%0aalert(1)", E::Scheme),
            ("intent://cb/#Intent;scheme=x;end", E::Fragment),
            ("view-source://app.example", E::Scheme),
            ("filesystem:/cb", E::Scheme),
            ("localhost:/cb", E::Scheme),
            ("com.example.app:cb", E::Scheme),
            ("https://app.example/cb?code=x", E::ResponseParameter),
            ("https://app.example/cb?a=1&st%61te=x", E::ResponseParameter),
        ] {
            assert_eq!(RedirectUri::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn redirect_destination_is_named_for_the_user() {
        for (uri, host) in [
            ("https://app.example/cb", "app.example"),
            ("https://app.example:8443?x=1", "app.example:8443"),
            ("http://[::1]:9/cb", "[::1]:9"),
            ("com.example.app:/cb", "com.example.app"),
            ("cursor://your-bank.example/cb", "cursor"),
        ] {
            assert_eq!(display_host(uri), host);
        }
    }
}
