//! Requests and responses as plain data. An adapter for a web stack needs only a few lines.

#[cfg(feature = "jwt")]
mod accept;
mod context;
mod from_parts;
mod languages;
mod request;
mod response;

#[cfg(feature = "jwt")]
pub(crate) use self::accept::prefers;
pub use self::context::RequestContext;
pub(crate) use self::context::network_of;
pub use self::from_parts::ResponseError;
pub use self::languages::Languages;
pub use self::request::Request;
pub use self::response::Response;
