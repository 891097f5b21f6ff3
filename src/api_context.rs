//! The context of an API whose access tokens are checked.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::env::{Clock, in_microseconds};
use crate::event::{Event, EventKind, Observer};

/// The context that an API needs to refuse a token, in the process of the authorization server or in another one.
pub(crate) struct ApiContext {
    /// The issuer identifier of its authorization server. It needs no escaping in a header.
    pub(crate) issuer: String,
    /// The URL of the metadata document of the API (RFC 9728). It needs no escaping in a header.
    pub(crate) resource_metadata: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
}

impl ApiContext {
    /// Returns the same context for an API with this metadata document.
    pub(crate) fn with_resource_metadata(&self, url: String) -> Self {
        Self {
            issuer: self.issuer.clone(),
            resource_metadata: Some(url),
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&self.observer),
        }
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        in_microseconds(self.clock.now())
    }

    pub(crate) fn observe(&self, peer: Option<IpAddr>, at: OffsetDateTime, kind: EventKind<'_>) {
        self.observer.observe(&Event { at, peer, kind });
    }
}

#[cfg(feature = "jwt")]
impl crate::jose::KeysContext for ApiContext {
    fn now(&self) -> OffsetDateTime {
        Self::now(self)
    }

    fn keys_unavailable(&self, error: crate::jose::KeyError) {
        let error = crate::error::Error::from(crate::error::SigningError::from(error));
        self.observe(None, self.now(), EventKind::KeysUnavailable { error: &error });
    }
}

impl fmt::Debug for ApiContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiContext").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
