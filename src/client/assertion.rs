//! Client authentication by a signed assertion (`private_key_jwt`, RFC 7523 §2.2).

use std::net::IpAddr;

use time::{Duration, OffsetDateTime};

use super::{AuthenticationMethod, Client};
use crate::client_signatures::{ClientSignatures, Expected};
use crate::env::in_microseconds;
use crate::error::{Error, Refusal};
use crate::jose::{Claims, JwtProblem, Typ, unverified_subject};
use crate::server_context::ServerContext;
use crate::storage::ephemeral::{EphemeralKey, Inserted, Namespace};

/// The value of `client_assertion_type` (RFC 7523 §2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The type in the header. Many clients send `JWT` or no type, which is accepted, too.
const TYP: Typ<'_> = Typ::IsOrGeneral("client-authentication+jwt");

/// The maximum size of an assertion, in bytes. One with an RSA signature has less than a thousand.
const MAX_SIZE: usize = 8 * 1024;

/// The maximum time from `iat` (or from now) to `exp`. It bounds how long a used identifier is kept.
const LONGEST: Duration = Duration::minutes(10);

/// The maximum length of `jti`, in bytes.
const MAX_IDENTIFIER: usize = 256;

/// The namespace of used assertions in the ephemeral store.
const NAMESPACE: Namespace = Namespace::from_static("client_assertion");

/// How long a used assertion is remembered after its end, because the clocks of nodes differ.
const CLOCK_DIFFERENCE: Duration = Duration::minutes(1);

/// An assertion that is not verified.
#[derive(Clone, Copy)]
pub(super) struct Assertion<'a> {
    pub(super) text: &'a str,
    pub(super) signatures: &'a ClientSignatures,
}

impl Assertion<'_> {
    /// Returns the client that the assertion names. It may be forged.
    pub(super) fn presented_client_id(&self) -> Result<String, Refusal> {
        unverified_subject(self.text, MAX_SIZE).map_err(Refusal::ClientAssertion)
    }

    /// Verifies the assertion with the keys of a client, and uses it up. This is the last check of authentication, so
    /// that an identifier is kept only for a client that has proven itself.
    pub(super) async fn verify(
        &self,
        server: &ServerContext,
        client: Option<&Client>,
        peer: Option<IpAddr>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let client = client.ok_or(Refusal::UnknownClient)?;
        if !client.allows_authentication_method(AuthenticationMethod::PrivateKeyJwt) {
            return Err(Refusal::AuthenticationMethodNotAllowed.into());
        }
        let expected = Expected {
            client,
            issuer: &server.issuer,
            typ: TYP,
            max_size: MAX_SIZE,
            algorithm: client.token_endpoint_auth_signing_alg(),
            longest: LONGEST,
            needs_expiry: true,
            peer,
        };
        let verified = self.signatures.verify(self.text, &expected, now).await?;
        let (claims, end) = verified.map_err(Refusal::ClientAssertion)?;
        let end = end.ok_or(Refusal::ClientAssertion(JwtProblem::MissingClaim("exp")))?;
        let identifier = identifier(&claims, client).map_err(Refusal::ClientAssertion)?;
        // An identifier of a client contains no zero byte.
        let name = [client.id().as_str().as_bytes(), &[0], identifier.as_bytes()].concat();
        let key = EphemeralKey::new(&server.issuer, NAMESPACE, &name);
        let expires_at = in_microseconds(end.saturating_add(CLOCK_DIFFERENCE));
        match server.ephemeral.insert(&key, &[], expires_at, now).await? {
            Inserted::New(_) => Ok(()),
            Inserted::Taken => Err(Refusal::ClientAssertion(JwtProblem::Replayed).into()),
        }
    }
}

/// Checks that the client is the subject (RFC 7523 §3), and returns the identifier (`jti`).
fn identifier<'a>(claims: &'a Claims, client: &Client) -> Result<&'a str, JwtProblem> {
    if claims.text("sub")?.ok_or(JwtProblem::MissingClaim("sub"))? != client.id().as_str() {
        return Err(JwtProblem::Subject);
    }
    match claims.text("jti")?.ok_or(JwtProblem::MissingClaim("jti"))? {
        identifier if (1..=MAX_IDENTIFIER).contains(&identifier.len()) => Ok(identifier),
        _ => Err(JwtProblem::MalformedClaim("jti")),
    }
}
