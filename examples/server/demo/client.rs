//! The client. It knows only the server's addresses and its own credentials, and talks to the server over HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, header, request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantor::client::{ClientCredential, ClientError};
use grantor::{Client, ClientSecret, CodeChallenge, CodeVerifier, EntropyError};
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use super::exchange::{Answer, Exchange, cut, of, shown};
use super::visits::Visits;
use crate::StartError;
use crate::session::random_text;

const RESPONSE_DEADLINE: Duration = Duration::from_secs(10);
const MAX_RESPONSE: usize = 64 * 1024;

/// The client, and its open requests.
pub(crate) struct DemoClient {
    pub(super) issuer: String,
    /// Contains the address that the server listens on. Servers on a shared database can have the same address, for
    /// example in containers. Each of them then adds its own secret.
    id: String,
    redirect_uri: String,
    scope: String,
    /// A generated secret is exempt from the limit on guessing, so attackers can't lock the client out.
    secret: ClientSecret,
    /// The address that the server listens on. The issuer may be the address of a proxy.
    server: String,
    http: HttpClient<HttpConnector, Body>,
    pub(super) visits: Visits,
}

/// A request, with what the client needs to check the response.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) parameters: Vec<(&'static str, String)>,
    state: String,
    verifier: String,
}

impl DemoClient {
    pub(crate) fn new(issuer: &str, address: SocketAddr, scope: &str) -> Result<Self, EntropyError> {
        Ok(Self {
            issuer: issuer.to_owned(),
            id: format!("demo-{}", address.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "-")),
            redirect_uri: format!("{}/demo/callback", issuer.trim_end_matches('/')),
            scope: scope.to_owned(),
            secret: ClientSecret::random()?,
            server: format!("http://{}", reachable(address)),
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            visits: Visits::default(),
        })
    }

    /// Returns the registration of this client at the server.
    pub(crate) fn registration(&self) -> Result<Client, ClientError> {
        Client::confidential(self.id.as_str(), ClientCredential::secret(&self.secret))
            .name("Demo client")
            .authorization_code([&self.redirect_uri])
            // The client is a page of the server, which may run on localhost.
            .localhost_for_development()
            .refresh_token()
            .scope(&self.scope)
            .build()
    }

    /// Makes a new authorization request (RFC 6749 §4.1.1) with `state` and PKCE (RFC 7636 §4.3).
    pub(super) fn ask(&self) -> Asked {
        let (state, verifier) = (random_text(), random_text());
        let challenge = CodeChallenge::s256(&CodeVerifier::new(verifier.as_str()));
        let parameters = vec![
            ("response_type", "code".to_owned()),
            ("client_id", self.id.clone()),
            ("redirect_uri", self.redirect_uri.clone()),
            ("scope", self.scope.clone()),
            ("state", state.clone()),
            ("code_challenge", challenge.as_str().to_owned()),
            ("code_challenge_method", "S256".to_owned()),
        ];
        Asked { parameters, state, verifier }
    }

    /// Returns the address of the authorization endpoint with the request.
    pub(super) fn address(&self, asked: &Asked) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&asked.parameters).finish();
        format!("{}/authorize?{query}", self.issuer.trim_end_matches('/'))
    }

    /// Checks that the response belongs to the request (RFC 6749 §10.12) and comes from this server (RFC 9207 §2.4).
    pub(super) fn is_answer(&self, asked: &Asked, answer: &Answer) -> bool {
        let same_state: bool = asked.state.as_bytes().ct_eq(of(answer, "state").as_bytes()).into();
        same_state && of(answer, "iss") == self.issuer
    }

    /// Redeems the code, calls the API, refreshes the tokens and calls the API again.
    pub(super) async fn go_on(&self, asked: &Asked, answer: &Answer) -> Result<Vec<Exchange>, StartError> {
        let mut exchanges = vec![Exchange::with_browser(answer)];
        if answer.contains_key("error") {
            return Ok(exchanges);
        }
        let redeem = [
            ("grant_type", "authorization_code".to_owned()),
            ("code", of(answer, "code").to_owned()),
            ("redirect_uri", self.redirect_uri.clone()),
            ("code_verifier", asked.verifier.clone()),
        ];
        let remark = "The client authenticates. The verifier proves that it made the request.";
        let (exchange, tokens) = self.token("The client redeems the code", remark, &redeem).await?;
        exchanges.push(exchange);
        let Some(access_token) = tokens["access_token"].as_str() else { return Ok(exchanges) };
        exchanges.push(self.api("The client calls the API", access_token).await?);

        let Some(refresh_token) = tokens["refresh_token"].as_str() else { return Ok(exchanges) };
        let refresh = [("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh_token.to_owned())];
        let remark = "It does so when the access token expires, without the user. It gets a new refresh token, too.";
        let (exchange, tokens) = self.token("The client refreshes its tokens", remark, &refresh).await?;
        exchanges.push(exchange);
        let Some(access_token) = tokens["access_token"].as_str() else { return Ok(exchanges) };
        exchanges.push(self.api("The client uses the new token", access_token).await?);
        Ok(exchanges)
    }

    async fn token(
        &self,
        title: &'static str,
        remark: &'static str,
        form: &[(&str, String)],
    ) -> Result<(Exchange, Value), StartError> {
        let basic = STANDARD.encode(format!("{}:{}", self.id, self.secret.expose()));
        let request = Request::post(format!("{}/token", self.server))
            .header(header::AUTHORIZATION, format!("Basic {basic}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let answer = self.send(request, body).await?;
        let sent = form.iter().map(|(name, value)| (*name, value.as_str()));
        let sent = format!("POST /token\nauthorization: Basic {}:\u{2026}\n\n{}", self.id, shown(sent));
        Ok(Exchange::with_server(title, remark, sent, &answer))
    }

    async fn api(&self, title: &'static str, access_token: &str) -> Result<Exchange, StartError> {
        let request = Request::get(format!("{}/api/me", self.server));
        let request = request.header(header::AUTHORIZATION, format!("Bearer {access_token}"));
        let answer = self.send(request, String::new()).await?;
        let sent = format!("GET /api/me\nauthorization: Bearer {}", cut(access_token));
        let remark = "The API learns the user, the client and the scope from the token.";
        Ok(Exchange::with_server(title, remark, sent, &answer).0)
    }

    async fn send(&self, request: request::Builder, body: String) -> Result<Response<Bytes>, StartError> {
        let request = request.body(Body::from(body))?;
        let answer = async {
            let (parts, body) = self.http.request(request).await?.into_parts();
            Ok(Response::from_parts(parts, to_bytes(Body::new(body), MAX_RESPONSE).await?))
        };
        tokio::time::timeout(RESPONSE_DEADLINE, answer).await?
    }
}

/// Replaces an unspecified address, such as 0.0.0.0, by the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
