//! The arrival of a signed request object (RFC 9101).

use std::sync::Arc;

use time::OffsetDateTime;

use super::carried::{Carried, Source};
use super::request::AuthorizationRequest;
use super::{AuthorizationEndpoint, Failure, Named, Presented, Validated};
use crate::client_signatures::ClientSignatures;
use crate::error::{Error, Refusal};
use crate::request_object;

impl AuthorizationEndpoint {
    /// Reads a request object. All parameters outside of it are ignored, except the identifier of the client (RFC 9101
    /// §6.3). Errors go to a page until the signature and the redirect URI inside the object are confirmed.
    pub(super) async fn arrive_signed(
        &self,
        request: &AuthorizationRequest<'_>,
        object: &str,
        signatures: &ClientSignatures,
        now: OffsetDateTime,
    ) -> Result<(Carried, Validated), Failure> {
        let client = self.client(request.params.require("client_id")?).await?;
        let page = |error: Error| Failure::page(Named::Claimed(Arc::clone(&client)), error);
        let expected = request_object::expected(&client, &self.server, request.visitor.peer);
        let read = request_object::read(object, &expected, signatures, &self.parameter_names, now).await;
        let read = read.map_err(page)?.map_err(|problem| page(Refusal::RequestObject(problem).into()))?;
        let (params, source) = (&read.params, Source::Signed);
        self.check_size(params).map_err(|refusal| page(refusal.into()))?;
        let presented = Presented { params, source, fault: read.problem.map(Refusal::RequestObject) };
        let validated = self.validate_as(client, params.get("redirect_uri")?, &presented)?;
        self.carry(params, source, validated, now)
    }
}
