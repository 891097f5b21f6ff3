//! The measured operations, and the trait of the measured subjects.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use grantor::{ClientSecret, SystemEntropy};

pub const ISSUER: &str = "https://id.example.com";
pub const REDIRECT_URI: &str = "https://app.example/callback";
pub const STATE: &str = "af0ifjsldkj";
/// RFC 7636 Appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub const SCOPE: &str = "user:read user:write";
/// The scope that the bearer check requires.
pub const REQUIRED: &str = "user:read";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Authorize,
    Code,
    Refresh,
    ClientCredentials,
    Bearer,
}

impl Op {
    pub const ALL: [Self; 5] = [Self::Authorize, Self::Code, Self::Refresh, Self::ClientCredentials, Self::Bearer];

    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Code => "code",
            Self::Refresh => "refresh",
            Self::ClientCredentials => "client-credentials",
            Self::Bearer => "bearer",
        }
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::Authorize => "authorize → code: request checked, approved, redirect rendered",
            Self::Code => "code → tokens: Basic, S256, JSON rendered",
            Self::Refresh => "refresh: Basic, rotation, JSON rendered",
            Self::ClientCredentials => "client credentials: Basic, JSON rendered",
            Self::Bearer => "bearer check: live token, one scope required",
        }
    }
}

/// An implementation of the five operations.
pub trait Subject: Sync {
    /// Prepares `n` runs. The preparation is not measured. All inputs of a run exist before it, as text or in the type
    /// in which a caller of the API holds a token.
    fn batch(&self, op: Op, n: usize) -> Box<dyn Batch + Send + '_>;
}

/// Prepared runs. Each can run once.
pub trait Batch {
    /// Only builds the requests, so that their allocations can be counted separately.
    fn build(&mut self);
    /// Builds the requests, runs the operation, renders the responses, and drops everything.
    fn run(&mut self);
}

struct Prepared<I, B, R> {
    inputs: Vec<I>,
    build: B,
    run: R,
}

/// Returns a batch that builds and runs a request for each input.
pub fn batch<'a, I: Send + 'a>(
    inputs: Vec<I>,
    build: impl FnMut(&mut I) + Send + 'a,
    run: impl FnMut(&mut I) + Send + 'a,
) -> Box<dyn Batch + Send + 'a> {
    Box::new(Prepared { inputs, build, run })
}

impl<I, B: FnMut(&mut I), R: FnMut(&mut I)> Batch for Prepared<I, B, R> {
    fn build(&mut self) {
        self.inputs.iter_mut().for_each(&mut self.build);
    }

    fn run(&mut self) {
        self.inputs.iter_mut().for_each(&mut self.run);
    }
}

/// A registered client with its credentials.
pub struct Registered {
    pub id: String,
    pub secret: String,
    /// The value of its `Authorization` header.
    pub basic: String,
}

/// The clients that all subjects know, and a supply of new users.
pub struct World {
    pub clients: Vec<Registered>,
    users: AtomicUsize,
    turn: AtomicUsize,
}

impl World {
    pub fn new(clients: usize) -> Self {
        let clients = (0..clients).map(|number| {
            let id = format!("client-{number:08}");
            let secret = ClientSecret::generate(&SystemEntropy).expect("entropy").expose().to_owned();
            let basic = format!("Basic {}", base64(&format!("{id}:{secret}")));
            Registered { id, secret, basic }
        });
        Self { clients: clients.collect(), users: AtomicUsize::new(0), turn: AtomicUsize::new(0) }
    }

    /// Returns the next client in turn.
    pub fn client(&self) -> &Registered {
        &self.clients[self.turn.fetch_add(1, Ordering::Relaxed) % self.clients.len()]
    }

    pub fn user(&self) -> String {
        format!("user-{:010}", self.users.fetch_add(1, Ordering::Relaxed))
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Runs a future that is never pending, as with a storage in memory.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory storage never waits"),
    }
}
