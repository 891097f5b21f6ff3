//! The revocation endpoint (RFC 7009).

use time::OffsetDateTime;

use crate::client::auth::{Caller, PARAMETERS_ABOUT_A_TOKEN};
use crate::client::request::{ClientRequest, endpoint};
use crate::error::{Error, Refusal};
use crate::event::EventKind;
use crate::http::{Request, Response};
use crate::issue::revoke_grant;
use crate::lookup::find_revocable;
use crate::record::TokenKind;
use crate::secret::{AccessToken, RefreshToken};
use crate::server_context::ServerContext;
use crate::storage::Found;
use crate::token::refuse;

/// A request to the revocation endpoint (RFC 7009 §2.1) that was not checked yet.
///
/// ```
/// use grantor::{RefreshToken, RevocationRequest};
///
/// let token = RefreshToken::new("gTkD7c..");
/// let request = RevocationRequest::refresh_token(&token).client_id("my-app");
/// ```
pub type RevocationRequest<'a> = ClientRequest<'a, endpoint::Revocation>;

impl<'a> RevocationRequest<'a> {
    /// Builds a request that revokes one access token.
    pub fn access_token(token: &'a AccessToken) -> Self {
        Self::empty().parameter("token", token.expose()).parameter("token_type_hint", "access_token")
    }

    /// Builds a request that revokes the grant of a refresh token with all its tokens. An older refresh token of the
    /// grant works, too, because a client that lost a response has no newer one.
    pub fn refresh_token(token: &'a RefreshToken) -> Self {
        Self::empty().parameter("token", token.expose()).parameter("token_type_hint", "refresh_token")
    }
}

/// Serves an HTTP request.
pub(crate) async fn respond(server: &ServerContext, request: &Request) -> Response {
    let result = match RevocationRequest::read(request, server.policy.max_body, &PARAMETERS_ABOUT_A_TOKEN, false) {
        Ok(request) => revoke(server, &request).await,
        Err(refusal) => {
            let error = refusal.into();
            let refused = EventKind::RevocationRefused { client_id: None, presented_client_id: None, error: &error };
            server.observe_from(request.peer(), server.now(), refused);
            Err(error)
        }
    };
    match result {
        // RFC 7009 §2.2 needs no body, but some clients parse the body of every response as JSON.
        Ok(()) => Response::json(200, *b"{}"),
        Err(error) => refuse(&error, &server.issuer),
    }
}

/// Serves a typed request.
pub(crate) async fn revoke(server: &ServerContext, request: &RevocationRequest<'_>) -> Result<(), Error> {
    let now = server.now();
    let mut caller = Caller::default();
    let result = answer(server, request, now, &mut caller).await;
    if let Err(error) = &result {
        let (client_id, presented_client_id) = (caller.client_id(), caller.presented_client_id());
        let refused = EventKind::RevocationRefused { client_id, presented_client_id, error };
        server.observe_from(request.context.peer(), now, refused);
    }
    result
}

/// Authenticates the client before it looks up the token, so that only clients can ask about tokens (RFC 7009 §2.1). It
/// ignores the hint, because one look-up finds tokens of all kinds.
async fn answer(
    server: &ServerContext,
    request: &RevocationRequest<'_>,
    now: OffsetDateTime,
    caller: &mut Caller,
) -> Result<(), Error> {
    request.params.check(&PARAMETERS_ABOUT_A_TOKEN)?;
    let client = caller.authenticate(server, request, now).await?;
    let token = request.params.require("token")?;
    // An unknown token does not work, which is what the client wants (RFC 7009 §2.2).
    let Some(Found { token, grant }) = find_revocable(server, token).await? else { return Ok(()) };
    if grant.client_id != *client.id() {
        let error = Refusal::NotYourToken.into();
        // The error reveals that the token exists. Anyone can register as a client or use a public client.
        if client.is_confidential() && client.is_registered_by_administrator() {
            return Err(error);
        }
        let client_id = Some(client.id());
        let refused = EventKind::RevocationRefused { client_id, presented_client_id: None, error: &error };
        server.observe_from(request.context.peer(), now, refused);
        return Ok(());
    }
    match token.kind {
        TokenKind::AccessToken => server.storage.revoke_access_token(&token.hash, now).await?,
        TokenKind::RefreshToken => revoke_grant(server, &grant, now).await?,
        // A dead token of an unknown kind needs no revocation. A live one can't be revoked (RFC 7009 §2.2.1).
        _ if token.revoked_at.is_some() || now >= token.expires_at || !grant.is_live(now) => return Ok(()),
        _ => return Err(Refusal::UnsupportedTokenKind.into()),
    }
    // A dead token is revoked again, because the outcome of an earlier attempt may be unknown. The observer gets only
    // one event.
    if token.revoked_at.is_none() && grant.is_live(now) {
        server.observe_from(request.context.peer(), now, EventKind::TokenRevoked { grant: &grant, kind: &token.kind });
    }
    Ok(())
}
