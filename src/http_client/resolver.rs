//! Name look-ups whose addresses are checked before a connection is made.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::address::is_public;
use crate::error::BoxError;

/// Resolves host names for a [`GuardedHttpClient`](super::GuardedHttpClient), which checks the addresses.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `Resolver` returns the addresses of a host name: see `SystemResolver`")]
pub trait Resolver: Send + Sync {
    /// Returns all addresses of a host name. It is called once for each connection.
    ///
    /// ```text
    /// async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, BoxError>
    /// ```
    ///
    /// # Errors
    /// The name does not exist, or the look-up failed.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, BoxError>;
}

#[async_trait]
impl<T: Resolver + ?Sized> Resolver for Arc<T> {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, BoxError> {
        (**self).resolve(name).await
    }
}

/// The look-ups by the operating system that may run. If the name servers do not answer, a look-up outlives the request
/// that needs it by up to half a minute, because it can't be cancelled.
static LOOK_UPS: Semaphore = Semaphore::const_new(64);

/// The resolver of the operating system. A look-up occupies a thread of Tokio for blocking work. At most 64 look-ups run
/// at the same time in a process; further ones wait.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, BoxError> {
        let name = name.to_owned();
        let look_up = move || Ok((&*name, 0).to_socket_addrs()?.map(|address| address.ip()).collect());
        run_blocking(&LOOK_UPS, look_up).await
    }
}

/// Runs work on a thread for blocking work, and holds a permit until it is over, even if nobody waits for it any more.
async fn run_blocking<T: Send + 'static>(
    limit: &'static Semaphore,
    work: impl FnOnce() -> Result<T, BoxError> + Send + 'static,
) -> Result<T, BoxError> {
    let permit = limit.acquire().await?;
    let work = move || {
        let _permit = permit;
        work()
    };
    spawn_blocking(work).await?
}

/// A resolver that fails unless all addresses of a name may be used.
pub(super) struct Checked(pub(super) Arc<dyn Resolver>);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move { look_up(&*resolver, name.as_str()).await })
    }
}

async fn look_up(resolver: &dyn Resolver, name: &str) -> Result<Addrs, BoxError> {
    let addresses = resolver.resolve(name).await.map_err(NotResolved)?;
    if addresses.is_empty() {
        return Err(NotResolved("the name has no address".into()).into());
    }
    // The URL check lets `localhost` pass only with the switch for development.
    let may_use = |address: &IpAddr| {
        if name == "localhost" { address.to_canonical().is_loopback() } else { is_public(*address) }
    };
    match addresses.iter().find(|address| !may_use(address)) {
        Some(address) => Err(NotPublic(*address).into()),
        None => Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)))),
    }
}

/// The error of a name that has an address that may not be used.
#[derive(Debug, thiserror::Error)]
#[error("the address {0} is not public")]
pub(super) struct NotPublic(pub(super) IpAddr);

/// The error of a failed look-up.
#[derive(Debug, thiserror::Error)]
#[error("the look-up failed")]
pub(super) struct NotResolved(#[source] BoxError);

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    // Regression: a look-up that outlived its request did not count, so the threads of the process could run out.
    #[tokio::test]
    async fn abandoned_work_counts_until_it_ends() {
        static LIMIT: Semaphore = Semaphore::const_new(2);
        async fn abandon() -> Sender<()> {
            let (go, wait) = channel::<()>();
            let before = LIMIT.available_permits();
            let task = tokio::spawn(run_blocking(&LIMIT, move || Ok(wait.recv()?)));
            while LIMIT.available_permits() == before {
                tokio::task::yield_now().await;
            }
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            go
        }
        let (first, _second) = (abandon().await, abandon().await);
        assert_eq!(LIMIT.available_permits(), 0);
        let next = tokio::spawn(run_blocking(&LIMIT, || Ok(1)));
        tokio::task::yield_now().await;
        assert!(!next.is_finished());
        first.send(()).unwrap();
        assert_eq!(next.await.unwrap().unwrap(), 1);
    }
}
