//! The settings of a [`ResourceServer`].

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::Duration;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::cache::Cache;
use super::introspector::Introspector;
use super::{Inner, ResourceServer};
use crate::api_context::ApiContext;
use crate::build_error::BuildError;
use crate::env::{Clock, SystemClock};
use crate::event::{NoObserver, Observer};
use crate::record::is_client_id;
use crate::secret::ClientSecret;
use crate::web_url::is_served_securely;

/// Builds a [`ResourceServer`]: see [`ResourceServer::builder`].
#[must_use = "a builder does nothing until it is built"]
pub struct ResourceServerBuilder {
    issuer: String,
    client_id: String,
    authorization: Zeroizing<String>,
    has_no_secret: bool,
    introspector: Box<dyn Introspector>,
    endpoint: Option<String>,
    audience: Option<String>,
    resource_metadata: Option<String>,
    max_entries: usize,
    max_calls: usize,
    max_response: usize,
    cache_time: Duration,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

impl ResourceServer {
    /// Begins with the issuer identifier of the authorization server, the credentials that the API has there as a client, and the HTTP
    /// client that sends the introspection requests. The credentials are sent as HTTP Basic (RFC 6749 §2.3.1).
    pub fn builder(
        issuer: impl Into<String>,
        client_id: impl Into<String>,
        secret: &ClientSecret,
        introspector: impl Introspector + 'static,
    ) -> ResourceServerBuilder {
        let client_id = client_id.into();
        ResourceServerBuilder {
            issuer: issuer.into(),
            authorization: basic(&client_id, secret),
            has_no_secret: secret.expose().is_empty(),
            client_id,
            introspector: Box::new(introspector),
            endpoint: None,
            audience: None,
            resource_metadata: None,
            max_entries: 10_000,
            max_calls: 100,
            max_response: 16 * 1024,
            cache_time: Duration::seconds(30),
            clock: Arc::new(SystemClock),
            observer: Arc::new(NoObserver),
        }
    }
}

/// Both halves are form-encoded before they are put together (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &ClientSecret) -> Zeroizing<String> {
    let mut pair = Zeroizing::new(String::with_capacity(3 * (client_id.len() + secret.expose().len()) + 1));
    pair.extend(byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.expose().as_bytes()));
    let mut value = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    value.push_str("Basic ");
    STANDARD.encode_string(pair.as_bytes(), &mut value);
    value
}

impl ResourceServerBuilder {
    /// Sets the URL of the introspection endpoint. Default: `/introspect` below the issuer, where a grantor server has it unless it was
    /// told otherwise.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Demands that tokens name this audience: their introspection response has it in `aud` (RFC 9700 §2.3). A grantor server names
    /// its protected resource for access tokens that it signs (feature `jwt`). Opaque ones have no audience; the server's
    /// [`TokenCustomizer`](crate::TokenCustomizer) can keep the APIs apart. Default: any or none.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the URL of the document about the API (RFC 9728), to which challenges then point. The API serves it itself. Default: none.
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource_metadata = Some(url.into());
        self
    }

    /// Sets how long an answer about an active token is used. A revoked token works for that long. Zero asks anew for every
    /// request. Default: 30 seconds.
    pub fn cache_time(mut self, time: Duration) -> Self {
        self.cache_time = time;
        self
    }

    /// Sets how many tokens are kept; above that the oldest one is dropped. An entry takes the size of its answer and some 400 bytes.
    /// Default: 10,000.
    pub fn cache_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Sets how many introspection requests may be under way at once. A request that needs one more is answered with 503 at once; a
    /// token that is in the cache needs none. Default: 100.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Sets the size in bytes above which an answer is refused. Default: 16 KiB.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the observer. It is told each refusal as [`BearerRefused`](crate::EventKind::BearerRefused), with the
    /// [reason](crate::event::BearerRefusal), or the [error](crate::error::IntrospectionError) if there was no usable answer. Default:
    /// nobody is told.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Checks the settings and builds the API. It sends nothing.
    ///
    /// # Errors
    /// A URL is not `https` (or `http` on the loopback interface), or another setting makes no sense.
    pub fn build(self) -> Result<ResourceServer, BuildError> {
        if !is_served_securely(&self.issuer) || self.issuer.contains('?') {
            return Err(BuildError::Issuer(self.issuer));
        }
        if !is_client_id(&self.client_id) {
            return Err(BuildError::ResourceServer("has no client identifier of 1 to 255 printable ASCII characters"));
        }
        if self.has_no_secret {
            return Err(BuildError::ResourceServer("has an empty secret: the server never accepts it"));
        }
        let endpoint = self.endpoint.unwrap_or_else(|| format!("{}/introspect", self.issuer.trim_end_matches('/')));
        if let Some(url) = [Some(&endpoint), self.resource_metadata.as_ref()]
            .into_iter()
            .flatten()
            .find(|url| !is_served_securely(url))
        {
            return Err(BuildError::Endpoint(url.clone()));
        }
        if self.cache_time.is_negative() {
            return Err(BuildError::ResourceServer("has a negative cache_time: zero turns the cache off"));
        }
        if self.max_calls == 0 || self.max_response == 0 {
            return Err(BuildError::ResourceServer("can't ask: max_calls and max_response must not be zero"));
        }
        let api = ApiContext {
            issuer: self.issuer,
            resource_metadata: self.resource_metadata,
            clock: self.clock,
            observer: self.observer,
        };
        let inner = Inner {
            api: Arc::new(api),
            audience: self.audience,
            endpoint,
            authorization: self.authorization,
            introspector: self.introspector,
            max_response: self.max_response,
            cache: Cache::new(self.max_entries, self.max_calls, self.cache_time),
        };
        Ok(ResourceServer { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for ResourceServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServerBuilder")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
