//! [`FetchError`]: the reasons why a document could not be fetched.

use std::fmt;
use std::net::IpAddr;

use super::BoxError;

/// The reason why a document could not be fetched, for operators. Clients see the same response for all of them: 503
/// `temporarily_unavailable`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL is not allowed. Nothing was sent.
    #[error("the URL is not allowed: {0}")]
    Url(#[from] UrlError),
    /// The server has no HTTP client.
    #[error("the server has no HTTP client: set one with Builder::http_client")]
    NoClient,
    /// A limit of the [`FetchPolicy`](crate::http_client::FetchPolicy) is reached. Nothing was sent.
    #[error("too many fetches: {0}")]
    TooMany(FetchLimit),
    /// The name of the host could not be resolved.
    #[error("the name of the host could not be resolved")]
    Name(#[source] BoxError),
    /// The name of the host has an address that is not public. No connection was made.
    #[error("the name of the host has the address {0}, which is not public")]
    Address(IpAddr),
    /// No connection could be made, its certificate is not valid, or it broke.
    #[error("the connection failed")]
    Connection(#[source] BoxError),
    /// No complete response arrived within the [timeout](crate::http_client::FetchPolicy::timeout).
    #[error("no complete response arrived in time")]
    Timeout,
    /// The body of the response is larger than this number of bytes.
    #[error("the body of the response is larger than {0} bytes")]
    TooLarge(usize),
    /// The response has a `Content-Encoding`, although the request accepts none.
    #[error("the response is compressed, although the request accepts no compression")]
    Compressed,
    /// The status of the response is not 200. Redirects are not followed.
    #[error("the status of the response is {0}, not 200")]
    Status(u16),
    /// The content of the response is not usable.
    #[error("the content of the response is not usable: {0}")]
    Content(&'static str),
    /// The HTTP client of the host app failed or panicked.
    #[error("the HTTP client failed")]
    Client(#[source] BoxError),
}

impl FetchError {
    /// Wraps an error of the HTTP client of the host app.
    pub fn client(source: impl Into<BoxError>) -> Self {
        Self::Client(source.into())
    }
}

/// A limit of the [`FetchPolicy`](crate::http_client::FetchPolicy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchLimit {
    /// [`max_at_once`](crate::http_client::FetchPolicy::max_at_once).
    AtOnce,
    /// [`max_per_host`](crate::http_client::FetchPolicy::max_per_host).
    PerHost,
    /// [`max_per_peer`](crate::http_client::FetchPolicy::max_per_peer).
    PerPeer,
    /// [`max_per_minute`](crate::http_client::FetchPolicy::max_per_minute).
    PerMinute,
}

impl fmt::Display for FetchLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtOnce => "max_at_once is reached",
            Self::PerHost => "max_per_host is reached for the host of the URL",
            Self::PerPeer => "max_per_peer is reached for the peer of the request",
            Self::PerMinute => "max_per_minute is reached",
        })
    }
}

/// The reason why a URL is not allowed. Its text says what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is too long.
    #[error("it has more than 2,048 bytes: use a shorter one")]
    TooLong,
    /// It is not an absolute URL, or a browser would read it differently from how it is written.
    #[error("it is not an absolute https URL in its normal form: write it as https://host/path in ASCII")]
    Malformed,
    /// Its scheme is not `https`.
    #[error("its scheme is not https: use https")]
    Scheme,
    /// It has a user name or a password.
    #[error("it has a user name or a password: remove them")]
    UserInfo,
    /// It has a fragment.
    #[error("it has a fragment: remove it")]
    Fragment,
    /// Its host is an IP address, in any spelling.
    #[error("its host is an IP address: use a host name")]
    Address,
    /// Its host is not the name of a public host: it has a single label, ends with a dot, or is a special or private
    /// name.
    #[error("its host is not the name of a public host: use a name such as app.example.com")]
    Name,
    /// Its port is not allowed.
    #[error("its port is not allowed: use port 443, or add the port to allowed_ports of the FetchPolicy")]
    Port,
}
