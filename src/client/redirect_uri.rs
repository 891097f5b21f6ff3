//! Redirect URIs: registration (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1) and comparison with the URI of a request.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::text_form::text_form;
use crate::web_url::{WebUrl, WebUrlError};

/// A redirect URI that is valid for registration.
///
/// It is an `https` URI, an `http` URI on the loopback interface, a URI with a private-use scheme, or the out-of-band
/// value. All other URIs are refused, in particular those with a scheme that runs scripts.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri {
    text: Arc<str>,
    class: RedirectUriClass,
}

/// The kind of a [`RedirectUri`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedirectUriClass {
    /// An `https` URI, of a web site or of an app that claimed the URI.
    Https,
    /// `http` on `127.0.0.1` or `[::1]`, with any port (RFC 8252 §7.3).
    Loopback,
    /// `http` on `localhost`, with any port. For native apps, and for clients with
    /// [`localhost_for_development`](super::ClientParts::localhost_for_development).
    Localhost,
    /// A private-use scheme in reverse domain notation (RFC 8252 §7.1). For native apps only.
    PrivateUse,
    /// A private-use scheme without a dot, such as `cursor://callback`, or with two slashes, such as
    /// `com.example.app://callback`. Any app can claim a name without a dot, and two slashes violate RFC 8252 §7.1.
    /// Only for native apps with [`undotted_schemes`](super::ClientParts::undotted_schemes), and only if
    /// [`Policy::undotted_schemes`](crate::Policy::undotted_schemes) lists the scheme.
    UndottedScheme,
    /// `urn:ietf:wg:oauth:2.0:oob`: a page shows the code to the user instead of a redirect. It is a legacy habit that
    /// the policy must allow.
    OutOfBand,
}

/// The reason why a text is not a valid redirect URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectUriError {
    /// It is not an absolute URI, is too long, or has characters or escapes that RFC 3986 does not allow.
    #[error(
        "a redirect URI must be an absolute URI of at most 2048 bytes, without spaces, non-ASCII characters and \
         broken escapes"
    )]
    NotAbsolute,
    /// It has a fragment, which may be empty.
    #[error("a redirect URI must have no fragment")]
    Fragment,
    /// It has a user name or password.
    #[error("a redirect URI must have no user name and no password")]
    UserInfo,
    /// It has the scheme `http`, but its host is not the loopback interface.
    #[error("a redirect URI with http must be on 127.0.0.1, [::1] or localhost: use https for other hosts")]
    PlainHttp,
    /// The host is missing, has a wildcard, or is written in an unusual form.
    #[error("a redirect URI must have one host, written in lower case, without wildcards and escapes")]
    Host,
    /// The scheme is used by browsers or the operating system, or has no slash after the colon.
    #[error("a redirect URI must have the scheme https, or a private-use scheme as in com.example.app:/callback")]
    Scheme,
    /// The query has the name of a response parameter.
    #[error("the query of a redirect URI must not have the name of a response parameter, such as code or state")]
    ResponseParameter,
}

/// The maximum length of a redirect URI in bytes.
const MAX_LENGTH: usize = 2048;

/// The parameters of an authorization response. A registered query must not have them, because the client could not
/// tell them apart.
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

/// Schemes without a dot that no app may register. They run scripts, read files, show other content or start system
/// programs.
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

/// Returns the scheme if it is never allowed.
pub(crate) fn forbidden_scheme(scheme: &str) -> Option<&'static str> {
    FORBIDDEN_SCHEMES.into_iter().find(|forbidden| *forbidden == scheme)
}

/// Returns the scheme of a URI.
pub(crate) fn scheme(uri: &str) -> &str {
    uri.split(':').next().unwrap_or(uri)
}

impl RedirectUri {
    /// The value for a page that shows the code to the user.
    pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

    /// Checks a redirect URI for registration. The text is stored unchanged and never normalized.
    ///
    /// # Errors
    /// See [`RedirectUriError`].
    pub fn parse(text: &str) -> Result<Self, RedirectUriError> {
        let class = classify(text)?;
        Ok(Self { text: text.into(), class })
    }

    /// Returns the text exactly as it was registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the class.
    #[must_use]
    pub const fn class(&self) -> RedirectUriClass {
        self.class
    }

    /// Returns whether a requested URI matches. The strings must be equal, except for the port of a loopback URI (RFC
    /// 9700 §4.1.3, RFC 8252 §7.3).
    #[must_use]
    pub fn matches(&self, requested: &str) -> bool {
        if *self.text == *requested {
            return true;
        }
        let port_is_free = matches!(self.class, RedirectUriClass::Loopback | RedirectUriClass::Localhost);
        // The requested URI is stored with the code, so its length is limited.
        let fits = requested.len() <= MAX_LENGTH;
        port_is_free && fits && matches!((split_port(&self.text), split_port(requested)), (Some(a), Some(b)) if a == b)
    }

    pub(crate) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}

/// Returns the destination of a redirect for display: the host, or the scheme if it is a private-use scheme. A host
/// after such a scheme is meaningless, because the app that registered the scheme gets the response.
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
    if text.len() > MAX_LENGTH || !text.bytes().all(is_uri_byte) || has_broken_escape(text) {
        return Err(RedirectUriError::NotAbsolute);
    }
    let url = Url::parse(text).map_err(|_| RedirectUriError::NotAbsolute)?;
    // The URL parser accepts sloppy forms such as `https:host` and `HTTPS://..`. A registration must not have them.
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
            // A user would not recognise a host in another form, such as `%2e` or `0x7f.1`.
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
        // A scheme with a dot gets here if two slashes follow. They begin an authority, which RFC 8252 §7.1 does not
        // allow.
        _ if rest.starts_with('/') && forbidden_scheme(scheme).is_none() => Ok(RedirectUriClass::UndottedScheme),
        _ => Err(RedirectUriError::Scheme),
    }
}

/// Returns whether RFC 3986 allows a byte in a URI, except `#`.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%:/?[]@!$&'()*+,;=".contains(&byte)
}

/// Returns whether a `%` is not followed by two hexadecimal digits (RFC 3986 §2.1). A client that decodes strictly
/// could not read it.
fn has_broken_escape(text: &str) -> bool {
    let is_escaped =
        |rest: &str| matches!(rest.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    text.split('%').skip(1).any(|rest| !is_escaped(rest))
}

/// Splits a loopback URI into its scheme and host, and the text after the port. A port with leading zeros is refused,
/// so that each port has one spelling.
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
    // Any other character would belong to a longer host name or to a user name.
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
