//! The peer address that the server over plain hyper gets.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::client::ClientCredential;
use grantor::error::AuthenticatorError;
use grantor::{
    Authenticator, AuthorizationServer, Client, ClientAttempt, ClientRegistry, ClientSecret, MemoryStorage,
    ResourceOwnerAttempt, Subject, Verdict,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// Records the peers that clients authenticate from.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<Vec<Option<IpAddr>>>>);

#[async_trait]
impl Authenticator for Peers {
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        self.0.lock().unwrap().push(attempt.peer);
        Ok(if attempt.matches_a_digest() { Verdict::Accepted(()) } else { Verdict::Rejected })
    }

    async fn authenticate_resource_owner(
        &self,
        _: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        Ok(Verdict::Rejected)
    }
}

// covers: TL-20 (RFC 9700 §4.13)
#[tokio::test]
async fn plain_hyper_passes_peer_and_ignores_headers() {
    let (storage, secret, peers) = (MemoryStorage::new(), "the secret of the machine", Peers::default());
    let credential = ClientCredential::secret(&ClientSecret::new(secret));
    let machine = Client::confidential("machine", credential).client_credentials().scope("profile");
    storage.register(machine.build().unwrap()).await.unwrap();
    let builder = AuthorizationServer::builder("https://id.example").storage(storage).authenticator(peers.clone());
    let oauth = builder.scope("profile", "See your name").build().await.unwrap();

    // This address differs from the real address, so it can come only from the code of the example.
    let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(|request| super::custom_http::serve(oauth.clone(), request, peer));
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    });
    let request = reqwest::Client::new().post(format!("http://{address}/token")).basic_auth("machine", Some(secret));
    let request = request.header("x-forwarded-for", "198.51.100.1").header("forwarded", "for=198.51.100.1");
    let answer = request.form(&[("grant_type", "client_credentials"), ("scope", "profile")]).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(*peers.0.lock().unwrap(), [Some(peer.ip())]);
    server.abort();
}
