//! [`Logo`]: the logo of a client on a page whose content security policy blocks other hosts.

use super::{Client, RegisteredBy};
use crate::http::Response;
use crate::web_url::WebUrl;

/// The logo of a client, for a page that loads it from the host of the logo. See [`Client::logo`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo<'a> {
    uri: &'a str,
    csp_source: String,
}

impl Logo<'_> {
    /// Returns the URL for the `src` attribute. It is untrusted text: escape it.
    #[must_use]
    pub const fn uri(&self) -> &str {
        self.uri
    }

    /// Returns the origin of the logo as a source for the directive `img-src`, such as `https://cdn.example`.
    /// [`Response::with_logo`](crate::Response::with_logo) adds it to a page of the library. If your page has another
    /// policy, add it there.
    #[must_use]
    pub fn csp_source(&self) -> &str {
        &self.csp_source
    }
}

impl Client {
    /// Returns the logo if a page may load it from its host. This requires a client that an administrator registered,
    /// and an `https` URL with a plain host.
    ///
    /// The host of the logo learns the IP address and the browser of each user who visits the page, and the time. It
    /// can change the image at any time. So this method returns no logo for a client that registered itself: copy such
    /// a logo to your server, or show none. The library's pages never show a logo.
    ///
    /// ```
    /// use grantor::{Client, Response};
    ///
    /// let client = Client::public("app").authorization_code(["https://app.example/cb"]);
    /// let client = client.logo_uri("https://cdn.example/logo.png").build().unwrap();
    /// let logo = client.logo().unwrap();
    /// // A template would escape the URL.
    /// let html = format!("<img src=\"{}\" alt=\"\" referrerpolicy=\"no-referrer\">", logo.uri());
    /// let page = Response::page(200, html).with_logo(&logo);
    /// assert!(page.header("content-security-policy").unwrap().ends_with("; img-src https://cdn.example"));
    /// ```
    #[must_use]
    pub fn logo(&self) -> Option<Logo<'_>> {
        let uri = self.logo_uri().filter(|_| self.registered_by() == RegisteredBy::Administrator)?;
        Some(Logo { uri, csp_source: csp_source(&WebUrl::parse(uri).ok()?)? })
    }
}

impl Response {
    /// Lets this [`page`](Self::page) load images from the origin of a logo. It adds the origin to the content security
    /// policy and changes nothing else. A response without such a policy stays unchanged.
    ///
    /// The request for the logo reveals to its host that a user visits the page, see [`Client::logo`]. It has no
    /// `Referer`, because the page has `Referrer-Policy: no-referrer`.
    pub fn with_logo(self, logo: &Logo<'_>) -> Self {
        self.with_image_source(logo.csp_source())
    }
}

/// Returns the origin of a URL as a source. Returns `None` for a host with characters that have a meaning in a policy,
/// such as `*` or `;`, and for IPv6 addresses, which a policy can't contain.
fn csp_source(url: &WebUrl<'_>) -> Option<String> {
    let is_plain = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let host = url.host();
    let host = (url.is_https() && is_plain(host)).then_some(host)?;
    Some(match url.port() {
        Some(443) | None => format!("https://{host}"),
        Some(port) => format!("https://{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(logo_uri: &str, by: RegisteredBy) -> Client {
        let client = Client::public("app").authorization_code(["https://app.example/cb"]);
        client.registered_by(by).logo_uri(logo_uri).build().unwrap()
    }

    #[test]
    fn logo_changes_only_the_image_sources_of_a_host_policy() {
        let client = client("https://cdn.example/logo.png", RegisteredBy::Administrator);
        let logo = client.logo().unwrap();
        for (policy, expected) in [
            (
                "default-src 'none'; img-src 'self'; script-src 'self'",
                "default-src 'none'; img-src 'self' https://cdn.example; script-src 'self'",
            ),
            ("img-src 'none'; frame-ancestors 'none'", "img-src https://cdn.example; frame-ancestors 'none'"),
            (
                "default-src 'none'; IMG-SRC ; frame-ancestors 'none'",
                "default-src 'none'; img-src https://cdn.example; frame-ancestors 'none'",
            ),
            ("frame-ancestors 'none';", "frame-ancestors 'none'; img-src https://cdn.example"),
            ("x-img-src 'self'", "x-img-src 'self'; img-src https://cdn.example"),
        ] {
            let page = Response::new(200).with_header("content-security-policy", policy).with_logo(&logo);
            assert_eq!(page.header("content-security-policy"), Some(expected), "{policy}");
        }
    }

    #[test]
    fn logo_allows_its_origin_in_the_page_policy() {
        for (uri, source) in [
            ("https://cdn.example/logo.png?x=1#y", "https://cdn.example"),
            ("https://CDN.example:443", "https://cdn.example"),
            ("https://cdn.example:8443/logo;script-src", "https://cdn.example:8443"),
            ("https://192.0.2.1/logo", "https://192.0.2.1"),
            ("https://\u{e4}pp.example/logo", "https://xn--pp-uia.example"),
        ] {
            let client = client(uri, RegisteredBy::Administrator);
            let logo = client.logo().unwrap();
            assert_eq!((logo.uri(), logo.csp_source()), (uri, source));
            let page = Response::page(200, "");
            let expected = format!("{}; img-src {source}", page.header("content-security-policy").unwrap());
            let page = page.with_logo(&logo);
            assert_eq!(page.header("content-security-policy"), Some(&*expected));
            // A second directive of the same name would be ignored.
            let page = page.with_logo(&logo);
            assert_eq!(page.header("content-security-policy"), Some(&*format!("{expected} {source}")));
            let other = Response::json(200, "{}").with_logo(&logo);
            assert_eq!(other.header("content-security-policy"), None);
        }
    }

    #[test]
    fn logo_of_a_self_registered_client_is_not_loaded() {
        let client = client("https://cdn.example/logo.png", RegisteredBy::SelfService);
        assert_eq!((client.logo_uri(), client.logo()), (Some("https://cdn.example/logo.png"), None));
    }

    #[test]
    fn logo_with_an_unsafe_address_is_not_loaded() {
        for uri in [
            "http://cdn.example/logo.png",
            "https://*/logo.png",
            "https://*.example/logo.png",
            "https://a;sandbox/logo.png",
            "https://a,b/logo.png",
            "https://'none'/logo.png",
            "https://[2001:db8::1]/logo.png",
        ] {
            assert_eq!(client(uri, RegisteredBy::Administrator).logo(), None, "{uri}");
        }
        let none = Client::public("app").authorization_code(["https://app.example/cb"]).build().unwrap();
        assert_eq!(none.logo(), None);
    }
}
