//! The credentials that a request presents outside of its parameters, before anything is checked.

use std::borrow::Cow;
use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::http::Request;
use crate::params::decode_component;
use crate::secret::ClientSecret;

/// The user-id and password of a `Basic` header, decoded, or those that an in-process caller gives in place of a header.
#[derive(Debug)]
pub(crate) struct PresentedCredentials<'a> {
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

impl PresentedCredentials<'_> {
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
        let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let id = decode_component(&decoded[..colon])?.into_owned().into();
        let secret = ClientSecret::new(decode_component(&decoded[colon + 1..])?);
        Some(Self { id, secret: PresentedSecret::Decoded(secret) })
    }
}
