//! Local servers that count their connections, and a resolver with prepared answers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantor::HttpClient;
use grantor::error::BoxError;
use grantor::http_client::{FetchError, FetchPolicy, GetRequest, GetResponse, GuardedHttpClient, Resolver};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::certificates::AUTHORITY;

/// The behaviour of a server after it has read the head of a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// It sends these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// It sends these bytes to each request of a connection, and leaves it open.
    KeepAlive(Vec<u8>),
    /// It sends the first bytes, and then the second ones until the client closes the connection.
    Endless(&'static [u8], Vec<u8>),
    /// Like `Endless`, with a second between the parts.
    Slow(&'static [u8], &'static [u8]),
    /// It sends nothing and keeps the connection.
    Silence,
    /// It closes the connection.
    Close,
}

/// A server on all addresses of this machine.
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    peers: Mutex<Vec<SocketAddr>>,
    heads: Mutex<Vec<String>>,
    changed: Notify,
}

impl Server {
    /// Starts a server. It answers over TLS if it has a configuration.
    pub(crate) async fn start_with(reply: Reply, tls: Option<Arc<tokio_rustls::rustls::ServerConfig>>) -> Self {
        // One socket for both versions of IP, if this machine has both.
        let listener = match TcpListener::bind("[::]:0").await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind("0.0.0.0:0").await.unwrap(),
        };
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let own = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                own.peers.lock().unwrap().push(peer);
                own.changed.notify_waiters();
                let (reply, own, tls) = (reply.clone(), Arc::clone(&own), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, reply, &own).await,
                        Some(tls) => match tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                            Ok(stream) => answer(stream, reply, &own).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { port, seen }
    }

    pub(crate) async fn start(reply: Reply) -> Self {
        Self::start_with(reply, None).await
    }

    /// Returns the number of connections, with those that still wait to be accepted: a connection of this test is
    /// accepted after them.
    pub(crate) async fn connections(&self) -> usize {
        let own = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap().local_addr().unwrap();
        loop {
            let changed = self.seen.changed.notified();
            let peers = self.seen.peers.lock().unwrap().clone();
            if let Some(at) = peers.iter().position(|peer| peer.port() == own.port()) {
                self.seen.peers.lock().unwrap().remove(at);
                return at;
            }
            changed.await;
        }
    }

    /// Returns the heads of the requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

/// Answers a request. Returns `None` when the client closes the connection.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: Reply, seen: &Seen) -> Option<()> {
    if matches!(reply, Reply::Close) {
        return None;
    }
    read_head(&mut stream, seen).await?;
    match reply {
        Reply::KeepAlive(bytes) => loop {
            stream.write_all(&bytes).await.ok()?;
            stream.flush().await.ok()?;
            read_head(&mut stream, seen).await?;
        },
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()?;
        }
        Reply::Endless(head, part) => {
            stream.write_all(head).await.ok()?;
            loop {
                stream.write_all(&part).await.ok()?;
            }
        }
        Reply::Slow(head, part) => {
            stream.write_all(head).await.ok()?;
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                every.tick().await;
                stream.write_all(part).await.ok()?;
                stream.flush().await.ok()?;
            }
        }
        Reply::Silence | Reply::Close => {}
    }
    // Until the client closes it, so that nothing that was sent is lost.
    stream.read_to_end(&mut Vec::new()).await.ok().map(drop)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin), seen: &Seen) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    seen.heads.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    Some(())
}

/// A resolver. Each name has its answers in the order of the look-ups, and repeats the last one.
#[derive(Clone, Default)]
pub(crate) struct Names {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    /// Sets the answers for a name, each a list of addresses separated by spaces.
    pub(crate) fn with(mut self, name: &str, answers: &[&str]) -> Self {
        let read = |answer: &&str| answer.split_whitespace().map(|address| address.parse().unwrap()).collect();
        self.answers.insert(name.to_owned(), answers.iter().map(read).collect());
        self
    }

    /// Returns the names that were looked up.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, BoxError> {
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().filter(|own| *own == name).count();
        asked.push(name.to_owned());
        let answers = self.answers.get(name).ok_or("no such name")?;
        Ok(answers[before.min(answers.len() - 1)].clone())
    }
}

/// Returns a client that resolves names with this resolver. It has an authority of its own, because this machine may have
/// none.
pub(crate) fn client(names: &Names) -> GuardedHttpClient {
    GuardedHttpClient::builder().resolver(names.clone()).trust_pem(AUTHORITY).build().unwrap()
}

/// Returns a policy with a short timeout that allows the loopback interface.
pub(crate) fn on_loopback() -> FetchPolicy {
    let mut policy = FetchPolicy::default();
    policy.allow_loopback_for_development = true;
    policy.timeout = time::Duration::seconds(20);
    policy
}

pub(crate) async fn get(
    client: &GuardedHttpClient,
    url: &str,
    policy: &FetchPolicy,
) -> Result<GetResponse, FetchError> {
    client.get(&GetRequest::new(url, policy)).await
}

/// Describes an outcome in a few words.
pub(crate) fn outcome(result: &Result<GetResponse, FetchError>) -> String {
    match result {
        Ok(response) => format!("{} with {} bytes", response.status(), response.body().len()),
        Err(FetchError::Url(problem)) => format!("url: {problem:?}"),
        Err(FetchError::Address(address)) => format!("address: {address}"),
        Err(FetchError::Name(_)) => "name".to_owned(),
        Err(FetchError::Connection(_)) => "connection".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}
