//! Access tokens as signed JWTs (RFC 9068).

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use time::Duration;

use crate::customizer::is_reserved;
use crate::error::{Error, SigningError};
use crate::jose::{Accepted, Algorithm, AwsLc, Keys, Typ, sign, verify_own};
use crate::record::{Grant, StoredToken};
use crate::secret::{AccessToken, TokenHash};
use crate::signed_format::{Read, SignedFormat};

/// The maximum size of a token to verify, in bytes. Issued tokens are smaller, because their claims are bounded.
const MAX_SIZE: usize = 16 * 1024;

/// The type in the header, without `application/` (RFC 9068 §2.1).
const TYP: &str = "at+jwt";

/// The claims that each token of each version has (RFC 9068 §2.2).
const REQUIRED: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];

/// The signed access tokens of one server.
pub(crate) struct JwtAccessTokens {
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) algorithm: Algorithm,
    /// Whether new access tokens are signed. If not, earlier tokens or those of another node may be.
    pub(crate) signs_new_tokens: bool,
    pub(crate) issuer: Box<str>,
}

/// The claims of a token (RFC 9068 §2.2). They follow from its row and its grant alone.
#[derive(Serialize)]
struct AccessTokenClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    /// The user, or the client if it acts for itself.
    sub: &'a str,
    client_id: &'a str,
    scope: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
    /// The claims that the customizer added. Reserved names were dropped when the token was issued.
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl JwtAccessTokens {
    fn claims<'a>(&'a self, id: &'a str, row: &'a StoredToken, grant: &'a Grant) -> AccessTokenClaims<'a> {
        AccessTokenClaims {
            iss: &self.issuer,
            // Every token of a server with resources has one.
            aud: row.details.audience.as_deref().unwrap_or_default(),
            sub: grant.subject.as_ref().map_or(grant.client_id.as_str(), |subject| subject.as_str()),
            client_id: grant.client_id.as_str(),
            scope: row.scope.as_str(),
            iat: row.issued_at.unix_timestamp(),
            exp: row.expires_at.unix_timestamp(),
            jti: id,
            more: &row.details.claims,
        }
    }
}

#[async_trait]
impl SignedFormat for JwtAccessTokens {
    fn name(&self) -> &'static str {
        "jwt"
    }

    fn is_for_new_tokens(&self) -> bool {
        self.signs_new_tokens
    }

    fn longest_lifetime(&self) -> Option<Duration> {
        self.keys.schedule().map(|schedule| schedule.keep)
    }

    fn key(&self, id: &AccessToken) -> TokenHash {
        TokenHash::of_jwt_id(id.expose())
    }

    async fn text(&self, id: &AccessToken, row: &StoredToken, grant: &Grant) -> Result<AccessToken, Error> {
        let signer = self.keys.signer(self.algorithm).await.map_err(SigningError::from)?;
        let claims = serde_json::to_vec(&self.claims(id.expose(), row, grant)).map_err(SigningError::new)?;
        let text = sign(&*signer, TYP, &claims).await.map_err(SigningError::new)?;
        Ok(AccessToken::new(text))
    }

    async fn read(&self, text: &str) -> Result<Option<Read>, Error> {
        // Each key of the server is for one algorithm, even if the algorithm no longer signs.
        let accepted = Accepted { max_size: MAX_SIZE, typ: Typ::Is(TYP), algorithms: &Algorithm::ALL };
        let verified = verify_own(text, accepted, &self.issuer, &*self.keys, &AwsLc).await;
        let Ok(claims) = verified.map_err(SigningError::from)? else { return Ok(None) };
        // The present issuer, not that of the row, because other services also compare with the present issuer (RFC
        // 9068 §4). `agrees` does the same with the audience.
        let is_own = claims.text("iss") == Ok(Some(&*self.issuer));
        let Ok(Some(id)) = claims.text("jti") else { return Ok(None) };
        let key = TokenHash::of_jwt_id(id);
        Ok(is_own.then(|| Read { key, claims: claims.into_members() }))
    }

    /// Compares the claims that follow from the row and the grant. A token of an older version may have fewer claims,
    /// but it has the [`REQUIRED`] ones. A token of a newer version may have more, with names that host apps can't use.
    /// If such a claim restricts the token, the row has a critical member.
    fn agrees(&self, read: &Read, row: &StoredToken, grant: &Grant) -> bool {
        let Some(Value::String(id)) = read.claims.get("jti") else { return false };
        let Ok(Value::Object(expected)) = serde_json::to_value(self.claims(id, row, grant)) else { return false };
        let is_complete = REQUIRED.iter().all(|name| read.claims.contains_key(*name));
        is_complete
            && read.claims.iter().all(|(name, value)| match expected.get(name) {
                Some(own) => own == value,
                None => is_reserved(name),
            })
    }
}
