//! Client authentication (RFC 6749 §2.3), the same at every endpoint.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;

use super::request::ClientRequest;
use super::{AuthenticationMethod, Client};
use crate::authenticator::{ClientAttempt, Verdict};
use crate::bytes::are_printable;
use crate::error::{Error, Refusal};
use crate::host::Host;
use crate::http::Request;
use crate::params::decode_component;
use crate::record::is_client_id;
use crate::secret::ClientSecret;
use crate::wipe::Wiped;

/// A client that has proven who it is, or a public one that need not. Made by client authentication alone, so that what
/// demands one can't be reached without.
#[derive(Debug, Clone)]
pub struct AuthenticatedClient(Arc<Client>);

impl Deref for AuthenticatedClient {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.0
    }
}

/// Parameters by which a client identifies itself in a body.
pub(crate) const PARAMETERS: [&str; 4] = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// Parameters of a request about a token, each allowed once (RFC 7009 §2.1, RFC 7662 §2.1).
pub(crate) const PARAMETERS_ABOUT_A_TOKEN: [&str; 6] = {
    let [id, secret, assertion, assertion_type] = PARAMETERS;
    ["token", "token_type_hint", id, secret, assertion, assertion_type]
};

/// The user-id and password of a `Basic` header, decoded; or what an in-process caller has in place of one.
#[derive(Debug)]
pub(crate) struct Basic<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) secret: PresentedSecret<'a>,
}

/// A client secret, the caller's own or one that was decoded for this request.
#[derive(Debug)]
pub(crate) enum PresentedSecret<'a> {
    Borrowed(&'a ClientSecret),
    Decoded(ClientSecret),
}

impl Deref for PresentedSecret<'_> {
    type Target = ClientSecret;
    fn deref(&self) -> &ClientSecret {
        match self {
            Self::Borrowed(secret) => secret,
            Self::Decoded(secret) => secret,
        }
    }
}

impl Basic<'_> {
    /// Reads the `Authorization` header (RFC 6749 §2.3.1: both halves are form-encoded before they are put together).
    pub(crate) fn read(request: &Request) -> Result<Option<Self>, Refusal> {
        let mut headers = request.header_values("authorization");
        let header = match (headers.next(), headers.next()) {
            (None, _) => return Ok(None),
            (Some(header), None) => header,
            (Some(_), Some(_)) => return Err(Refusal::MalformedAuthorization),
        };
        let mut words = header.splitn(2, |byte| *byte == b' ');
        let (scheme, encoded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Err(Refusal::AuthenticationMethodNotAllowed);
        }
        Self::decode(encoded.trim_ascii()).map(Some).ok_or(Refusal::MalformedAuthorization)
    }

    fn decode(encoded: &[u8]) -> Option<Self> {
        let decoded = Wiped::new(STANDARD.decode(encoded).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let id = decode_component(&decoded[..colon])?.into_owned().into();
        let secret = ClientSecret::new(decode_component(&decoded[colon + 1..])?);
        Some(Self { id, secret: PresentedSecret::Decoded(secret) })
    }
}

/// Authenticates the client of a request from its `Authorization` header and its body.
pub(crate) async fn authenticate<E>(
    host: &Host,
    request: &ClientRequest<'_, E>,
    now: OffsetDateTime,
) -> Result<AuthenticatedClient, Error> {
    let (params, peer) = (&request.params, request.peer);
    let basic = request.basic.as_ref().map_err(|refusal| *refusal)?.as_ref();
    let client_id = params.get("client_id")?;
    let body_secret = params.get("client_secret")?.map(ClientSecret::new);
    let assertion = params.get("client_assertion")?.or(params.get("client_assertion_type")?);

    let methods = usize::from(basic.is_some()) + usize::from(body_secret.is_some()) + usize::from(assertion.is_some());
    if methods > 1 {
        return Err(Refusal::SeveralAuthenticationMethods.into());
    }
    if assertion.is_some() {
        return Err(Refusal::AuthenticationMethodNotAllowed.into());
    }
    let id = match (basic, client_id) {
        (Some(basic), Some(id)) if basic.id != id => return Err(Refusal::ConflictingClientIds.into()),
        (Some(basic), _) => &*basic.id,
        (None, Some(id)) => id,
        (None, None) => return Err(Refusal::MissingClientAuthentication.into()),
    };
    let client = if is_client_id(id) { host.clients.client(id).await? } else { None };

    let (secret, method) = match (basic, &body_secret) {
        (Some(basic), _) => (&*basic.secret, AuthenticationMethod::ClientSecretBasic),
        (None, Some(secret)) => (secret, AuthenticationMethod::ClientSecretPost),
        (None, None) => return without_secret(client),
    };
    let attempt = ClientAttempt { client_id: id, client: client.as_deref(), secret, method, peer, now };
    with_secret(host, &attempt).await?;
    client.map(AuthenticatedClient).ok_or_else(|| Refusal::UnknownClient.into())
}

/// An identifier alone is enough for a public client, and for no other (RFC 6749 §2.2, §3.2.1).
fn without_secret(client: Option<Arc<Client>>) -> Result<AuthenticatedClient, Error> {
    match client {
        None => Err(Refusal::UnknownClient.into()),
        Some(client) if client.allows_authentication_method(AuthenticationMethod::None) => {
            Ok(AuthenticatedClient(client))
        }
        Some(_) => Err(Refusal::MissingClientAuthentication.into()),
    }
}

/// A secret that was presented must be right, even from a client that needs none (RFC 6749 §3.2.1).
async fn with_secret(host: &Host, attempt: &ClientAttempt<'_>) -> Result<(), Error> {
    if attempt.client.is_some_and(|client| !client.allows_authentication_method(attempt.method)) {
        return Err(Refusal::AuthenticationMethodNotAllowed.into());
    }
    let secret = attempt.secret.expose();
    // The identifier of a client that was found is one.
    let is_id = attempt.client.is_some() || is_client_id(attempt.client_id);
    if secret.is_empty() || !is_id || !are_printable(secret.as_bytes()) {
        return Err(Refusal::ClientAuthenticationFailed.into());
    }
    let has_live_credential =
        |client: &Client| client.credentials().iter().any(|credential| credential.is_live(attempt.now));
    let verdict = match &host.authenticator {
        Some(authenticator) => authenticator.client(attempt).await?,
        None if attempt.matches_a_digest() => Verdict::Accepted(()),
        None => Verdict::Rejected,
    };
    match (verdict, attempt.client) {
        (Verdict::Throttled { retry_after }, _) => Err(Error::Throttled { retry_after }),
        (_, None) => Err(Refusal::UnknownClient.into()),
        (Verdict::Accepted(()), Some(client)) if has_live_credential(client) => Ok(()),
        (Verdict::Accepted(()) | Verdict::Rejected, Some(_)) => Err(Refusal::ClientAuthenticationFailed.into()),
    }
}
