//! Values that must not leak: tokens, passwords, secrets and seeds.
//!
//! A [`Secret`] has no `Display`, `PartialEq`, `Serialize` or `Clone`. `Debug` prints only its kind, and it is
//! overwritten when dropped. Only [`Secret::expose`] returns the value, so a search for that word finds every place
//! where a secret leaves its wrapper.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A secret text of one kind. Each kind is a separate type, so that they can't be confused.
pub struct Secret<K: SecretKind> {
    value: Zeroizing<String>,
    /// Whether the secret was made from random bytes and not from a text.
    generated: bool,
    kind: PhantomData<fn() -> K>,
}

/// An access token (RFC 6749 §1.4). An issued opaque token has 43 characters.
pub type AccessToken = Secret<kind::AccessToken>;
/// A refresh token (RFC 6749 §1.5). An issued token has 43 characters.
pub type RefreshToken = Secret<kind::RefreshToken>;
/// An authorization code (RFC 6749 §1.3.1). An issued code has 43 characters.
pub type AuthorizationCode = Secret<kind::AuthorizationCode>;
/// The secret of a client (RFC 6749 §2.3.1). A generated secret has 43 characters.
pub type ClientSecret = Secret<kind::ClientSecret>;
/// A resource owner's password (RFC 6749 §4.3).
pub type Password = Secret<kind::Password>;
/// A PKCE code verifier (RFC 7636 §4.1).
pub type CodeVerifier = Secret<kind::CodeVerifier>;

impl<K: SecretKind> Secret<K> {
    /// Wraps a received or generated value.
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: Zeroizing::new(value.into()), generated: false, kind: PhantomData }
    }

    /// Returns the value. The caller must take care that it does not leak.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Returns the value in a wrapper without a kind.
    pub(crate) fn into_plain(self) -> Plain {
        Plain(self.value)
    }

    /// Encodes 256 random bits as base64url without padding: 43 characters.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self { generated: true, ..Self::new(URL_SAFE_NO_PAD.encode(bytes)) }
    }

    /// Returns whether the secret was made by [`from_bytes`](Self::from_bytes).
    pub(crate) const fn is_generated(&self) -> bool {
        self.generated
    }
}

impl<K: Token> Secret<K> {
    /// Returns the SHA-256 digest under which a storage stores this token.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.expose())
    }
}

impl<K: SecretKind> fmt::Debug for Secret<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}([redacted])", K::NAME)
    }
}

/// A secret of any kind. Unlike `String`, it has no `PartialEq`.
pub(crate) struct Plain(Zeroizing<String>);

impl Plain {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain([redacted])")
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "a public trait that cannot be named seals the traits")]
    pub trait Sealed {}
}

/// The kind of a [`Secret`]. Sealed: [`kind`] has all kinds.
pub trait SecretKind: sealed::Sealed + 'static {
    /// The name shown in `Debug` output.
    const NAME: &'static str;
}

/// The kinds of secrets that are tokens. A storage stores them by hash and kind. Sealed.
pub trait Token: SecretKind {
    /// The kind in the storage.
    const KIND: TokenKind;
}

/// The kinds of tokens that are redeemed when they are used. Sealed.
pub(crate) trait SingleUse: Token {}

/// The kinds of [`Secret`]. They have no values and are used only as type arguments.
pub mod kind {
    use super::{SecretKind, SingleUse, Token, TokenKind, sealed::Sealed};

    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident)*) => {$(
            $(#[$doc])*
            #[derive(Debug)]
            #[expect(clippy::exhaustive_enums, reason = "uninhabited: nothing can be added")]
            pub enum $name {}
            impl Sealed for $name {}
            impl SecretKind for $name {
                const NAME: &'static str = stringify!($name);
            }
        )*};
    }
    kinds! {
        /// See [`AccessToken`](super::AccessToken).
        AccessToken
        /// See [`RefreshToken`](super::RefreshToken).
        RefreshToken
        /// See [`AuthorizationCode`](super::AuthorizationCode).
        AuthorizationCode
        /// See [`ClientSecret`](super::ClientSecret).
        ClientSecret
        /// See [`Password`](super::Password).
        Password
        /// See [`CodeVerifier`](super::CodeVerifier).
        CodeVerifier
    }
    impl Token for AccessToken {
        const KIND: TokenKind = TokenKind::AccessToken;
    }
    impl Token for RefreshToken {
        const KIND: TokenKind = TokenKind::RefreshToken;
    }
    impl Token for AuthorizationCode {
        const KIND: TokenKind = TokenKind::AuthorizationCode;
    }
    impl SingleUse for RefreshToken {}
    impl SingleUse for AuthorizationCode {}
}

/// The kind of a token row in a storage, stored as a word.
///
/// A newer version may add a word while an older version still uses the same storage. So an unknown word is read and
/// stored unchanged. Each check lists the kinds that it accepts, so a row of an unknown kind is never accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum TokenKind {
    /// See [`AuthorizationCode`]. The word is `authorization_code`.
    AuthorizationCode,
    /// See [`AccessToken`]. The word is `access_token`.
    AccessToken,
    /// See [`RefreshToken`]. The word is `refresh_token`.
    RefreshToken,
    /// A key that can be used once, see [`OpenGrant::once`](crate::grant_type::OpenGrant::once). No client gets it as a
    /// token. Its row is stored as redeemed. The word is `one_time_key`.
    OneTimeKey,
    /// The kind of a newer version. Only [`TokenKind::from`] returns it.
    Unknown(UnknownKind),
}

/// The word of a kind that this version does not know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownKind(Arc<str>);

impl TokenKind {
    const KNOWN: [Self; 4] = [Self::AuthorizationCode, Self::AccessToken, Self::RefreshToken, Self::OneTimeKey];

    /// Returns the word for this kind.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::AccessToken => "access_token",
            Self::RefreshToken => "refresh_token",
            Self::OneTimeKey => "one_time_key",
            Self::Unknown(UnknownKind(word)) => word,
        }
    }
}

impl From<&str> for TokenKind {
    /// Returns the kind for this word. An unknown word gives [`TokenKind::Unknown`].
    fn from(word: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|kind| kind.as_str() == word);
        known.unwrap_or_else(|| Self::Unknown(UnknownKind(word.into())))
    }
}

impl From<String> for TokenKind {
    fn from(word: String) -> Self {
        word.as_str().into()
    }
}

impl From<TokenKind> for String {
    fn from(kind: TokenKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Debug for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The SHA-256 digest of a token, under which a storage stores and finds it. The storage never gets the token. For a
/// one-time key, it is a digest of the namespace and the key.
///
/// A token has 256 random bits, so its plain hash can't be guessed or reversed. The timing of a lookup by hash does not
/// help an attacker to find a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Returns the digest of a one-time key. The input begins with a byte that no text contains, so no presented token
    /// has this digest.
    pub(crate) fn of_key(namespace: &str, key: &[u8]) -> Self {
        let digest =
            Sha256::new().chain_update(b"\xffgrantor/1/once\0").chain_update((namespace.len() as u64).to_be_bytes());
        Self(digest.chain_update(namespace).chain_update(key).finalize().into())
    }

    /// Returns the digest for the row of a signed token with this identifier. The input begins with a byte that no text
    /// contains, so the identifier can't be presented as a token.
    #[cfg(feature = "jwt")]
    pub(crate) fn of_jwt_id(id: &str) -> Self {
        Self(Sha256::new().chain_update(b"\xffgrantor/1/jti\0").chain_update(id).finalize().into())
    }

    /// Returns a hash that was read from a storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes, to store them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({})", URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A keyed digest of a session identifier of the host app. It finds the grants that end with the session.
///
/// A person who reads the storage learns neither the session identifier nor the `sid` that clients see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionDigest([u8; 32]);

impl SessionDigest {
    /// Returns a digest that was read from a storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes, to store them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionDigest({})", URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The SHA-256 digest of a [`ClientSecret`], compared in constant time.
///
/// Use it for secrets with at least 128 random bits, such as those of [`ClientSecret::random`]. A secret that a person
/// chose needs a slow hash: give the client an opaque credential, and check it in your
/// [`Authenticator`](crate::Authenticator).
#[derive(Clone)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// Returns the digest of a secret.
    #[must_use]
    pub fn of(secret: &ClientSecret) -> Self {
        Self(Sha256::digest(secret.expose().as_bytes()).into())
    }

    /// Returns a digest that was read from a storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes, to store them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns whether this is the digest of `secret`, compared in constant time.
    #[must_use]
    pub fn matches(&self, secret: &ClientSecret) -> bool {
        self.equals(&Self::of(secret))
    }

    /// Compares two digests in constant time.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest([redacted])")
    }
}

/// The random value that is stored with a redeemed refresh token during the grace window. A retry derives the same
/// successors from it. It is overwritten when dropped and redacted in `Debug`.
///
/// A storage stores it in a separate field, erases it when [`Redemption`](crate::storage::Redemption) requests that,
/// and never copies it anywhere else.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// Returns a seed from random bytes, or from those that were read from a storage.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let seed = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        seed
    }

    /// Returns the 32 bytes, to store them or to derive tokens from them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed([redacted])")
    }
}

/// Serializes 32-byte values as base64url, for records in JSON.
macro_rules! serde_as_base64url {
    ($($name:ident => $bytes:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&base64::display::Base64Display::new(self.$bytes(), &URL_SAFE_NO_PAD))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Zeroizing::new(String::deserialize(deserializer)?);
                let mut bytes = Zeroizing::new([0; 32]);
                match URL_SAFE_NO_PAD.decode_slice(text.as_bytes(), bytes.as_mut_slice()) {
                    Ok(32) => Ok(Self::from_bytes(*bytes)),
                    _ => Err(serde::de::Error::custom(concat!(stringify!($name), " must be 32 bytes in base64url"))),
                }
            }
        }
    )*};
}
serde_as_base64url!(TokenHash => as_bytes, SessionDigest => as_bytes, SecretDigest => as_bytes, Seed => expose);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_equal_only_if_every_byte_is() {
        let digest = SecretDigest::from_bytes([7; 32]);
        assert!(digest.equals(&digest));
        for place in 0..32 {
            let mut other = [7; 32];
            other[place] ^= 0x80;
            assert!(!digest.equals(&SecretDigest::from_bytes(other)), "{place}");
        }
    }

    #[test]
    fn unknown_token_kind_keeps_its_name() {
        for (word, kind) in
            [("access_token", TokenKind::AccessToken), ("authorization_code", TokenKind::AuthorizationCode)]
        {
            assert_eq!(TokenKind::from(word), kind);
        }
        for word in ["voucher", "Access_Token", ""] {
            let kind: TokenKind = serde_json::from_value(word.into()).unwrap();
            assert!(matches!(kind, TokenKind::Unknown(_)), "{kind:?}");
            assert_eq!((kind.as_str(), serde_json::to_value(&kind).unwrap()), (word, word.into()));
        }
    }

    #[test]
    fn one_time_key_digest_depends_on_namespace_and_key() {
        let key = TokenHash::of_key("voucher", b"A1");
        assert_eq!(key, TokenHash::of_key("voucher", b"A1"));
        for other in
            [TokenHash::of_key("vouche", b"rA1"), TokenHash::of_key("voucher", b"A2"), TokenHash::of_key("", b"")]
        {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn hash_round_trips_json_and_refuses_another_length() {
        let hash = TokenHash::from_bytes([7; 32]);
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<TokenHash>(&json).unwrap(), hash);
        for wrong in ["\"BwcH\"", "\"not base64url!\"", "7", &format!("\"{}\"", "A".repeat(44))] {
            assert!(serde_json::from_str::<TokenHash>(wrong).is_err(), "{wrong}");
        }
    }
}
