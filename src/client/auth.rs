//! Client authentication (RFC 6749 §2.3). It is the same at every endpoint.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use time::OffsetDateTime;

#[cfg(feature = "jwt")]
use super::assertion::{ASSERTION_TYPE, Assertion};
use super::request::ClientRequest;
use super::{AuthenticationMethod, Client};
use crate::authenticator::{ClientAttempt, Verdict};
use crate::capability::ServerView;
use crate::error::{Error, ErrorCode, Refusal};
use crate::event::EventKind;
use crate::http::Request;
use crate::record::{ClientId, is_client_id, is_printable};
use crate::secret::ClientSecret;
use crate::server_context::ServerContext;

/// A client that has authenticated, or a public client, which needs no authentication. Only client authentication
/// creates a value of this type, so a function that takes one can't be called for an unauthenticated client.
#[derive(Debug, Clone)]
pub struct AuthenticatedClient {
    client: Arc<Client>,
    proof: ClientProof,
}

/// The way in which a client authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientProof {
    /// With a secret.
    Secret,
    /// With a signed assertion.
    #[cfg(feature = "jwt")]
    Assertion,
    /// Not authenticated, because it is a public client.
    None,
}

impl AuthenticatedClient {
    pub(crate) const fn proof(&self) -> ClientProof {
        self.proof
    }
}

impl Deref for AuthenticatedClient {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The body parameters for client authentication.
pub(crate) const PARAMETERS: [&str; 4] = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// The parameters of a revocation or introspection request. Each may occur once (RFC 7009 §2.1, RFC 7662 §2.1).
pub(crate) const PARAMETERS_ABOUT_A_TOKEN: [&str; 6] = {
    let [id, secret, assertion, assertion_type] = PARAMETERS;
    ["token", "token_type_hint", id, secret, assertion, assertion_type]
};

/// The proof of a client's identity in a request, before it is checked. A request has one at most.
enum Proof<'a> {
    /// A secret, with the method that presents it.
    Secret(ReadSecret<'a>, AuthenticationMethod),
    /// A signed assertion.
    #[cfg(feature = "jwt")]
    Assertion(Assertion<'a>),
    /// The identifier alone.
    None,
}

/// A presented secret, in each possible reading (with or without form-decoding).
struct ReadSecret<'a> {
    secret: &'a ClientSecret,
    /// Whether `secret` is the raw reading and no other reading exists.
    only_raw: bool,
    /// The raw reading, if it exists in addition to `secret`.
    raw: Option<&'a ClientSecret>,
}

/// The client of a request, as far as it is known. The observer gets it, too.
#[derive(Default)]
pub(crate) struct Caller {
    authenticated: Option<AuthenticatedClient>,
    /// The client that the request names, until it has authenticated.
    presented: Option<Arc<Client>>,
}

impl Caller {
    /// Authenticates the client of a request: collects its proof, then checks it.
    pub(crate) async fn authenticate<E>(
        &mut self,
        server: &ServerContext,
        request: &ClientRequest<'_, E>,
        now: OffsetDateTime,
    ) -> Result<&AuthenticatedClient, Error> {
        let body_secret = request.params.get("client_secret")?.map(ClientSecret::new);
        let (id, proof) = presented(server, request, body_secret.as_ref())?;
        self.presented = if is_client_id(&id) { server.find_client(&id).await? } else { None };
        let client = self.presented.as_deref();
        let (checked, proven) = match proof {
            Proof::None => (without_secret(client).map_err(Error::from), ClientProof::None),
            #[cfg(feature = "jwt")]
            Proof::Assertion(assertion) => {
                (assertion.verify(server, client, request.context.peer(), now).await, ClientProof::Assertion)
            }
            Proof::Secret(read, method) => {
                let takes_raw = client.is_some_and(Client::may_send_raw_secret);
                let attempt = ClientAttempt {
                    client_id: &id,
                    // A client that must form-encode can't have sent this secret on purpose. Treat the attempt like one
                    // for an unknown client.
                    client: client.filter(|_| takes_raw || !read.only_raw),
                    secret: read.secret,
                    raw_secret: read.raw.filter(|_| takes_raw),
                    method,
                    peer: request.context.peer(),
                    now,
                };
                (with_secret(server, client, &attempt).await, ClientProof::Secret)
            }
        };
        match checked {
            // Only the request determines this error, so it reveals nothing about the client.
            Err(Error::Refused(refusal)) if has_escapes(request) && refusal.code() == ErrorCode::INVALID_CLIENT => {
                return Err(Refusal::UnencodedCredentials.into());
            }
            checked => checked?,
        }
        let client = self.presented.take().ok_or(Refusal::UnknownClient)?;
        Ok(self.authenticated.insert(AuthenticatedClient { client, proof: proven }))
    }

    /// Returns the client that has authenticated.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.authenticated.as_deref()
    }

    /// Returns the identifier of the client that has authenticated.
    pub(crate) fn client_id(&self) -> Option<&ClientId> {
        self.client().map(Client::id)
    }

    /// Returns the client that the request names, if it has not authenticated.
    pub(crate) fn presented_client_id(&self) -> Option<&ClientId> {
        self.presented.as_deref().map(Client::id)
    }
}

/// Collects the identifier and the proof from the header and the body. Two proofs are an error, even if both are right
/// (RFC 6749 §2.3).
fn presented<'r, E>(
    server: &'r ServerContext,
    request: &'r ClientRequest<'_, E>,
    body_secret: Option<&'r ClientSecret>,
) -> Result<(Cow<'r, str>, Proof<'r>), Refusal> {
    let params = &request.params;
    let basic = request.credentials.as_ref().map_err(|refusal| *refusal)?.as_ref();
    let client_id = params.get("client_id")?;
    let assertion = (params.get("client_assertion_type")?, params.get("client_assertion")?);
    let from_header = basic.map(|basic| {
        let read = ReadSecret { secret: &basic.secret, only_raw: basic.only_raw, raw: basic.raw_secret.as_ref() };
        Proof::Secret(read, AuthenticationMethod::ClientSecretBasic)
    });
    let from_body = body_secret.map(|secret| {
        Proof::Secret(ReadSecret { secret, only_raw: false, raw: None }, AuthenticationMethod::ClientSecretPost)
    });
    let proof = match (from_header, from_body, assertion) {
        (None, None, (None, None)) => Proof::None,
        (Some(proof), None, (None, None)) | (None, Some(proof), (None, None)) => proof,
        (None, None, (kind, text)) => proof_by_assertion(server, kind, text)?,
        _ => return Err(Refusal::SeveralAuthenticationMethods),
    };
    let id = match (basic, client_id, &proof) {
        (Some(basic), Some(id), _) if basic.id != id => return Err(Refusal::ConflictingClientIds),
        (Some(basic), _, _) => Cow::Borrowed(&*basic.id),
        (None, Some(id), _) => Cow::Borrowed(id),
        #[cfg(feature = "jwt")]
        (None, None, Proof::Assertion(assertion)) => Cow::Owned(assertion.presented_client_id()?),
        (None, None, _) => return Err(Refusal::MissingClientAuthentication),
    };
    Ok((id, proof))
}

/// Returns the proof of a request with one or both parameters of an assertion (RFC 7521 §4.2). A server that accepts no
/// assertions refuses it and never ignores it.
#[cfg(feature = "jwt")]
fn proof_by_assertion<'r>(
    server: &'r ServerContext,
    assertion_type: Option<&str>,
    text: Option<&'r str>,
) -> Result<Proof<'r>, Refusal> {
    match (&server.client_signatures, assertion_type, text) {
        (Some(signatures), Some(ASSERTION_TYPE), Some(text)) => Ok(Proof::Assertion(Assertion { text, signatures })),
        (Some(_), Some(ASSERTION_TYPE), None) => Err(Refusal::MissingClientAuthentication),
        _ => Err(Refusal::AuthenticationMethodNotAllowed),
    }
}

#[cfg(not(feature = "jwt"))]
const fn proof_by_assertion<'r>(
    _: &'r ServerContext,
    _: Option<&str>,
    _: Option<&'r str>,
) -> Result<Proof<'r>, Refusal> {
    Err(Refusal::AuthenticationMethodNotAllowed)
}

/// Authenticates the client of a request at an endpoint of a capability or of the host app. A failure sends the same
/// event as at the token endpoint.
pub(crate) async fn authenticate_client(
    server: &ServerContext,
    request: &Request,
    max_body: usize,
) -> Result<AuthenticatedClient, Error> {
    let (now, mut caller) = (server.now(), Caller::default());
    let result = read_and_authenticate(server, request, max_body, now, &mut caller).await;
    if let Err(error) = &result {
        let (client_id, presented_client_id) = (caller.client_id(), caller.presented_client_id());
        let refused = EventKind::TokenRefused { client_id, presented_client_id, grant_type: None, error };
        server.observe_from(request.peer(), now, refused);
    }
    result
}

async fn read_and_authenticate(
    server: &ServerContext,
    request: &Request,
    max_body: usize,
    now: OffsetDateTime,
    caller: &mut Caller,
) -> Result<AuthenticatedClient, Error> {
    let request = ClientRequest::<OtherEndpoint>::read(request, max_body, &PARAMETERS, false)?;
    request.params.check(&PARAMETERS)?;
    let client = caller.authenticate(server, &request, now).await?;
    Error::check_enforced(client.parts().unenforced_member())?;
    Ok(client.clone())
}

/// An endpoint of a capability or of the host app.
enum OtherEndpoint {}

impl ServerView<'_> {
    /// Authenticates the client of a request like [`AuthorizationServer::authenticate_client`]. The body limit of the
    /// endpoint applies.
    ///
    /// # Errors
    /// The same as for that method. Pass the error to [`refuse`](ServerView::refuse) to get a response.
    ///
    /// [`AuthorizationServer::authenticate_client`]: crate::AuthorizationServer::authenticate_client
    pub async fn authenticate_client(self, request: &Request) -> Result<AuthenticatedClient, Error> {
        // The dispatcher has already applied the limit of the endpoint, which may be above that of the policy.
        authenticate_client(self.server, request, usize::MAX).await
    }
}

/// Accepts a public client without a secret, and no other client (RFC 6749 §2.2, §3.2.1).
fn without_secret(client: Option<&Client>) -> Result<(), Refusal> {
    match client {
        None => Err(Refusal::UnknownClient),
        Some(client) if client.allows_authentication_method(AuthenticationMethod::None) => Ok(()),
        Some(_) => Err(Refusal::MissingClientAuthentication),
    }
}

/// Returns whether a Basic header has a `%` or `+`, which a client without form-encoding sends unchanged.
fn has_escapes<E>(request: &ClientRequest<'_, E>) -> bool {
    request.credentials.as_ref().is_ok_and(|basic| basic.as_ref().is_some_and(|basic| basic.has_escapes))
}

/// Checks a presented secret. It must be right even if the client needs none (RFC 6749 §3.2.1).
async fn with_secret(
    server: &ServerContext,
    client: Option<&Client>,
    attempt: &ClientAttempt<'_>,
) -> Result<(), Error> {
    if client.is_some_and(|client| !client.allows_authentication_method(attempt.method)) {
        return Err(Refusal::AuthenticationMethodNotAllowed.into());
    }
    let secret = attempt.secret.expose();
    // The identifier of a found client is well-formed.
    let is_id = client.is_some() || is_client_id(attempt.client_id);
    if secret.is_empty() || !is_id || !is_printable(secret) {
        return Err(Refusal::ClientAuthenticationFailed.into());
    }
    let has_live_credential =
        |client: &Client| client.credentials().iter().any(|credential| credential.is_live(attempt.now));
    let verdict = match &server.authenticator {
        Some(authenticator) => authenticator.authenticate_client(attempt).await?,
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
