//! [`ClientWarning`]: probable mistakes in a valid client.

use std::fmt;

use super::{AuthenticationMethod, Client, RedirectUri, RedirectUriClass};
use crate::secret::ClientSecret;

/// A probable mistake in a valid registration, see [`Client::warnings`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientWarning {
    /// A redirect URI has a `*`, which is an ordinary character and not a wildcard (RFC 9700 §4.1.3).
    Wildcard(RedirectUri),
    /// A redirect URI has no path. Many clients add a slash at the end, which makes another URI.
    NoPath(RedirectUri),
    /// The identifier changes if a client sends it in `Authorization: Basic` without form-encoding (RFC 6749 §2.3.1).
    IdNeedsEncoding,
    /// The secret changes if a client sends it in `Authorization: Basic` without form-encoding (RFC 6749 §2.3.1).
    SecretNeedsEncoding,
}

impl fmt::Display for ClientWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wildcard(uri) => {
                write!(
                    f,
                    "the redirect URI {} has a `*`, which is not a wildcard: register each redirect URI",
                    uri.as_str()
                )
            }
            Self::NoPath(uri) => write!(
                f,
                "the redirect URI {0} has no path, and many clients send {1} instead: register the one that the \
                 client sends",
                uri.as_str(),
                with_slash(uri.as_str()),
            ),
            Self::IdNeedsEncoding => f.write_str(
                "the client identifier has a `:`, `%` or `+`, which many clients do not encode in Authorization: \
                 Basic: use another identifier, or the method client_secret_post",
            ),
            Self::SecretNeedsEncoding => f.write_str(
                "the client secret has a `%` or `+`, which many clients do not encode in Authorization: Basic: use \
                 another secret, the method client_secret_post, or the client's switch raw_basic_secret",
            ),
        }
    }
}

impl Client {
    /// Returns the probable mistakes in this registration. Show them to the person who registers the client.
    ///
    /// A `Client` contains only the digest of its secret, so use [`ClientSecret::warning`] to check the secret.
    ///
    /// ```
    /// use grantor::Client;
    /// use grantor::client::ClientWarning;
    ///
    /// let client = Client::public("app").authorization_code(["https://app.example"]).build().unwrap();
    /// assert!(matches!(&client.warnings()[..], [ClientWarning::NoPath(uri)] if uri.as_str() == "https://app.example"));
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Vec<ClientWarning> {
        let mut warnings = Vec::new();
        for uri in self.redirect_uris() {
            if uri.as_str().contains('*') {
                warnings.push(ClientWarning::Wildcard(uri.clone()));
            }
            if has_no_path(uri) {
                warnings.push(ClientWarning::NoPath(uri.clone()));
            }
        }
        let id = self.id().as_str();
        let uses_basic = self.allows_authentication_method(AuthenticationMethod::ClientSecretBasic);
        if uses_basic && (id.contains(':') || needs_encoding(id)) {
            warnings.push(ClientWarning::IdNeedsEncoding);
        }
        warnings
    }
}

impl ClientSecret {
    /// Returns a warning if a client that sends this secret in `Authorization: Basic` without form-encoding would be
    /// refused. A [random](Self::random) secret never causes one.
    #[must_use]
    pub fn warning(&self) -> Option<ClientWarning> {
        needs_encoding(self.expose()).then_some(ClientWarning::SecretNeedsEncoding)
    }
}

/// Returns whether form-decoding changes or refuses the unencoded text.
fn needs_encoding(text: &str) -> bool {
    text.contains(['%', '+'])
}

fn has_no_path(uri: &RedirectUri) -> bool {
    let is_web =
        matches!(uri.class(), RedirectUriClass::Https | RedirectUriClass::Loopback | RedirectUriClass::Localhost);
    is_web && uri.as_str() != with_slash(uri.as_str())
}

/// Returns a web URI with a slash as its path if it has none.
fn with_slash(uri: &str) -> String {
    let start = uri.find("://").map_or(0, |at| at + "://".len());
    let end = uri[start..].find(['/', '?']).map_or(uri.len(), |at| start + at);
    let slash = if uri[end..].starts_with('/') { "" } else { "/" };
    [&uri[..end], slash, &uri[end..]].concat()
}
