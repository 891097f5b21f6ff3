//! Access tokens whose text says something and is signed. Without a format for them, every access token is opaque.

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::Duration;

use crate::error::Error;
use crate::record::{Grant, StoredToken};
use crate::secret::{AccessToken, TokenHash};

/// Writes and reads signed access tokens. A token has a random identifier; its text contains it, or something derived from it.
#[async_trait]
pub(crate) trait SignedFormat: Send + Sync {
    /// The word under which rows name this format, see [`TokenDetails::format`](crate::record::TokenDetails::format).
    fn name(&self) -> &'static str;

    /// Whether new tokens have this format. Those of before are still read, and written again, if they have not.
    fn is_for_new_tokens(&self) -> bool {
        true
    }

    /// How long a token can be verified after it was signed, if that has an end.
    fn longest_lifetime(&self) -> Option<Duration> {
        None
    }

    /// Returns the key of the row of the token with this identifier. It is the hash of no text that a client could present.
    fn key(&self, id: &AccessToken) -> TokenHash;

    /// Writes and signs the text of a token, which says what its row and its grant say. The key may be in another service.
    ///
    /// # Errors
    /// It could not be signed. Nothing was stored so far.
    async fn text(&self, id: &AccessToken, row: &StoredToken, grant: &Grant) -> Result<AccessToken, Error>;

    /// Verifies a text and returns the key of its row; `None` if this server did not sign it.
    ///
    /// # Errors
    /// It could not be verified now.
    async fn read(&self, text: &str) -> Result<Option<Read>, Error>;

    /// Whether a text says nothing else than its row and its grant. Only the row counts here, but other services believe the text.
    fn agrees(&self, read: &Read, row: &StoredToken, grant: &Grant) -> bool;
}

/// A text whose signature is good.
pub(crate) struct Read {
    pub(crate) key: TokenHash,
    #[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "only the format of that feature compares them"))]
    pub(crate) claims: Map<String, Value>,
}
