//! The implicit grant (RFC 6749 §4.2): the authorization endpoint itself issues an access token. Off by default.

use time::OffsetDateTime;

use crate::client::Client;
use crate::error::Error;
use crate::grants::OpenGrant;
use crate::host::Host;
use crate::issue::{self, Issued};
use crate::record::GrantType;

static GRANT_TYPE: GrantType = GrantType::built_in(GrantType::IMPLICIT);

/// Issues the token of a redirect. It can't be refreshed (RFC 6749 §4.2.2): the order of an approval is not refreshable.
pub(crate) async fn issue_token(
    host: &Host,
    client: &Client,
    approved: OpenGrant,
    now: OffsetDateTime,
) -> Result<Issued, Error> {
    issue::open_grant(host, client, &GRANT_TYPE, approved, now).await
}
