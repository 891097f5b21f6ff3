//! A tracing span around each endpoint, with the feature `tracing`.

/// Runs a future inside a span that names the endpoint. The span has no field from the request. This is not an `async
/// fn`, because that would store the future twice.
#[cfg(feature = "tracing")]
pub(crate) fn in_span<T>(endpoint: &'static str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    tracing::Instrument::instrument(future, tracing::info_span!("grantor", endpoint))
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn in_span<T>(_: &'static str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    future
}

/// Runs a synchronous function inside a span that names the endpoint.
#[cfg(feature = "tracing")]
pub(crate) fn within_span<T>(endpoint: &'static str, work: impl FnOnce() -> T) -> T {
    tracing::info_span!("grantor", endpoint).in_scope(work)
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn within_span<T>(_: &'static str, work: impl FnOnce() -> T) -> T {
    work()
}

/// Keeps a future in the current span, even if another task runs it.
#[cfg(all(feature = "tracing", any(feature = "axum", feature = "actix-web")))]
pub(crate) fn in_this_span<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    tracing::Instrument::in_current_span(future)
}

#[cfg(all(not(feature = "tracing"), any(feature = "axum", feature = "actix-web")))]
pub(crate) fn in_this_span<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    future
}

/// Logs a mistake in the program of the host app that a request revealed. `path` is the path of the route, without the
/// query.
#[cfg(all(feature = "tracing", any(feature = "axum", feature = "actix-web")))]
pub(crate) fn log_mistake(mistake: &dyn std::error::Error, path: &str) {
    tracing::error!(target: "grantor", path, "{mistake}");
}

#[cfg(all(not(feature = "tracing"), any(feature = "axum", feature = "actix-web")))]
pub(crate) fn log_mistake(_: &dyn std::error::Error, _: &str) {}
