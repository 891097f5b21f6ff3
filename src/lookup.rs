//! Finding a presented token: the one caller of [`Storage::find`](crate::Storage::find), and the checks that every user
//! of a single-use token needs.

use std::ops::Deref;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::client::auth::AuthenticatedClient;
use crate::error::{Error, Refusal};
use crate::record::{CodeBinding, Grant, Spent, StoredToken};
use crate::secret::{AccessToken, Secret, Token, TokenHash, TokenKind, kind};
use crate::server_context::ServerContext;
use crate::storage::Found;

/// A token that was presented and found, with its record and its grant as they stand: it may be spent, expired or
/// revoked. Which of the checks below are made, and in which order, is the caller's to say.
#[derive(Debug)]
#[must_use = "a token that was found is not yet a token that is valid"]
pub struct PresentedToken<K: Token> {
    secret: Secret<K>,
    token: Arc<StoredToken>,
    grant: Arc<Grant>,
}

/// Finds the record of a text that was presented: the one place that turns such a text into the key of a row.
///
/// The text of an opaque token has no dot, a signed one has. A row that names another format than the text has is not found, so
/// that the identifier of a signed token is no token. A signed text that contradicts its row finds nothing, either.
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

/// Finds the record of a token that a client wants to revoke. A code and a one-time key are not such tokens; a row of a kind that
/// this version does not know may be one.
pub(crate) async fn find_revocable(server: &ServerContext, token: &str) -> Result<Option<Found>, Error> {
    let found = find(server, token).await?;
    Ok(found.filter(|found| {
        matches!(found.token.kind, TokenKind::AccessToken | TokenKind::RefreshToken | TokenKind::Unknown(_))
    }))
}

/// Finds the record of a token whose kind is not known, to inspect it. A code is not such a token.
pub(crate) async fn find_access_or_refresh_token(server: &ServerContext, token: &str) -> Result<Option<Found>, Error> {
    let found = find(server, token).await?;
    Ok(found.filter(|found| matches!(found.token.kind, TokenKind::AccessToken | TokenKind::RefreshToken)))
}

/// Finds the record of a token of one kind; a token of another kind is unknown.
pub(crate) async fn find_of_kind<K: Token>(server: &ServerContext, token: &str) -> Result<Option<Found>, Error> {
    let found = find(server, token).await?;
    Ok(found.filter(|found| found.token.kind == K::KIND))
}

/// Finds a token that is to be judged and then spent.
pub(crate) async fn find_presented<K: Token>(
    server: &ServerContext,
    secret: Secret<K>,
) -> Result<Option<PresentedToken<K>>, Error> {
    let found = find_of_kind::<K>(server, secret.expose()).await?;
    Ok(found.map(|Found { token, grant }| PresentedToken { secret, token, grant }))
}

/// Finds the access token that was minted with this identifier, in whichever format that was.
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

/// A presented token that belongs to the authenticated client. Made by [`PresentedToken::must_belong_to`] alone, and demanded by
/// every decision about it, so that the check can't be forgotten.
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

/// A grant of which a live access token was presented. Made by [`PresentedToken::must_be_live`] alone, and demanded by
/// [`OpenGrant::child_of`](crate::grant_type::OpenGrant::child_of), so that nothing is derived from a dead grant.
#[derive(Debug, Clone)]
#[must_use = "nothing is derived from a grant that is not passed to `child_of`"]
pub struct LiveGrant {
    grant: Arc<Grant>,
}

impl LiveGrant {
    /// The grant.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }
}

impl PresentedToken<kind::AccessToken> {
    /// Refuses an access token that was revoked or has expired, or whose grant was revoked or has ended. It may have been
    /// issued to another client: whether this one may use it is for the caller to judge. Refuses a token of another type than
    /// `Bearer` too: it is bound to a proof, which this does not check.
    ///
    /// # Errors
    /// [`Refusal::GrantEnded`], [`Refusal::ExpiredToken`] or [`Refusal::BoundToken`]; [`Error::Unenforced`] if the token or its grant
    /// has a critical member that this version does not enforce.
    pub fn must_be_live(&self, now: OffsetDateTime) -> Result<LiveGrant, Error> {
        self.must_have_a_live_grant(now)?;
        self.must_not_be_expired(now)?;
        Error::check_enforced(self.unenforced_member())?;
        if !self.grant.token_type().eq_ignore_ascii_case("Bearer") {
            return Err(Refusal::BoundToken.into());
        }
        Ok(LiveGrant { grant: Arc::clone(&self.grant) })
    }
}

impl<K: Token> PresentedToken<K> {
    /// Its record.
    #[must_use]
    pub fn token(&self) -> &StoredToken {
        &self.token
    }

    /// Its grant.
    #[must_use]
    pub const fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// How it was spent, if it was.
    #[must_use]
    pub fn spent(&self) -> Option<&Spent> {
        self.token.spent.as_ref()
    }

    /// What a code is bound to.
    #[must_use]
    pub fn code_binding(&self) -> Option<&CodeBinding> {
        self.token.details.code.as_ref()
    }

    /// Refuses a token that was issued to another client (RFC 6749 §5.2). Only what passed this can be spent.
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

    /// A critical member of the token or its grant that is not enforced.
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
