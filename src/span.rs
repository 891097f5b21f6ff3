//! A span around each endpoint, if the feature `tracing` is on.

/// Runs a future inside a span that names the endpoint. Nothing of the request is a field of it.
#[cfg(feature = "tracing")]
pub(crate) async fn in_span<T>(endpoint: &'static str, future: impl Future<Output = T>) -> T {
    tracing::Instrument::instrument(future, tracing::info_span!("grantor", endpoint)).await
}

#[cfg(not(feature = "tracing"))]
pub(crate) async fn in_span<T>(_: &'static str, future: impl Future<Output = T>) -> T {
    future.await
}
