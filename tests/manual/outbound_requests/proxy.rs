use grantor::HttpClient;
use grantor::http_client::{FetchError, GetRequest, GetResponse};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy};

/// Fetches through a proxy that refuses targets inside the network.
pub struct ThroughProxy(Client);

impl ThroughProxy {
    pub fn new(proxy: &str) -> reqwest::Result<Self> {
        let client = Client::builder().proxy(Proxy::all(proxy)?).redirect(Policy::none()).referer(false);
        Ok(Self(client.no_gzip().no_brotli().no_zstd().no_deflate().build()?))
    }
}

#[async_trait::async_trait]
impl HttpClient for ThroughProxy {
    async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
        let get = self.0.get(request.url()).timeout(request.timeout().unsigned_abs());
        let get = request.headers().iter().fold(get, |get, (name, value)| get.header(*name, *value));
        let mut response = get.send().await.map_err(FetchError::client)?;
        let mut received = GetResponse::new(response.status().as_u16(), response.headers());
        while let Some(part) = response.chunk().await.map_err(FetchError::client)? {
            received.push(&part, request)?; // fails if the body is too large
        }
        Ok(received)
    }
}
