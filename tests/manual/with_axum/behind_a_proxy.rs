use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use std::net::{IpAddr, SocketAddr};

pub fn behind_a_proxy(app: axum::Router) -> axum::Router {
    app.layer(from_fn(async |mut request: Request, next: Next| {
        let header = request.headers().get("x-real-ip").and_then(|value| value.to_str().ok());
        if let Some(peer) = header.and_then(|text| text.parse::<IpAddr>().ok()) {
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 0)));
        }
        next.run(request).await
    }))
}
