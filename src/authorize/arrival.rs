//! The arrival of a new request.

use time::OffsetDateTime;

use super::carried::{Carried, Source};
use super::parameters::{MAX_SIZE, Parameters, REQUEST, REQUEST_URI};
use super::progress::Progress;
use super::request::AuthorizationRequest;
use super::{AuthorizationEndpoint, Failure, Presented, Validated};
use crate::client::Client;
use crate::error::Refusal;
use crate::params::Params;

impl AuthorizationEndpoint {
    /// Reads and validates a new request.
    pub(super) async fn arrive(
        &self,
        request: &AuthorizationRequest<'_>,
        now: OffsetDateTime,
    ) -> Result<(Carried, Validated), Failure> {
        let params = &request.params;
        let (object, uri) = (params.get(REQUEST)?, params.get(REQUEST_URI)?);
        #[cfg(feature = "jwt")]
        if let (Some(object), None, Some(signatures)) = (object, uri, self.server.request_objects()) {
            return Box::pin(self.arrive_signed(request, object, signatures, now)).await;
        }
        let fault = match (object, uri) {
            (None, None) => None,
            (Some(_), None) => Some(Refusal::RequestNotSupported),
            (None, Some(_)) => Some(Refusal::RequestUriNotSupported),
            (Some(_), Some(_)) => Some(Refusal::RequestAndRequestUri),
        };
        self.check_size(params)?;
        let validated = self.validate(&Presented { params, source: Source::Plain, fault }).await?;
        self.carry(params, Source::Plain, validated, now)
    }

    /// Returns a request that was validated, in the form in which it is carried.
    pub(super) fn carry(
        &self,
        params: &Params<'_>,
        source: Source,
        validated: Validated,
        now: OffsetDateTime,
    ) -> Result<(Carried, Validated), Failure> {
        // `audience` may repeat at other endpoints. Here it has one value, like every declared parameter.
        match Parameters::of(params, &self.parameter_names) {
            Ok(parameters) => Ok((Carried { source, progress: Progress::begin(now), parameters }, validated)),
            Err(refusal) => Err(Failure::Redirect(Box::new((validated.client, validated.route, refusal.into())))),
        }
    }

    /// Limits the size of a request, so that a query or form with the request sealed in it is smaller than
    /// [`Policy::max_body`](crate::Policy).
    pub(super) fn check_size(&self, params: &Params<'_>) -> Result<(), Refusal> {
        let most = MAX_SIZE.min(self.server.policy.max_body / 2);
        if params.size() > most { Err(Refusal::BodyTooLarge) } else { Ok(()) }
    }

    /// Returns whether every request of the client must be a signed request object (RFC 9101 §10.5).
    pub(super) fn demands_request_object(&self, client: &Client) -> bool {
        self.server.policy.require_signed_request_object || demands_request_objects(client)
    }
}

#[cfg(feature = "jwt")]
const fn demands_request_objects(client: &Client) -> bool {
    client.requires_signed_request_object()
}

/// Without the feature, the member is unknown and critical, so such a client was refused before.
#[cfg(not(feature = "jwt"))]
const fn demands_request_objects(_: &Client) -> bool {
    false
}
