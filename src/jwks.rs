//! The signing keys of a server: the endpoint for the public keys (RFC 7517 §5), and the settings for signed tokens.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::Duration;

use crate::build_error::BuildError;
use crate::capability::{BuildView, Capability, Endpoint, ServerView};
use crate::error::{Error, SigningError};
use crate::http::{Request, Response};
use crate::jose::{Algorithm, Keys, write_jwks};
use crate::jwt_access_token::JwtAccessTokens;
use crate::observed_keys::ObservedKeys;
use crate::signed_format::SignedFormat;
use crate::token::refuse;

/// The signing keys of a server, for [`Builder::signing_keys`](crate::Builder::signing_keys). The server publishes the
/// public halves at `/jwks`, and the metadata names this address (`jwks_uri`, RFC 8414 §2).
///
/// ```
/// use grantor::jose::{Algorithm, KeyRing, SigningKey};
/// use grantor::{AuthorizationServer, MemoryStorage, ProtectedResource, SigningKeys};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyRing::new().sign_with(SigningKey::generate(Algorithm::Es256)?).build()?;
/// let oauth = AuthorizationServer::builder("https://id.example.com")
///     .storage(MemoryStorage::new())
///     .scope("mail:read", "Read your mail")
///     .protected_resource(ProtectedResource::new("https://api.example.com"))
///     .signing_keys(SigningKeys::new(keys).sign_access_tokens())
///     .build()
///     .await?;
/// assert!(oauth.route("/jwks").is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "give it to the builder"]
pub struct SigningKeys {
    pub(crate) keys: Arc<dyn Keys>,
    cached_for: Duration,
    access_tokens: AccessTokens,
}

/// The algorithm of signed access tokens.
#[derive(Debug, Clone, Copy)]
enum AccessTokens {
    Opaque,
    /// The default algorithm of the keys.
    Signed,
    With(Algorithm),
}

impl SigningKeys {
    /// Takes the keys. Access tokens stay opaque unless you call [`sign_access_tokens`](Self::sign_access_tokens).
    pub fn new(keys: impl Keys + 'static) -> Self {
        let keys = Arc::new(ObservedKeys::new(keys));
        Self { keys, cached_for: Duration::minutes(10), access_tokens: AccessTokens::Opaque }
    }

    /// Sets how long clients may cache the public keys (`Cache-Control: max-age`). A new key must be published at least
    /// this long before it signs. With [`RotatingKeys`](crate::RotatingKeys), it must be published at least twice as
    /// long before: if the store of a node fails, the node continues with the keys that it knows for half of that time.
    /// Default: ten minutes.
    pub const fn cached_for(mut self, duration: Duration) -> Self {
        self.cached_for = duration;
        self
    }

    /// Issues access tokens as JWTs (RFC 9068), signed with the default algorithm of the keys. The audience is the
    /// [protected resource](crate::Builder::protected_resource) of the server. Without one, the server does not build.
    /// Default: access tokens are opaque.
    ///
    /// If you remove this setting later, the server still accepts signed tokens until they expire, as long as it has
    /// the keys and the protected resource.
    ///
    /// A token names the issuer and the audience. If either changes, earlier signed tokens are refused, as RFC 9068 §4
    /// requires. Clients get new tokens with their refresh tokens.
    ///
    /// This server also checks the row of a signed token, so a revocation applies at once. A service that checks only
    /// the signature accepts the token until it expires.
    pub const fn sign_access_tokens(mut self) -> Self {
        self.access_tokens = AccessTokens::Signed;
        self
    }

    /// Like [`sign_access_tokens`](Self::sign_access_tokens), with another algorithm of the keys.
    pub const fn sign_access_tokens_with(mut self, algorithm: Algorithm) -> Self {
        self.access_tokens = AccessTokens::With(algorithm);
        self
    }

    /// Returns the format of signed access tokens. If new tokens are opaque, it only reads earlier signed tokens.
    pub(crate) fn access_token_format(&self, issuer: &str) -> Option<Arc<dyn SignedFormat>> {
        let own = self.access_token_algorithm();
        let algorithm = own.or_else(|| self.keys.algorithms().first().copied())?;
        let (keys, signs_new_tokens) = (Arc::clone(&self.keys), own.is_some());
        Some(Arc::new(JwtAccessTokens { keys, algorithm, signs_new_tokens, issuer: issuer.into() }))
    }

    /// Returns the algorithm of access tokens, if they are signed.
    fn access_token_algorithm(&self) -> Option<Algorithm> {
        match self.access_tokens {
            AccessTokens::Opaque => None,
            AccessTokens::Signed => self.keys.algorithms().first().copied(),
            AccessTokens::With(algorithm) => Some(algorithm),
        }
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys")
            .field("algorithms", &self.keys.algorithms())
            .field("cached_for", &self.cached_for)
            .field("access_tokens", &self.access_tokens)
            .finish()
    }
}

#[async_trait]
impl Capability for SigningKeys {
    fn name(&self) -> &'static str {
        "signing_keys"
    }

    fn check(&self, build: &BuildView<'_>) -> Result<(), BuildError> {
        let problem = |text: &'static str| Err(BuildError::capability(self.name(), text));
        if self.keys.algorithms().is_empty() {
            return problem("there is no signing key: add one");
        }
        if self.cached_for.is_negative() {
            return problem("cached_for is negative: give zero or a positive time");
        }
        if let Some(schedule) = self.keys.schedule() {
            let checked = schedule.check(self.keys.algorithms().len());
            checked.map_err(|text| BuildError::capability(self.name(), text))?;
        }
        if self.keys.schedule().is_some_and(|schedule| self.cached_for > schedule.longest_cache()) {
            return problem(
                "cached_for is longer than half of publish_ahead of the schedule, so a cache could miss a new key: \
                 shorten cached_for, or lengthen publish_ahead",
            );
        }
        let Some(algorithm) = self.access_token_algorithm() else { return Ok(()) };
        if self.keys.schedule().is_some_and(|schedule| build.policy().access_token_lifetime > schedule.keep) {
            return problem("access_token_lifetime is longer than keep of the schedule: shorten it, or lengthen keep");
        }
        if !self.keys.algorithms().contains(&algorithm) {
            return problem("no key has the algorithm of access tokens: add a key, or choose another algorithm");
        }
        if build.resources().next().is_none() {
            return problem(
                "signed access tokens need an audience: call Builder::protected_resource or Builder::resource",
            );
        }
        Ok(())
    }

    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
        vec![Endpoint::new("jwks", build.url("/jwks")).methods("GET, HEAD").any_origin().max_body(0)]
    }

    fn metadata(&self, build: &BuildView<'_>) -> Map<String, Value> {
        let mut members = Map::from_iter([("jwks_uri".to_owned(), build.url("/jwks").into())]);
        if build.has_introspection() {
            let names: Vec<&str> = self.keys.algorithms().iter().map(|algorithm| algorithm.name()).collect();
            members.insert("introspection_signing_alg_values_supported".to_owned(), names.into());
        }
        members
    }

    async fn respond(&self, _: &str, request: &Request, server: ServerView<'_>) -> Response {
        let keys = match self.keys.published().await {
            Ok(keys) => keys,
            Err(error) => return refuse(&Error::from(SigningError::from(error)), server.issuer()),
        };
        let set = write_jwks(keys.iter());
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(&set)[..16]));
        let caching = format!("public, max-age={}", self.cached_for.whole_seconds());
        let headers =
            [("cache-control", caching), ("content-type", "application/jwk-set+json".to_owned()), ("etag", tag)];
        let (status, body) = if names(request, &headers[2].1) { (304, String::new()) } else { (200, set) };
        Response::from_parts(status, headers, body).unwrap_or_else(Response::from)
    }
}

/// Returns whether the caller already has this version (RFC 9110 §13.1.2). Compares tags weakly.
fn names(request: &Request, tag: &str) -> bool {
    let lists = request.header_values("if-none-match").filter_map(|value| std::str::from_utf8(value).ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|own| own == "*" || own.strip_prefix("W/").unwrap_or(own) == tag)
}
