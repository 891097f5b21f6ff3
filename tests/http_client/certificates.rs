//! Certificates of servers. The files in `certificates/` have one key; the authority's own key was thrown away.

use std::sync::Arc;

use grantor::HttpClient;
use grantor::http_client::{GetRequest, GuardedHttpClient};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::local::{Names, Reply, Server, on_loopback, outcome};

const KEY: &[u8] = include_bytes!("certificates/key.pem");
pub(crate) const AUTHORITY: &[u8] = include_bytes!("certificates/authority.pem");
const LOCALHOST: &[u8] = include_bytes!("certificates/localhost.pem");
const OTHER: &[u8] = include_bytes!("certificates/other.pem");
const EXPIRED: &[u8] = include_bytes!("certificates/expired.pem");

/// Starts a TLS server with a certificate.
async fn server(certificate: &[u8]) -> Server {
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap()).unwrap();
    let reply = Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec());
    Server::start_with(reply, Some(Arc::new(config))).await
}

#[tokio::test]
async fn certificate_must_be_valid_trusted_and_for_the_name() {
    let names = Names::default().with("localhost", &["127.0.0.1"]);
    let trusting = || GuardedHttpClient::builder().resolver(names.clone()).trust_pem(AUTHORITY).build().unwrap();
    let not_trusting = || GuardedHttpClient::builder().resolver(names.clone()).trust_pem(OTHER).build().unwrap();
    for (certificate, client, host, expected) in [
        (LOCALHOST, trusting(), "localhost", "200 with 2 bytes"),
        (LOCALHOST, not_trusting(), "localhost", "connection"),
        (LOCALHOST, trusting(), "127.0.0.1", "connection"),
        (OTHER, trusting(), "localhost", "connection"),
        (EXPIRED, trusting(), "localhost", "connection"),
    ] {
        let server = server(certificate).await;
        let url = format!("https://{host}:{}/", server.port);
        let result = client.get(&GetRequest::new(&url, &on_loopback())).await;
        assert_eq!(outcome(&result), expected, "{url}");
        // Nothing is sent before the certificate was verified.
        assert_eq!(server.heads().len(), usize::from(expected != "connection"));
        assert_eq!(server.connections().await, 1);
    }
}

#[tokio::test]
async fn server_without_tls_gets_no_https_request() {
    let server = Server::start(Reply::Bytes(b"HTTP/1.1 200 OK\r\n\r\n{}".to_vec())).await;
    let client = GuardedHttpClient::builder().trust_pem(AUTHORITY).build().unwrap();
    let url = format!("https://127.0.0.1:{}/", server.port);
    let mut policy = on_loopback();
    policy.timeout = time::Duration::milliseconds(300);
    let result = client.get(&GetRequest::new(&url, &policy)).await;
    assert!(["connection", "Timeout"].contains(&outcome(&result).as_str()), "{result:?}");
    assert_eq!(server.heads().len(), 0);
}

#[test]
fn malformed_or_empty_authorities_are_refused() {
    for pem in [&b""[..], b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(GuardedHttpClient::builder().trust_pem(pem).build().is_err());
    }
}
