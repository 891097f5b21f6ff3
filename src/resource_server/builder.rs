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

/// The builder of a [`ResourceServer`]. [`ResourceServer::builder`] returns it.
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
    /// Starts to build a resource server. `issuer` is the issuer identifier of the authorization server. `client_id`
    /// and `secret` are the credentials of the API at that server, sent by HTTP Basic (RFC 6749 §2.3.1). `introspector`
    /// is the HTTP client that sends the introspection requests.
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

/// Returns the `Authorization` header. Identifier and secret are form-encoded before they are joined (RFC 6749 §2.3.1).
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
    /// Sets the URL of the introspection endpoint. Default: `/introspect` below the issuer, which is also the default
    /// of a grantor server.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Requires that tokens have this audience: `aud` of their introspection response must contain it (RFC 9700 §2.3).
    /// Default: any audience or none.
    ///
    /// At a grantor server, the audience is the identifier of the [resource](crate::ProtectedResource) that the token is
    /// for, exactly as the server declares it. If the server has several resources, it also tells this API only about
    /// the tokens of those that name its client in
    /// [`introspected_by`](crate::ProtectedResource::introspected_by). If the server has no resources, its tokens have
    /// no audience.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the URL of the metadata document of the API (RFC 9728). Challenges then point to it. The API must serve the
    /// document itself. Default: none.
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource_metadata = Some(url.into());
        self
    }

    /// Sets how long a response about an active token is cached. A revoked token keeps working for up to this time.
    /// Zero turns the cache off. Default: 30 seconds.
    pub fn cache_time(mut self, time: Duration) -> Self {
        self.cache_time = time;
        self
    }

    /// Sets the maximum number of cached tokens. A full cache drops its oldest entry. An entry takes the size of the
    /// response plus about 400 bytes. Default: 10,000.
    pub fn cache_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Sets the maximum number of concurrent introspection requests. A request that would need one more gets 503 at
    /// once. Cached tokens need no introspection request. Default: 100.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Sets the maximum size of an introspection response in bytes. Default: 16 KiB.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the observer. It gets each refusal as [`BearerRefused`](crate::EventKind::BearerRefused) with its
    /// [reason](crate::event::BearerRefusal), or with the [error](crate::error::IntrospectionError) if there was no
    /// usable introspection response. Default: none.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Checks the settings and returns the resource server. It sends no request.
    ///
    /// # Errors
    /// A URL is not `https` (or `http` on the loopback interface), or another setting is invalid.
    pub fn build(self) -> Result<ResourceServer, BuildError> {
        if !is_served_securely(&self.issuer) || self.issuer.contains('?') {
            return Err(BuildError::Issuer(self.issuer));
        }
        if !is_client_id(&self.client_id) {
            return Err(BuildError::ResourceServer(
                "has an invalid client_id: it needs 1 to 255 printable ASCII characters",
            ));
        }
        if self.has_no_secret {
            return Err(BuildError::ResourceServer("has an empty secret: give it the secret of its client"));
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
            return Err(BuildError::ResourceServer("has a negative cache_time: use zero to turn the cache off"));
        }
        if self.max_calls == 0 || self.max_response == 0 {
            return Err(BuildError::ResourceServer(
                "can't send introspection requests: max_calls and max_response must be at least 1",
            ));
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
