//! Access tokens that an API in another process knows from introspection.

use std::fmt;

use time::{Duration, OffsetDateTime};

use crate::record::{ClientId, Subject};
use crate::scope::Scope;

/// An access token that is active according to its authorization server.
pub(crate) struct IntrospectedToken {
    pub(crate) scope: Scope,
    pub(crate) client_id: ClientId,
    /// The user, or `None` if the client acts for itself.
    pub(crate) subject: Option<Subject>,
    /// The later time of `iat` and `nbf`.
    pub(crate) not_before: Option<OffsetDateTime>,
    pub(crate) expires_at: OffsetDateTime,
    /// The body of the introspection response.
    pub(crate) document: Box<[u8]>,
}

/// The maximum time that the clock of the authorization server may be ahead. Tokens are used right after they are
/// issued, so the API must accept them even if its clock is behind.
const MOST_AHEAD: Duration = Duration::MINUTE;

impl IntrospectedToken {
    /// Returns whether the token is valid at this time.
    pub(crate) fn is_live(&self, now: OffsetDateTime) -> bool {
        let has_begun = self.not_before.is_none_or(|begin| begin - now <= MOST_AHEAD);
        has_begun && now < self.expires_at
    }
}

impl fmt::Debug for IntrospectedToken {
    /// Omits the document, whose members may be sensitive.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectedToken")
            .field("scope", &self.scope)
            .field("client_id", &self.client_id)
            .field("subject", &self.subject)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
