//! Requests and responses as plain data, so that any web stack can be adapted in a few lines.

mod context;
mod request;
mod response;

pub use self::context::RequestContext;
pub use self::request::Request;
pub use self::response::Response;
