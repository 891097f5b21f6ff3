//! The resource owner password credentials grant (RFC 6749 §4.3). Off by default.

use async_trait::async_trait;

use super::{Decision, GrantContext, GrantHandler, OpenGrant};
use crate::authenticator::{ResourceOwnerAttempt, Verdict};
use crate::error::{Error, Refusal};
use crate::record::GrantType;
use crate::resource::usable_scope;
use crate::secret::Password;

/// The handler that issues tokens for a user's password.
pub(crate) struct PasswordGrant;

#[async_trait]
impl GrantHandler for PasswordGrant {
    fn grant_type(&self) -> &GrantType {
        const { &GrantType::built_in(GrantType::PASSWORD) }
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["username", "password"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let username = context.params.require("username")?;
        let password = Password::new(context.params.require("password")?);
        // Before the password is checked, so that no error confirms it.
        let resources = &context.server.resources;
        let scope = usable_scope(resources, &resources.for_named(context.resource.as_ref())?, context.scope()?)?;
        let attempt = ResourceOwnerAttempt {
            username,
            password: &password,
            client: context.client,
            scope: &scope,
            peer: context.peer(),
            now: context.now,
        };
        match context.authenticator().authenticate_resource_owner(&attempt).await? {
            Verdict::Accepted(subject) => {
                let order = OpenGrant::new(scope).subject(subject);
                Ok(Decision::open(order.refreshable()))
            }
            Verdict::Rejected => Err(Refusal::ResourceOwnerRejected.into()),
            Verdict::Throttled { retry_after } => Err(Error::Throttled { retry_after }),
        }
    }
}
