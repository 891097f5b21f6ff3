//! [`GuardedHttpClient`]: an HTTP client that connects only to public hosts (feature `http-client`).

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use reqwest::{Certificate, Client, redirect, retry};

use super::HttpClient;
use super::exchange::{GetRequest, GetResponse};
use super::resolver::{Checked, NotPublic, NotResolved, Resolver, SystemResolver};
use crate::error::{BoxError, FetchError};

/// The maximum number of headers in a response. All of them together have at most some hundred KiB.
const MAX_HEADERS: usize = 64;

/// An HTTP client that connects only to public hosts, for [`Builder::http_client`](crate::Builder::http_client).
///
/// * It checks the URL again: see [`UrlError`](super::UrlError).
/// * It looks up the name once for each request. If any address is not public, it makes no connection. Otherwise it
///   connects to one of these addresses. IPv4 addresses inside of IPv6 addresses are checked, too.
/// * It follows no redirects, uses no proxy, sends no cookies and no `Referer`, repeats no request, and decompresses
///   nothing. Environment variables such as `HTTPS_PROXY` have no effect.
/// * It trusts the certificate authorities of the operating system.
/// * The size of the body and the time for the whole exchange are bounded. It reads a body only if the status is 200.
///
/// It needs a Tokio runtime with I/O and time.
///
/// ```
/// use grantor::http_client::GuardedHttpClient;
/// use grantor::{AuthorizationServer, MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let oauth = AuthorizationServer::builder("https://id.example.com")
///     .storage(MemoryStorage::new())
///     .scope("mail:read", "Read your mail")
///     .http_client(GuardedHttpClient::new()?)
///     .build()
///     .await?;
/// # let _ = oauth;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GuardedHttpClient {
    client: Client,
}

impl GuardedHttpClient {
    /// Returns a client with the resolver and the certificate authorities of the operating system.
    ///
    /// # Errors
    /// The operating system has no certificate authorities.
    pub fn new() -> Result<Self, SetupError> {
        Self::builder().build()
    }

    /// Returns a builder of a client with other settings.
    pub fn builder() -> GuardedHttpClientBuilder {
        GuardedHttpClientBuilder { resolver: Arc::new(SystemResolver), authorities: Vec::new() }
    }

    async fn exchange(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
        let get = self.client.get(request.url());
        let get = request.headers().into_iter().fold(get, |get, (name, value)| get.header(name, value));
        let mut response = get.send().await.map_err(read_error)?;
        let status = response.status().as_u16();
        let mut received = GetResponse::new(status, response.headers());
        if status != 200 {
            return Ok(received);
        }
        if is_compressed(response.headers()) {
            return Err(FetchError::Compressed);
        }
        if response.content_length().is_some_and(|length| length > request.max_response() as u64) {
            return Err(FetchError::TooLarge(request.max_response()));
        }
        while let Some(part) = response.chunk().await.map_err(read_error)? {
            received.push(&part, request)?;
        }
        Ok(received)
    }
}

#[async_trait]
impl HttpClient for GuardedHttpClient {
    async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
        // `reqwest` connects to an IP literal without asking the resolver, so this check is needed here, too.
        request.check_url()?;
        let exchange = tokio::time::timeout(request.timeout().unsigned_abs(), self.exchange(request));
        exchange.await.unwrap_or(Err(FetchError::Timeout))
    }
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Finds the cause of an error among its sources.
fn read_error(error: reqwest::Error) -> FetchError {
    let mut source: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(NotPublic(address)) = cause.downcast_ref() {
            return FetchError::Address(*address);
        }
        if cause.is::<NotResolved>() {
            return FetchError::Name(error.into());
        }
        source = cause.source();
    }
    FetchError::Connection(error.into())
}

impl fmt::Debug for GuardedHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedHttpClient").finish_non_exhaustive()
    }
}

/// The builder of a [`GuardedHttpClient`].
#[must_use = "a builder does nothing until build() is called"]
pub struct GuardedHttpClientBuilder {
    resolver: Arc<dyn Resolver>,
    authorities: Vec<Vec<u8>>,
}

impl GuardedHttpClientBuilder {
    /// Sets the resolver of host names. Default: [`SystemResolver`].
    pub fn resolver(mut self, resolver: impl Resolver + 'static) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Trusts the certificate authorities in a PEM text, in addition to those of the operating system. Some operating
    /// systems, such as Android, do not allow this.
    pub fn trust_pem(mut self, authorities: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(authorities.into());
        self
    }

    /// Returns the client.
    ///
    /// # Errors
    /// The operating system has no certificate authorities, or a PEM text is malformed.
    pub fn build(self) -> Result<GuardedHttpClient, SetupError> {
        let mut authorities = Vec::new();
        for pem in self.authorities {
            let parsed = Certificate::from_pem_bundle(&pem).map_err(|error| SetupError(error.into()))?;
            if parsed.is_empty() {
                return Err(SetupError("a PEM text has no certificate".into()));
            }
            authorities.extend(parsed);
        }
        // Other crates of the program may switch on features of `reqwest`, so each default that they could change is
        // set here.
        let client = Client::builder()
            .tls_backend_rustls()
            .tls_certs_merge(authorities)
            .dns_resolver(Arc::new(Checked(self.resolver)))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            // Each request looks up the name again, and no connection stays open.
            .pool_max_idle_per_host(0)
            .build();
        client.map(|client| GuardedHttpClient { client }).map_err(|error| SetupError(error.into()))
    }
}

impl fmt::Debug for GuardedHttpClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedHttpClientBuilder").field("authorities", &self.authorities.len()).finish_non_exhaustive()
    }
}

/// The error of a [`GuardedHttpClient`] that can't be set up.
#[derive(Debug, thiserror::Error)]
#[error(
    "the HTTP client can't be set up: install the certificate authorities of the operating system, and check PEM texts"
)]
pub struct SetupError(#[source] BoxError);
