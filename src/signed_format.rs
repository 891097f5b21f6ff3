//! Signed access tokens, whose text contains claims. Without a signed format, every access token is opaque.

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::Duration;

use crate::error::Error;
use crate::record::{Grant, StoredToken};
use crate::secret::{AccessToken, TokenHash};

/// A format of signed access tokens. Each token has a random identifier. Its text contains the identifier or a value
/// that is derived from it.
#[async_trait]
pub(crate) trait SignedFormat: Send + Sync {
    /// Returns the name of this format in rows: see [`TokenDetails::format`](crate::record::TokenDetails::format).
    fn name(&self) -> &'static str;

    /// Returns whether new tokens get this format. If not, the server still reads older tokens of this format, and
    /// makes their texts again for repeated refreshes.
    fn is_for_new_tokens(&self) -> bool {
        true
    }

    /// Returns the maximum time for which a new token can be verified, if it is limited.
    fn longest_lifetime(&self) -> Option<Duration> {
        None
    }

    /// Returns the hash under which the row of the token with this identifier is stored. No opaque text has this hash.
    fn key(&self, id: &AccessToken) -> TokenHash;

    /// Returns the signed text of a token with the contents of its row and its grant. Another service may hold the key.
    ///
    /// # Errors
    /// The text could not be signed. Nothing is stored yet.
    async fn text(&self, id: &AccessToken, row: &StoredToken, grant: &Grant) -> Result<AccessToken, Error>;

    /// Verifies a text and returns the hash of its row. Returns `None` if this server did not sign the text.
    ///
    /// # Errors
    /// The text could not be verified now.
    async fn read(&self, text: &str) -> Result<Option<Read>, Error>;

    /// Returns whether the contents of a text do not contradict its row and its grant. This server trusts only the row,
    /// but other services trust the text.
    fn agrees(&self, read: &Read, row: &StoredToken, grant: &Grant) -> bool;
}

/// A text with a valid signature.
pub(crate) struct Read {
    pub(crate) key: TokenHash,
    #[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "only the format of the feature `jwt` compares them"))]
    pub(crate) claims: Map<String, Value>,
}
