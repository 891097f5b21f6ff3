//! `http` and `https` URLs in an unambiguous form.
//!
//! The URL parser repairs the same mistakes as browsers: `https:host`, `https:///host`, a backslash, a user name before
//! the host. A text that needs a repair may show one host and lead to another, and clients that compare it as a string
//! would see another URL.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// An absolute `http` or `https` URL with a host and without a user name or password.
pub(crate) struct WebUrl<'a> {
    url: Url,
    authority: &'a str,
}

/// The reason why a text is not a [`WebUrl`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WebUrlError {
    NotAbsolute,
    UserInfo,
    NoHost,
}

impl<'a> WebUrl<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, WebUrlError> {
        Self::of(text, Url::parse(text).map_err(|_| WebUrlError::NotAbsolute)?)
    }

    /// Checks a URL that was parsed from `text`.
    pub(crate) fn of(text: &'a str, url: Url) -> Result<Self, WebUrlError> {
        let rest = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://"));
        let (Some(rest), "http" | "https") = (rest, url.scheme()) else { return Err(WebUrlError::NotAbsolute) };
        // The parser treats a backslash like a slash.
        let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(WebUrlError::UserInfo);
        }
        if authority.is_empty() { Err(WebUrlError::NoHost) } else { Ok(Self { url, authority }) }
    }

    /// Returns host and port, unchanged from the text.
    pub(crate) const fn authority(&self) -> &'a str {
        self.authority
    }

    /// Returns the host in the form of the parser: in lower case and without escapes.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Returns the port, or the default port of the scheme.
    pub(crate) fn port(&self) -> Option<u16> {
        self.url.port_or_known_default()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Returns whether the host is a loopback address.
    pub(crate) fn is_loopback_address(&self) -> bool {
        match self.url.host() {
            Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
            Some(Host::Ipv6(address)) => address == Ipv6Addr::LOCALHOST,
            Some(Host::Domain(_)) | None => false,
        }
    }

    /// Returns whether the host is an IP address, in any spelling.
    pub(crate) fn is_address(&self) -> bool {
        matches!(self.url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)))
    }

    /// Returns whether the host is a domain name: not an address, and not `localhost`.
    pub(crate) fn has_named_host(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name != "localhost" && !name.ends_with(".localhost")
            }
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => false,
        }
    }

    /// Returns whether the host is `localhost`, which a resolver may map to another machine.
    pub(crate) fn is_localhost(&self) -> bool {
        self.host() == "localhost"
    }
}

/// Returns whether a text is an `https` URL, or an `http` URL on the loopback interface, without fragment.
pub(crate) fn is_served_securely(text: &str) -> bool {
    // The URL is written into headers and compared as a string, so no character may need escaping.
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'#' | b'<' | b'>'));
    let is_secure = |url: WebUrl<'_>| url.is_https() || url.is_loopback_address() || url.is_localhost();
    plain && WebUrl::parse(text).is_ok_and(is_secure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_url_is_checked_as_written() {
        for text in ["https://a.example", "http://a.example/b?c", "https://a.example:1#d", "https://\u{e4}.example/"] {
            assert!(WebUrl::parse(text).is_ok(), "{text}");
        }
        for (text, error) in [
            ("", WebUrlError::NotAbsolute),
            ("/a", WebUrlError::NotAbsolute),
            ("//a.example", WebUrlError::NotAbsolute),
            ("https:a.example", WebUrlError::NotAbsolute),
            ("https:\\\\a.example", WebUrlError::NotAbsolute),
            (" https://a.example", WebUrlError::NotAbsolute),
            ("ftp://a.example", WebUrlError::NotAbsolute),
            ("mailto:a@b.example", WebUrlError::NotAbsolute),
            ("https://user@a.example", WebUrlError::UserInfo),
            ("https://@a.example", WebUrlError::UserInfo),
            ("https:///a.example", WebUrlError::NoHost),
            ("https://\\/a.example", WebUrlError::NoHost),
            ("https://\\/good.example@a.example/", WebUrlError::UserInfo),
            ("https://\\/u:p@a.example/", WebUrlError::UserInfo),
            ("https:///good.example@a.example", WebUrlError::UserInfo),
        ] {
            assert_eq!(WebUrl::parse(text).map(|url| url.authority().to_owned()), Err(error), "{text}");
        }
    }
}
