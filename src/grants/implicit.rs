//! The implicit grant (RFC 6749 §4.2): the authorization endpoint itself issues an access token. Off by default.

use std::sync::Arc;

use serde_json::Value;

use super::built_in;
use crate::issue::OpenGrant;
use crate::record::{GrantType, Subject};
use crate::scope::Scope;

/// The grant behind a token in a redirect. It can't be refreshed (RFC 6749 §4.2.2).
pub(crate) fn open_for_token(subject: Subject, scope: Scope, host_data: Option<Arc<Value>>) -> OpenGrant {
    let mut order = OpenGrant::new(built_in(GrantType::IMPLICIT), scope).subject(subject);
    order.host_data = host_data;
    order
}
