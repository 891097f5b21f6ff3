//! What is measured, and what each side must be able to do.

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
/// What the bearer check requires.
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

    /// As it is written on the command line.
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

/// Somebody who can do the five operations.
pub trait Subject: Sync {
    /// Prepares `n` runs, which takes no part in what is measured. Everything a run is given exists beforehand as text, or
    /// in the type in which a caller of this API holds a token.
    fn batch(&self, op: Op, n: usize) -> Box<dyn Batch + Send + '_>;
}

/// Runs that were prepared. Each of them can be done once.
pub trait Batch {
    /// Only puts the requests together, so that what this allocates can be told apart.
    fn build(&mut self);

    /// Puts the requests together, does the operation, renders its answer, and drops all of it.
    fn run(&mut self);
}

struct Prepared<I, B, R> {
    inputs: Vec<I>,
    build: B,
    run: R,
}

/// A batch of what is to be done with each input.
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

/// A registered client, as whoever writes its requests knows it.
pub struct Registered {
    pub id: String,
    pub secret: String,
    /// The value of its `Authorization` header.
    pub basic: String,
}

/// The clients that all subjects know, and users who never come twice.
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

    /// One client after the other.
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

/// Drives a future that has nothing to wait for, as those over a storage in memory have not.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing in memory is waited for"),
    }
}
