//! Requests and responses as plain data, so that any web stack can be adapted in a few lines.

mod request;
mod response;

pub use self::request::Request;
pub use self::response::Response;
