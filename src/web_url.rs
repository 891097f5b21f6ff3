//! `http` and `https` URLs that every reader takes for the same place.
//!
//! The URL parser repairs what browsers repair: `https:host`, `https:///host`, a backslash, a user name before the host. A text that
//! needs such a repair shows one host and leads to another, or equals nothing that a client would compare it with.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// An absolute `http` or `https` URL with a host and without a user name or password.
pub(crate) struct WebUrl<'a> {
    url: Url,
    authority: &'a str,
}

/// Why a text is no such URL.
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

    /// The URL that `text` was parsed as.
    pub(crate) fn of(text: &'a str, url: Url) -> Result<Self, WebUrlError> {
        let rest = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://"));
        let (Some(rest), "http" | "https") = (rest, url.scheme()) else { return Err(WebUrlError::NotAbsolute) };
        // The parser takes a backslash for a slash.
        let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(WebUrlError::UserInfo);
        }
        if authority.is_empty() { Err(WebUrlError::NoHost) } else { Ok(Self { url, authority }) }
    }

    /// Host and port as the text has them.
    pub(crate) const fn authority(&self) -> &'a str {
        self.authority
    }

    /// The host as the parser reads it: in lower case and without escapes.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The port, or the one that the scheme implies.
    pub(crate) fn port(&self) -> Option<u16> {
        self.url.port_or_known_default()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether the host is the loopback interface, by address.
    pub(crate) fn is_loopback_address(&self) -> bool {
        match self.url.host() {
            Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
            Some(Host::Ipv6(address)) => address == Ipv6Addr::LOCALHOST,
            Some(Host::Domain(_)) | None => false,
        }
    }

    /// Whether the host is a name that its owner has registered somewhere: no address, and not this machine.
    pub(crate) fn has_named_host(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name != "localhost" && !name.ends_with(".localhost")
            }
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => false,
        }
    }

    /// Whether the host is `localhost`, which a resolver may lead elsewhere.
    pub(crate) fn is_localhost(&self) -> bool {
        self.host() == "localhost"
    }
}

/// Whether a text is an `https` URL, or an `http` URL on the loopback interface, without fragment.
pub(crate) fn is_served_securely(text: &str) -> bool {
    // It is written into headers and compared character by character, so nothing in it may need escaping.
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
