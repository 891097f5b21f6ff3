use std::net::IpAddr;

use grantor::Request;

/// A request, as a web stack receives it. Your web stack has its own types.
pub struct Incoming<'a> {
    pub method: &'a str,
    /// The path and the query, as in the request line.
    pub target: &'a str,
    /// Every header in the received order, including repeated headers.
    pub headers: &'a [(&'a str, &'a [u8])],
    pub body: Body<'a>,
    pub connection: IpAddr,
}

pub enum Body<'a> {
    Whole(&'a [u8]),
    /// The body exceeded the limit, and the stack stopped reading.
    TooLarge,
    /// The connection broke, or the framing was wrong.
    Broken,
    /// The body did not arrive within `Policy::body_deadline`.
    Late,
}

pub fn to_grantor(incoming: &Incoming<'_>) -> Request {
    let request = Request::new(incoming.method, incoming.target).with_peer(incoming.connection);
    let request = request.with_headers(incoming.headers.iter().copied());
    match incoming.body {
        Body::Whole(body) => request.with_body(body),
        Body::TooLarge => request.with_body_too_large(),
        Body::Broken => request.with_broken_body(),
        Body::Late => request.with_late_body(),
    }
}
