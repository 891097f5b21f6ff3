//! Serves connections, with limits on their number and on the time that each step takes.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use grantor::axum::wait_for_completion;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use crate::lock;
use crate::peer::network_of;

/// The most bytes of the head of a request: 64 KiB for the query, and as much for the headers.
const MAX_HEAD: usize = 128 * 1024;

/// Limits of all connections, and of each one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The maximum number of connections at once; further ones wait. A peer that is not a proxy may have half of them.
    pub(crate) connections: usize,
    /// The deadline for the headers of a request, which includes the idle time before them. For bodies, see
    /// `Policy::body_deadline`.
    pub(crate) headers: Duration,
    /// The lifetime of a connection. It stops clients that don't read their responses.
    pub(crate) connection: Duration,
    /// How long the current request may take after the lifetime of its connection has ended, or when the server stops.
    pub(crate) grace: Duration,
}

impl Limits {
    pub(crate) const fn of(connections: usize) -> Self {
        Self {
            connections,
            headers: Duration::from_secs(10),
            connection: Duration::from_secs(5 * 60),
            grace: Duration::from_secs(10),
        }
    }
}

/// Serves until `stop` is ready. Then it finishes the current requests within the grace period, and the work that runs to
/// completion within another one.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    is_proxy: impl Fn(IpAddr) -> bool,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let peers = Arc::new(Peers::default());
    let (stopping, _) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        // While all slots are taken, connections wait in the queue of the operating system.
        let next = async { (Arc::clone(&slots).acquire_owned().await, listener.accept().await) };
        let (slot, accepted) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let most = if is_proxy(peer.ip()) { limits.connections } else { limits.connections.div_ceil(2) };
                // Further connections of the peer are closed at once.
                let Some(of_peer) = Peers::enter(&peers, peer.ip(), most) else { continue };
                let connection = serve_one(stream, peer, router.clone(), limits, stopping.subscribe());
                tokio::spawn(async move {
                    connection.await;
                    drop((slot, of_peer));
                });
            }
            Err(error) if concerns_one_connection(&error) => {}
            // For example, no file descriptor is free.
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
    drop(listener);
    stopping.send_replace(true);
    // Each connection has its own deadline.
    stopping.closed().await;
    // Work whose browser has disconnected, such as an approval, would be cancelled when the runtime ends.
    let _ = timeout(limits.grace, wait_for_completion()).await;
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.headers).max_buf_size(MAX_HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // An error concerns this connection only.
        _ = connection.as_mut() => return,
        () = sleep(limits.connection) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.grace, connection).await;
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The number of connections of each peer.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

impl Peers {
    /// Counts a connection until the returned value is dropped. `None` if the peer has `most` connections already.
    fn enter(peers: &Arc<Self>, peer: IpAddr, most: usize) -> Option<OfPeer> {
        let peer = network_of(peer);
        let mut counts = lock(&peers.0);
        let count = counts.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(OfPeer { peers: Arc::clone(peers), peer })
    }
}

#[derive(Debug)]
struct OfPeer {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Drop for OfPeer {
    fn drop(&mut self) {
        let mut counts = lock(&self.peers.0);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::extract::Extension;
    use axum::routing::get;
    use grantor::axum::run_to_completion;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinHandle;

    use super::*;

    /// Longer than any test runs.
    const NEVER: Duration = Duration::from_secs(600);
    /// Short enough to wait for.
    const SOON: Duration = Duration::from_millis(50);

    const LIMITS: Limits = Limits { connections: 4, headers: NEVER, connection: NEVER, grace: NEVER };

    struct Served {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        ended: JoinHandle<()>,
        /// Lets `/slow` respond.
        go: Arc<Notify>,
        /// The number of requests to `/slow`.
        waiting: Arc<AtomicUsize>,
    }

    async fn served(limits: Limits) -> Served {
        served_behind(limits, |_| false).await
    }

    async fn served_behind(limits: Limits, is_proxy: fn(IpAddr) -> bool) -> Served {
        let (go, waiting) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let slow = async |Extension((go, waiting)): Extension<(Arc<Notify>, Arc<AtomicUsize>)>| {
            waiting.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            "done"
        };
        let work = async |Extension((go, waiting)): Extension<(Arc<Notify>, Arc<AtomicUsize>)>| {
            run_to_completion(async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                waiting.fetch_sub(1, Ordering::SeqCst);
            })
            .await;
        };
        let router = Router::new()
            .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()))
            .route("/slow", get(slow))
            .route("/work", get(work))
            .route("/large", get(async || "x".repeat(1 << 26)))
            .layer(Extension((Arc::clone(&go), Arc::clone(&waiting))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move {
            serve(listener, router, limits, is_proxy, async { drop(stopped.await) }).await;
        });
        Served { address, stop, ended, go, waiting }
    }

    impl Served {
        async fn send(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream
        }

        /// Sends a request to `/slow` and waits until it is being served.
        async fn begin(&self) -> TcpStream {
            self.begin_at("/slow").await
        }

        async fn begin_at(&self, path: &str) -> TcpStream {
            let before = self.waiting.load(Ordering::SeqCst);
            let stream = self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            while self.waiting.load(Ordering::SeqCst) == before {
                tokio::task::yield_now().await;
            }
            stream
        }
    }

    /// Reads until the server closes the connection.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        while let Ok(1..) = stream.read_buf(&mut text).await {}
        String::from_utf8(text).unwrap()
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    // Regression: a client that sends half a request must not hold a connection forever.
    #[tokio::test]
    async fn slow_headers_and_idle_connections_are_closed() {
        let served = served(Limits { headers: SOON, ..LIMITS }).await;
        for begun in ["", "G", "GET / HTTP/1.1\r\nhost: a\r\nx: "] {
            let answer = rest(served.send(begun).await).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{begun:?}: {answer:?}");
        }
        let idle = rest(served.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await).await;
        assert!(idle.starts_with("HTTP/1.1 200 ") && idle.ends_with("\r\n\r\n127.0.0.1"), "{idle:?}");
    }

    #[tokio::test]
    async fn connection_ends_after_its_time_but_not_its_request() {
        let served = served(Limits { connection: SOON, ..LIMITS }).await;
        assert_eq!(rest(served.send("").await).await, "");
        let mut answer = tokio::spawn(rest(served.begin().await));
        assert!(timeout(4 * SOON, &mut answer).await.is_err(), "the request was cut off");
        served.go.notify_one();
        assert!(answer.await.unwrap().ends_with("\r\n\r\ndone"));
    }

    #[tokio::test]
    async fn connections_above_the_limit_wait_for_a_slot() {
        let served = served(Limits { connections: 1, ..LIMITS }).await;
        let first = served.begin().await;
        let second = tokio::spawn(rest(served.send(GET).await));
        assert!(timeout(SOON, served.send(GET).await.readable()).await.is_err(), "it is served");
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap().starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn one_peer_gets_half_of_the_connections() {
        let served = served(LIMITS).await;
        let (first, _second) = (served.begin().await, served.begin().await);
        assert_eq!(rest(served.send(GET).await).await, "", "the third of this peer");
        drop(first);
        while rest(served.send(GET).await).await.is_empty() {}
        // A proxy may have all connections.
        let served = served_behind(LIMITS, |peer| peer.is_loopback()).await;
        let (_first, _second) = (served.begin().await, served.begin().await);
        assert!(rest(served.send(GET).await).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn stop_waits_for_requests_under_way_for_the_grace() {
        let served = served(LIMITS).await;
        let (idle, busy) = (served.send("").await, served.begin().await);
        served.stop.send(()).unwrap();
        assert_eq!(rest(idle).await, "");
        assert!(!served.ended.is_finished());
        served.go.notify_one();
        assert!(rest(busy).await.ends_with("\r\n\r\ndone"));
        served.ended.await.unwrap();
        assert!(TcpStream::connect(served.address).await.is_err());

        let served = self::served(Limits { grace: SOON, ..LIMITS }).await;
        let (busy, slow) = (served.begin().await, served.send("GET / HT").await);
        served.stop.send(()).unwrap();
        served.ended.await.unwrap();
        assert_eq!((rest(busy).await, rest(slow).await), (String::new(), String::new()));
        // The server does not wait for a client that does not read its response.
        let served = self::served(Limits { grace: SOON, ..LIMITS }).await;
        let unread = served.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
        unread.readable().await.unwrap();
        served.stop.send(()).unwrap();
        served.ended.await.unwrap();
        assert!(rest(unread).await.len() < 1 << 26);
    }

    // Regression: SIGTERM cancelled work that was to run even if the browser disconnects.
    #[tokio::test]
    async fn stop_waits_for_work_whose_browser_disconnected() {
        let served = served(LIMITS).await;
        drop(served.begin_at("/work").await);
        served.stop.send(()).unwrap();
        let mut ended = served.ended;
        assert!(timeout(SOON, &mut ended).await.is_err(), "the work was cancelled");
        served.go.notify_one();
        ended.await.unwrap();
        assert_eq!(served.waiting.load(Ordering::SeqCst), 0, "the work is done");
    }
}
