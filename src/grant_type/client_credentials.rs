//! The client credentials grant (RFC 6749 §4.4): a client acts for itself.

use async_trait::async_trait;

use super::{Decision, GrantContext, GrantHandler, OpenGrant};
use crate::error::{Error, Refusal};
use crate::record::GrantType;

/// The handler that issues tokens without a resource owner and without a refresh token (RFC 6749 §4.4.3).
pub(crate) struct ClientCredentialsGrant;

#[async_trait]
impl GrantHandler for ClientCredentialsGrant {
    fn grant_type(&self) -> &GrantType {
        const { &GrantType::built_in(GrantType::CLIENT_CREDENTIALS) }
    }

    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        // Registration rejects this grant type for public clients. A public client has proven nothing.
        if !context.client.is_confidential() {
            return Err(Refusal::GrantTypeNotAllowed.into());
        }
        Ok(Decision::open(OpenGrant::new(context.own_scope()?)))
    }
}
