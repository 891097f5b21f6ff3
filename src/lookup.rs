//! Finding presented tokens, and checks of them. Only this module calls [`Storage::find`](crate::Storage::find).

use std::ops::Deref;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::client::auth::AuthenticatedClient;
use crate::error::{Error, Refusal};
use crate::record::{CodeBinding, Grant, Spent, StoredToken};
use crate::secret::{AccessToken, Secret, Token, TokenHash, TokenKind, kind};
use crate::server_context::ServerContext;
use crate::storage::Found;

/// A presented token with its record and its grant. It may be spent, expired or revoked. The caller decides which
/// checks to make, and in which order.
#[derive(Debug)]
#[must_use = "a token that was found is not yet a token that is valid"]
pub struct PresentedToken<K: Token> {
    secret: Secret<K>,
    token: Arc<StoredToken>,
    grant: Arc<Grant>,
}

/// Finds the record of a presented token text. Every look-up of a token text goes through this function.
///
/// A signed text contains a dot and an opaque one does not. The row must have the format of the text, so that the
/// identifier of a signed token is not accepted as a token. A signed text that contradicts its row is not found.
async fn find(server: &ServerContext, text: &str) -> Result<Option<Found>, Error> {
    match &server.signed_format {
        Some(format) if text.contains('.') => {
            let Some(read) = format.read(text).await? else { return Ok(None) };
            let found = find_by_key(server, &read.key, Some(format.name())).await?;
            Ok(found.filter(|found| format.agrees(&read, &found.token, &found.grant)))
        }
        _ => find_by_key(server, &TokenHash::of(text), None).await,
    }
}

async fn find_by_key(server: &ServerContext, key: &TokenHash, format: Option<&str>) -> Result<Option<Found>, Error> {
    let found = server.storage.find(key).await?;
    Ok(found.filter(|found| found.token.details.format.as_deref() == format))
}

/// Finds the record of a token to revoke. Codes and one-time keys can't be revoked. Tokens of a kind that this version
/// does not know are returned, too.
pub(crate) async fn find_revocable(server: &ServerContext, token: &str) -> Result<Option<Found>, Error> {
    let found = find(server, token).await?;
    Ok(found.filter(|found| {
        matches!(found.token.kind, TokenKind::AccessToken | TokenKind::RefreshToken | TokenKind::Unknown(_))
    }))
}

/// Finds the record of a token to introspect, which may be an access token or a refresh token.
pub(crate) async fn find_access_or_refresh_token(server: &ServerContext, token: &str) -> Result<Option<Found>, Error> {
    let found = find(server, token).await?;
    Ok(found.filter(|found| matches!(found.token.kind, TokenKind::AccessToken | TokenKind::RefreshToken)))
}

/// Finds the record of a token of one kind. Tokens of other kinds are not found.
pub(crate) async fn find_of_kind<K: Token>(server: &ServerContext, token: &str) -> Result<Option<Found>, Error> {
    let found = find(server, token).await?;
    Ok(found.filter(|found| found.token.kind == K::KIND))
}

/// Finds a presented token of one kind, to check and redeem it.
pub(crate) async fn find_presented<K: Token>(
    server: &ServerContext,
    secret: Secret<K>,
) -> Result<Option<PresentedToken<K>>, Error> {
    let found = find_of_kind::<K>(server, secret.expose()).await?;
    Ok(found.map(|Found { token, grant }| PresentedToken { secret, token, grant }))
}

/// Finds the access token that was issued with this identifier, in any format.
pub(crate) async fn find_minted(
    server: &ServerContext,
    id: AccessToken,
) -> Result<Option<PresentedToken<kind::AccessToken>>, Error> {
    let signed = match &server.signed_format {
        Some(format) => find_by_key(server, &format.key(&id), Some(format.name())).await?,
        None => None,
    };
    let found = match signed {
        Some(found) => Some(found),
        None => find_by_key(server, &id.hash(), None).await?,
    };
    let found = found.filter(|found| found.token.kind == TokenKind::AccessToken);
    Ok(found.map(|Found { token, grant }| PresentedToken { secret: id, token, grant }))
}

/// A presented token that belongs to the authenticated client. Only [`PresentedToken::must_belong_to`] makes it, and
/// every decision about a token needs it, so that the check can't be forgotten.
#[derive(Debug)]
#[must_use = "a token that was found is not yet a token that is valid"]
pub(crate) struct VerifiedToken<K: Token>(PresentedToken<K>);

impl<K: Token> Deref for VerifiedToken<K> {
    type Target = PresentedToken<K>;
    fn deref(&self) -> &PresentedToken<K> {
        &self.0
    }
}

impl<K: Token> VerifiedToken<K> {
    pub(crate) fn into_inner(self) -> PresentedToken<K> {
        self.0
    }
}

/// A grant for which a live access token was presented. Only [`PresentedToken::must_be_live`] makes it, and
/// [`OpenGrant::child_of`](crate::grant_type::OpenGrant::child_of) needs it, so that no grant is derived from a dead
/// one.
#[derive(Debug, Clone)]
#[must_use = "nothing is derived from a grant that is not passed to `child_of`"]
pub struct LiveGrant {
    grant: Arc<Grant>,
    /// The audience of the access token.
    audience: Option<Box<str>>,
}

impl LiveGrant {
    /// Returns the grant.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    pub(crate) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }
}

impl PresentedToken<kind::AccessToken> {
    /// Checks that the access token is live: it is not revoked or expired, and its grant is live. Also refuses tokens
    /// that are not of the type `Bearer`, because they need a proof that this method can't check.
    ///
    /// It does not check the client. The token may belong to another client, and the caller must decide whether this
    /// client may use it.
    ///
    /// # Errors
    /// [`Refusal::GrantEnded`], [`Refusal::ExpiredToken`] or [`Refusal::BoundToken`]; [`Error::Unenforced`] if the
    /// token or its grant has a critical member that this version does not enforce.
    pub fn must_be_live(&self, now: OffsetDateTime) -> Result<LiveGrant, Error> {
        self.must_have_a_live_grant(now)?;
        self.must_not_be_expired(now)?;
        Error::check_enforced(self.unenforced_member())?;
        if !self.grant.token_type().eq_ignore_ascii_case("Bearer") {
            return Err(Refusal::BoundToken.into());
        }
        Ok(LiveGrant { grant: Arc::clone(&self.grant), audience: self.token.details.audience.clone() })
    }
}

impl<K: Token> PresentedToken<K> {
    /// Returns the record of the token.
    #[must_use]
    pub fn token(&self) -> &StoredToken {
        &self.token
    }

    /// Returns the grant of the token.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// Returns how the token was spent, or `None` if it is unspent.
    #[must_use]
    pub fn spent(&self) -> Option<&Spent> {
        self.token.spent.as_ref()
    }

    /// Returns the bindings of a code: its redirect URI and its challenge.
    #[must_use]
    pub fn code_binding(&self) -> Option<&CodeBinding> {
        self.token.details.code.as_ref()
    }

    /// Refuses a token that was issued to another client (RFC 6749 §5.2). Only the result can be redeemed.
    ///
    /// # Errors
    /// [`Refusal::ForeignToken`]
    pub(crate) fn must_belong_to(self, client: &AuthenticatedClient) -> Result<VerifiedToken<K>, Refusal> {
        if self.grant.client_id == *client.id() { Ok(VerifiedToken(self)) } else { Err(Refusal::ForeignToken) }
    }

    /// Refuses a token that was revoked, or whose grant was revoked or has ended.
    ///
    /// # Errors
    /// [`Refusal::GrantEnded`]
    pub fn must_have_a_live_grant(&self, now: OffsetDateTime) -> Result<(), Refusal> {
        if self.token.revoked_at.is_none() && self.grant.is_live(now) { Ok(()) } else { Err(Refusal::GrantEnded) }
    }

    /// Refuses a token that has expired.
    ///
    /// # Errors
    /// [`Refusal::ExpiredToken`]
    pub fn must_not_be_expired(&self, now: OffsetDateTime) -> Result<(), Refusal> {
        if now < self.token.expires_at { Ok(()) } else { Err(Refusal::ExpiredToken) }
    }

    /// Returns a critical member of the token or its grant that this version does not enforce.
    pub(crate) fn unenforced_member(&self) -> Option<&str> {
        self.token.unenforced_member(&self.grant)
    }

    pub(crate) const fn secret(&self) -> &Secret<K> {
        &self.secret
    }

    pub(crate) fn into_parts(self) -> (Secret<K>, Arc<StoredToken>, Arc<Grant>) {
        (self.secret, self.token, self.grant)
    }
}
