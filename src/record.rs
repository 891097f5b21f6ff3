//! The records a storage keeps: [`Grant`] and [`StoredToken`].
//!
//! Their fields are public and their sets of fields are closed: a host's storage can build them from its columns, and
//! the compiler tells it when it forgot one. What later features need to remember goes into [`GrantDetails`] and
//! [`TokenDetails`], each stored as one JSON value. A storage writes it once and never again, so members that an old node does
//! not know survive what it does to the row. If such a member is critical, the record is unusable there until the node is
//! updated.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::serde::rfc3339;

pub use crate::details::{CodeBinding, GrantDetails, TokenDetails};
use crate::scope::Scope;
use crate::secret::{Seed, TokenHash};
#[doc(no_inline)]
#[doc(no_inline)]
pub use crate::secret::{SessionDigest, TokenKind};
use crate::text_form::{from_text, text_form};

/// One act of authorization: the row that says whether a whole family of tokens lives.
///
/// Times are UTC in whole microseconds; in JSON they are RFC 3339 texts.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field; additions go into the details")]
pub struct Grant {
    /// What the grant is known by; 128 random bits.
    pub id: GrantId,
    /// The client it was given to.
    pub client_id: ClientId,
    /// The resource owner who gave it; `None` if a client acts for itself (client credentials).
    pub subject: Option<Subject>,
    /// How it came about. Only `authorization_code` and `implicit` had the resource owner's approval on a page.
    pub grant_type: GrantType,
    /// All that was granted; tokens may carry less.
    pub scope: Scope,
    /// When it was opened.
    #[serde(with = "rfc3339")]
    pub opened_at: OffsetDateTime,
    /// When a token of it was last redeemed; at first the same as `opened_at`.
    #[serde(with = "rfc3339")]
    pub last_used_at: OffsetDateTime,
    /// When its last token expires, and with it the grant; [`redeem`](crate::Storage::redeem) moves it.
    #[serde(with = "rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When it was revoked, if it was.
    #[serde(default, with = "rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The grant that this one was derived from, if it was. It was live when this one was opened, and this one is revoked with it.
    #[serde(default)]
    pub parent_grant: Option<GrantId>,
    /// The session of the resource owner that this grant ends with, if it ends with one.
    #[serde(default)]
    pub session: Option<SessionDigest>,
    /// What the host attached at approval and gets back at the bearer check.
    pub host_data: Option<Arc<Value>>,
    /// What later features remember.
    pub details: GrantDetails,
}

impl StoredToken {
    /// The first critical member of the token's details or its grant's that this version does not enforce.
    pub(crate) fn unenforced_member<'a>(&'a self, grant: &'a Grant) -> Option<&'a str> {
        self.details.unenforced_member().or_else(|| grant.details.unenforced_member())
    }

    /// The scope that was asked for when it was issued. The scope that it has may be narrower.
    #[must_use]
    pub fn requested_scope(&self) -> &Scope {
        self.details.requested_scope.as_ref().unwrap_or(&self.scope)
    }

    /// The number of a refresh token in its family, and so of the refresh that spends it. The first one has 1.
    pub(crate) fn family_number(&self) -> u32 {
        self.details.number.unwrap_or(1)
    }

    /// Whether it was neither revoked nor has expired, and its grant is live. It may be spent.
    pub(crate) fn is_live(&self, grant: &Grant, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && now < self.expires_at && grant.is_live(now)
    }
}

impl Grant {
    /// Whether it was neither revoked nor has ended.
    #[must_use]
    pub fn is_live(&self, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Whether it has only a code so far, which no client has redeemed. Redemption moves `expires_at`.
    pub(crate) fn is_unredeemed(&self) -> bool {
        self.details.code_expires_at == Some(self.expires_at)
    }

    /// When it ended or will end: when it was revoked, or when its last token expires. From then on it can be purged.
    #[must_use]
    pub fn ends_at(&self) -> OffsetDateTime {
        self.revoked_at.map_or(self.expires_at, |at| at.min(self.expires_at))
    }

    /// Whether it may be opened: it names no parent, or `parent`, the grant it names as it stands, is live at `opened_at`.
    /// [`Storage::open_grant`](crate::Storage::open_grant) asks this with the parent's row locked.
    #[must_use]
    pub fn may_open(&self, parent: Option<&Self>) -> bool {
        let is_live = |id| parent.is_some_and(|parent| parent.id == id && parent.is_live(self.opened_at));
        self.parent_grant.is_none_or(is_live)
    }

    /// The type of its access tokens (RFC 6749 §7.1).
    #[must_use]
    pub fn token_type(&self) -> &str {
        self.details.token_type.as_deref().unwrap_or("Bearer")
    }
}

impl fmt::Debug for Grant {
    /// Without the host's data, which may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("id", &self.id)
            .field("client_id", &self.client_id)
            .field("subject", &self.subject)
            .field("grant_type", &self.grant_type)
            .field("scope", &self.scope)
            .field("opened_at", &self.opened_at)
            .field("last_used_at", &self.last_used_at)
            .field("expires_at", &self.expires_at)
            .field("revoked_at", &self.revoked_at)
            .field("parent_grant", &self.parent_grant)
            .field("session", &self.session)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

/// A code, access token, refresh token or one-time key as a storage keeps it: by hash, never in clear.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field; additions go into the details")]
pub struct StoredToken {
    /// The SHA-256 it is found by.
    pub hash: TokenHash,
    /// What it is.
    pub kind: TokenKind,
    /// The grant it belongs to.
    pub grant_id: GrantId,
    /// What it allows; for a code or refresh token, all of its grant's scope.
    pub scope: Scope,
    /// When it was issued.
    #[serde(with = "rfc3339")]
    pub issued_at: OffsetDateTime,
    /// From when on it is of no use.
    #[serde(with = "rfc3339")]
    pub expires_at: OffsetDateTime,
    /// The token that was spent for this one.
    pub parent: Option<TokenHash>,
    /// Set once, when a single-use token was spent.
    pub spent: Option<Spent>,
    /// When this token alone was revoked, if it was.
    #[serde(default, with = "rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// What the token is bound to.
    pub details: TokenDetails,
}

/// How a token was spent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field")]
pub struct Spent {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// By which attempt, so that a storage which retries recognises its own write.
    pub attempt: AttemptId,
    /// Of a refresh token, from what the successors can be derived again; present only while the grace window may be open. Of a code, a mark
    /// that no successor was spent; kept only with [`Policy::tolerate_repeated_codes`](crate::Policy::tolerate_repeated_codes).
    pub seed: Option<Seed>,
    /// When the seed is due to be erased; present if there is a seed. It stays when the seed is erased earlier.
    #[serde(default, with = "rfc3339::option")]
    pub seed_until: Option<OffsetDateTime>,
}

/// Identifiers of 128 random bits, written as 22 characters of base64url.
macro_rules! random_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// From 16 bytes, as they were drawn or stored.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, to be stored.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            fn parse(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; 16];
                match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
                    Ok(16) => Ok(Self(bytes)),
                    _ => Err(InvalidId),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                base64::display::Base64Display::new(&self.0, &URL_SAFE_NO_PAD).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        from_text!($name, InvalidId, $name::parse);

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    )*};
}
random_ids! {
    /// The identifier of a [`Grant`]. Not a secret: it may stand in a form or a log.
    GrantId
    /// The identifier of one attempt to spend a token.
    AttemptId
}

/// Names that come from outside: a text that met a rule.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident($inner:ty = $make:expr): $rule:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name($inner);

        impl $name {
            /// Checks the text.
            ///
            /// # Errors
            /// The text does not meet the rule stated at the type.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let rule: fn(&str) -> bool = $rule;
                let make: fn(&str) -> $inner = $make;
                if rule(text.as_ref()) { Ok(Self(make(text.as_ref()))) } else { Err(InvalidId) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        text_form!($name, InvalidId, $name::new);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}
names! {
    /// A client identifier (RFC 6749 §2.2): 1 to 255 printable ASCII characters. Not a secret.
    ClientId(Arc<str> = |text| text.into()): is_client_id;
    /// The resource owner as the host knows it: 1 to 255 bytes without control characters.
    Subject(Arc<str> = |text| text.into()): |text| (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
    /// A grant type: one of the registered names, or an absolute URI for an extension (RFC 6749 §4.5).
    GrantType(Cow<'static, str> = |text| Cow::Owned(text.to_owned())): is_grant_type;
}

/// Subjects that are the numbers of a host's users, in decimal digits.
macro_rules! subject_from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Subject {
            /// Writes the number in decimal digits.
            fn from(number: $integer) -> Self {
                Self(number.to_string().into())
            }
        }
    )*};
}
subject_from_integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

/// Whether all characters are visible ASCII characters or spaces (`VSCHAR` of RFC 6749 Appendix A).
pub(crate) fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Whether a text can be a client identifier at all (RFC 6749 Appendix A.1).
pub(crate) fn is_client_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && is_printable(text)
}

fn is_grant_type(text: &str) -> bool {
    GrantType::BUILT_IN.contains(&text)
        || text.len() <= 255 && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) && url::Url::parse(text).is_ok()
}

impl GrantType {
    /// RFC 6749 §4.1.
    pub const AUTHORIZATION_CODE: &'static str = "authorization_code";
    /// RFC 6749 §4.2.
    pub const IMPLICIT: &'static str = "implicit";
    /// RFC 6749 §4.4.
    pub const CLIENT_CREDENTIALS: &'static str = "client_credentials";
    /// RFC 6749 §4.3.
    pub const PASSWORD: &'static str = "password";
    /// RFC 6749 §6.
    pub const REFRESH_TOKEN: &'static str = "refresh_token";
    const BUILT_IN: [&'static str; 5] =
        [Self::AUTHORIZATION_CODE, Self::IMPLICIT, Self::CLIENT_CREDENTIALS, Self::PASSWORD, Self::REFRESH_TOKEN];

    /// One of the five, as a value.
    pub(crate) const fn built_in(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Whether it is one of the five of RFC 6749.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        Self::BUILT_IN.contains(&self.as_str())
    }

    /// Whether the resource owner approved on a page of the host's.
    #[must_use]
    pub fn is_approval(&self) -> bool {
        matches!(self.as_str(), Self::AUTHORIZATION_CODE | Self::IMPLICIT)
    }
}

/// A text does not meet the rule of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text does not meet the rule of this kind of identifier")]
#[non_exhaustive]
pub struct InvalidId;

#[cfg(test)]
mod tests {
    use super::*;

    // covers: PP-15 (RFC 6749 Appendix A.1)
    #[test]
    fn client_id_is_printable_ascii() {
        for good in ["s6BhdRkqt3", "a b", "~", &"x".repeat(255)] {
            assert!(ClientId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\0", "a\n", "\u{e9}", &"x".repeat(256)] {
            assert_eq!(ClientId::new(bad), Err(InvalidId), "{bad:?}");
        }
    }

    #[test]
    fn random_id_survives_its_text_form() {
        let id = GrantId::from_bytes([9; 16]);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(GrantId::try_from(&*text), Ok(id));
        assert_eq!(GrantId::try_from(text), Ok(id));
        for text in ["", "x", "CQkJCQkJCQkJCQkJCQkJCQ=="] {
            assert_eq!(text.parse::<GrantId>(), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn name_is_read_from_every_kind_of_text() {
        fn check<T>(good: &str, bad: &str)
        where
            T: AsRef<str> + fmt::Display + fmt::Debug + PartialEq + Into<String>,
            T: for<'a> TryFrom<&'a str, Error = InvalidId> + TryFrom<String, Error = InvalidId>,
            T: std::str::FromStr<Err = InvalidId>,
        {
            let read: T = good.parse().unwrap();
            assert_eq!((read.as_ref(), read.to_string().as_str()), (good, good));
            assert_eq!(format!("{read:>9}"), format!("{good:>9}"));
            assert_eq!((&T::try_from(good).unwrap(), &T::try_from(good.to_owned()).unwrap()), (&read, &read));
            assert_eq!(read.into(), good.to_owned());
            assert_eq!((bad.parse::<T>(), T::try_from(bad), T::try_from(bad.to_owned())), {
                (Err(InvalidId), Err(InvalidId), Err(InvalidId))
            });
        }
        check::<ClientId>("app", "");
        check::<Subject>("alice", "a\n");
        check::<GrantType>("password", "x");
    }

    #[test]
    fn subject_of_a_number_is_its_digits() {
        for (subject, text) in [
            (Subject::from(0_u8), "0"),
            (Subject::from(42_u32), "42"),
            (Subject::from(u128::MAX), "340282366920938463463374607431768211455"),
            (Subject::from(i64::MIN), "-9223372036854775808"),
            (7_usize.into(), "7"),
        ] {
            assert_eq!(subject, Subject::new(text).unwrap());
        }
    }
}
