//! Access tokens that an API in another process was told about.

use std::fmt;

use time::{Duration, OffsetDateTime};

use crate::record::{ClientId, Subject};
use crate::scope::Scope;

/// An access token that its authorization server has called active.
pub(crate) struct IntrospectedToken {
    pub(crate) scope: Scope,
    pub(crate) client_id: ClientId,
    /// `None` for the token of a client that acts for itself.
    pub(crate) subject: Option<Subject>,
    /// The later one of `iat` and `nbf`.
    pub(crate) not_before: Option<OffsetDateTime>,
    pub(crate) expires_at: OffsetDateTime,
    /// The introspection response as it came.
    pub(crate) document: Box<[u8]>,
}

/// How far the clock of the authorization server may be ahead. A token is used within moments after it was issued.
const MOST_AHEAD: Duration = Duration::MINUTE;

impl IntrospectedToken {
    /// Whether the clock of this process is within the token's time.
    pub(crate) fn is_live(&self, now: OffsetDateTime) -> bool {
        let has_begun = self.not_before.is_none_or(|begin| begin - now <= MOST_AHEAD);
        has_begun && now < self.expires_at
    }
}

impl fmt::Debug for IntrospectedToken {
    /// Without the document, whose members may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectedToken")
            .field("scope", &self.scope)
            .field("client_id", &self.client_id)
            .field("subject", &self.subject)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
