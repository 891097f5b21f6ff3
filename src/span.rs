//! A span around each endpoint, if the feature `tracing` is on.

/// Runs a future inside a span that names the endpoint. Nothing of the request is a field of it. Not an `async fn`: that would
/// store the future twice.
#[cfg(feature = "tracing")]
pub(crate) fn in_span<T>(endpoint: &'static str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    tracing::Instrument::instrument(future, tracing::info_span!("grantor", endpoint))
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn in_span<T>(_: &'static str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    future
}

/// The same for an endpoint that waits for nothing.
#[cfg(feature = "tracing")]
pub(crate) fn within_span<T>(endpoint: &'static str, work: impl FnOnce() -> T) -> T {
    tracing::info_span!("grantor", endpoint).in_scope(work)
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn within_span<T>(_: &'static str, work: impl FnOnce() -> T) -> T {
    work()
}

/// Lets a future stay in the span that is entered now, wherever it will run.
#[cfg(all(feature = "tracing", any(feature = "axum", feature = "actix-web")))]
pub(crate) fn in_this_span<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    tracing::Instrument::in_current_span(future)
}

#[cfg(all(not(feature = "tracing"), any(feature = "axum", feature = "actix-web")))]
pub(crate) fn in_this_span<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    future
}

/// Logs a mistake in the host's program that a request has met. The path is the route's, without a query.
#[cfg(all(feature = "tracing", any(feature = "axum", feature = "actix-web")))]
pub(crate) fn log_mistake(mistake: &dyn std::error::Error, path: &str) {
    tracing::error!(target: "grantor", path, "{mistake}");
}

#[cfg(all(not(feature = "tracing"), any(feature = "axum", feature = "actix-web")))]
pub(crate) fn log_mistake(_: &dyn std::error::Error, _: &str) {}
