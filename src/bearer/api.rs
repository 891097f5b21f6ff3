//! The API that refuses a token: where its challenge leads, and which observer it tells.

use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::event::{Event, EventKind};
use crate::introspected::ApiContext;
use crate::server_context::ServerContext;

/// An API whose tokens are checked.
#[derive(Debug, Clone)]
pub(crate) enum Api {
    /// In the process of the authorization server.
    Own(Arc<ServerContext>),
    /// In another process.
    Separate(Arc<ApiContext>),
}

impl Api {
    /// The issuer identifier. Nothing in it needs escaping in a header.
    pub(super) fn realm(&self) -> &str {
        match self {
            Self::Own(server) => &server.issuer,
            Self::Separate(api) => &api.issuer,
        }
    }

    /// Where the document about the API is. Nothing in it needs escaping in a header.
    pub(super) fn resource_metadata(&self) -> Option<&str> {
        match self {
            Self::Own(server) => server.resource.as_ref().map(|resource| &*resource.metadata),
            Self::Separate(api) => api.resource_metadata.as_deref(),
        }
    }

    pub(super) fn observe(&self, peer: Option<IpAddr>, at: OffsetDateTime, kind: EventKind<'_>) {
        match self {
            Self::Own(server) => server.observe_from(peer, at, kind),
            Self::Separate(api) => api.observer.observe(&Event { at, peer, kind }),
        }
    }
}

impl From<Arc<ServerContext>> for Api {
    fn from(server: Arc<ServerContext>) -> Self {
        Self::Own(server)
    }
}

impl From<Arc<ApiContext>> for Api {
    fn from(api: Arc<ApiContext>) -> Self {
        Self::Separate(api)
    }
}
