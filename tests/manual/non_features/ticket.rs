use async_trait::async_trait;
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::{Error, ErrorCode, GrantType, Subject};
use time::Duration;

/// Exchanges a ticket of your own for tokens, once.
struct TicketGrant(GrantType);

#[async_trait]
impl GrantHandler for TicketGrant {
    fn grant_type(&self) -> &GrantType {
        &self.0 // an absolute URI, such as "urn:example:ticket"
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["ticket"] // each allowed once
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let ticket = context.params().require("ticket")?;
        let Some(user) = owner_of(ticket) else {
            return Err(Error::refused(ErrorCode::INVALID_GRANT, "the ticket is not valid"));
        };
        let order = OpenGrant::new(context.scope()?).subject(user).refreshable();
        // A ticket is valid for a day. The step that stores the grant also uses up the ticket, so that only
        // one of two requests gets tokens.
        Ok(Decision::open(order.once("ticket", ticket, context.now() + Duration::DAY)))
    }
}
