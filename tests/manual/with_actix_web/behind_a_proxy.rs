use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use std::net::{IpAddr, SocketAddr};

// App::new().wrap(actix_web::middleware::from_fn(peer_from_proxy))
pub async fn peer_from_proxy(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let header = request.headers().get("x-real-ip").and_then(|value| value.to_str().ok());
    if let Some(peer) = header.and_then(|text| text.parse::<IpAddr>().ok()) {
        request.head_mut().peer_addr = Some(SocketAddr::new(peer, 0));
    }
    next.call(request).await
}
