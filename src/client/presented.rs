//! The credentials that a request presents outside of its parameters, before any check.

use std::borrow::Cow;
use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::http::Request;
use crate::params::decode_component;
use crate::record::is_printable;
use crate::secret::ClientSecret;

/// The decoded identifier and secret of a `Basic` header, or those that an in-process caller passes.
#[derive(Debug)]
pub(crate) struct PresentedCredentials<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) secret: PresentedSecret<'a>,
    /// Whether `secret` is the raw text of the header, because form-decoding gives no secret.
    pub(crate) only_raw: bool,
    /// The raw secret of the header, if form-decoding changes the secret and does not change the identifier.
    pub(crate) raw_secret: Option<ClientSecret>,
    /// Whether the header has a `%` or `+`.
    pub(crate) has_escapes: bool,
}

/// A client secret, borrowed from the caller or decoded from the request.
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

impl<'a> PresentedCredentials<'a> {
    /// Returns the credentials of an in-process caller.
    pub(crate) const fn of(id: Cow<'a, str>, secret: &'a ClientSecret) -> Self {
        let secret = PresentedSecret::Borrowed(secret);
        Self { id, secret, only_raw: false, raw_secret: None, has_escapes: false }
    }
}

impl PresentedCredentials<'_> {
    /// Reads the `Authorization` header. Identifier and secret are form-encoded separately (RFC 6749 §2.3.1).
    pub(crate) fn read(request: &Request) -> Result<Option<Self>, Refusal> {
        let mut headers = request.header_values("authorization");
        let header = match (headers.next(), headers.next()) {
            (None, _) => return Ok(None),
            (Some(header), None) => header,
            (Some(_), Some(_)) => return Err(Refusal::SeveralAuthenticationMethods),
        };
        let mut words = header.splitn(2, |byte| *byte == b' ');
        let (scheme, encoded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Err(Refusal::AuthenticationMethodNotAllowed);
        }
        let decoded = STANDARD.decode(encoded.trim_ascii()).map_err(|_| Refusal::MalformedAuthorization)?;
        Self::of_pair(&Zeroizing::new(decoded)).map(Some)
    }

    fn of_pair(pair: &[u8]) -> Result<Self, Refusal> {
        let colon = pair.iter().position(|byte| *byte == b':').ok_or(Refusal::MalformedAuthorization)?;
        let (id, secret) = (&pair[..colon], &pair[colon + 1..]);
        let raw = || std::str::from_utf8(secret).ok().filter(|raw| is_printable(raw)).map(ClientSecret::new);
        let raw_secret = if has_escapes(secret) && !has_escapes(id) { raw() } else { None };
        let has_escapes = has_escapes(pair);
        let unreadable = if has_escapes { Refusal::UnencodedCredentials } else { Refusal::MalformedAuthorization };
        let id = decode_component(id).ok_or(unreadable)?.into_owned().into();
        let decoded = decode_component(secret).map(ClientSecret::new);
        let is_secret = |secret: &ClientSecret| !secret.expose().is_empty() && is_printable(secret.expose());
        let (secret, only_raw, raw_secret) = match (decoded, raw_secret) {
            (Some(decoded), None) => (decoded, false, None),
            (Some(decoded), Some(raw)) if is_secret(&decoded) => (decoded, false, Some(raw)),
            (_, raw) => (raw.ok_or(unreadable)?, true, None),
        };
        Ok(Self { id, secret: PresentedSecret::Decoded(secret), only_raw, raw_secret, has_escapes })
    }
}

/// Returns whether form-decoding changes or refuses a text.
fn has_escapes(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'%' | b'+'))
}
