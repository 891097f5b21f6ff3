//! The records that a storage stores: [`Grant`] and [`StoredToken`].
//!
//! Their fields are public, and later versions add none. So a storage can build the records from its columns, and the
//! compiler reports a missing field. Later features add members to [`GrantDetails`] and [`TokenDetails`], each of which
//! is stored as one JSON value. A storage writes that value once and never changes it, so members that an old node does
//! not know survive its updates of the row. If such a member is critical, the old node can't use the record until it is
//! upgraded.

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

/// The authorization of a client. All tokens of a grant stop working when it ends or is revoked.
///
/// Times are UTC in whole microseconds; in JSON they are RFC 3339 texts.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field; additions go into the details")]
pub struct Grant {
    /// The identifier of the grant: 128 random bits.
    pub id: GrantId,
    /// The client of the grant.
    pub client_id: ClientId,
    /// The user of the grant, or `None` if the client acts on its own behalf (client credentials).
    pub subject: Option<Subject>,
    /// The grant type by which the grant was opened. With `authorization_code` and `implicit`, it was approved at the
    /// authorization endpoint.
    pub grant_type: GrantType,
    /// The granted scope. A token may have less.
    pub scope: Scope,
    /// The time when the grant was opened.
    #[serde(with = "rfc3339")]
    pub opened_at: OffsetDateTime,
    /// The time when a token of the grant was last redeemed. At first, it equals `opened_at`.
    #[serde(with = "rfc3339")]
    pub last_used_at: OffsetDateTime,
    /// The time when the last token expires, and the grant with it. [`redeem`](crate::Storage::redeem) changes it.
    #[serde(with = "rfc3339")]
    pub expires_at: OffsetDateTime,
    /// The time when the grant was revoked, if it was.
    #[serde(default, with = "rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The parent, if this grant was derived from another one. The parent was live when this grant was opened. If the
    /// parent is revoked, this grant is revoked, too.
    #[serde(default)]
    pub parent_grant: Option<GrantId>,
    /// The session of the user with which the grant ends, if there is one.
    #[serde(default)]
    pub session: Option<SessionDigest>,
    /// The data that the host app attached when it approved the grant. The bearer check returns it.
    pub host_data: Option<Arc<Value>>,
    /// The members that later features add.
    pub details: GrantDetails,
}

impl StoredToken {
    /// Returns the first critical member of the token or its grant that this version does not enforce.
    pub(crate) fn unenforced_member<'a>(&'a self, grant: &'a Grant) -> Option<&'a str> {
        self.details.unenforced_member().or_else(|| grant.details.unenforced_member())
    }

    /// Returns the scope that was requested when the token was issued. The scope of the token may be narrower.
    #[must_use]
    pub fn requested_scope(&self) -> &Scope {
        self.details.requested_scope.as_ref().unwrap_or(&self.scope)
    }

    /// Returns the number of a refresh token in its grant. It is also the number of the refresh that redeems it. The
    /// first one has 1.
    pub(crate) fn family_number(&self) -> u32 {
        self.details.number.unwrap_or(1)
    }

    /// Returns whether the token is neither revoked nor expired and its grant is live. It may be redeemed.
    pub(crate) fn is_live(&self, grant: &Grant, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && now < self.expires_at && grant.is_live(now)
    }
}

impl Grant {
    /// Returns whether the grant is neither revoked nor ended.
    #[must_use]
    pub fn is_live(&self, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Returns whether the grant has only a code that no client has redeemed. Redemption changes `expires_at`.
    pub(crate) fn is_unredeemed(&self) -> bool {
        self.details.code_expires_at == Some(self.expires_at)
    }

    /// Returns the time when the grant was revoked or its last token expires. It can be purged after that.
    #[must_use]
    pub fn ends_at(&self) -> OffsetDateTime {
        self.revoked_at.map_or(self.expires_at, |at| at.min(self.expires_at))
    }

    /// Returns whether the grant may be opened: it has no parent, or `parent` is its parent and is live at `opened_at`.
    /// [`Storage::open_grant`](crate::Storage::open_grant) calls this while it holds a lock on the row of the parent.
    #[must_use]
    pub fn may_open(&self, parent: Option<&Self>) -> bool {
        let is_live = |id| parent.is_some_and(|parent| parent.id == id && parent.is_live(self.opened_at));
        self.parent_grant.is_none_or(is_live)
    }

    /// Returns the type of the access tokens (RFC 6749 §7.1).
    #[must_use]
    pub fn token_type(&self) -> &str {
        self.details.token_type.as_deref().unwrap_or("Bearer")
    }
}

impl fmt::Debug for Grant {
    /// Leaves out the data of the host app, which may be secret.
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

/// A code, access token, refresh token or one-time key in a storage. The storage has only its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field; additions go into the details")]
pub struct StoredToken {
    /// The SHA-256 digest by which the token is found.
    pub hash: TokenHash,
    /// The kind of the token.
    pub kind: TokenKind,
    /// The grant of the token.
    pub grant_id: GrantId,
    /// The scope of the token. For a code or refresh token, it is the whole scope of the grant.
    pub scope: Scope,
    /// The time when the token was issued.
    #[serde(with = "rfc3339")]
    pub issued_at: OffsetDateTime,
    /// The time when the token expires.
    #[serde(with = "rfc3339")]
    pub expires_at: OffsetDateTime,
    /// The token that was redeemed for this one.
    pub parent: Option<TokenHash>,
    /// The redemption of a single-use token. It is set once.
    pub spent: Option<Spent>,
    /// The time when only this token was revoked, if it was.
    #[serde(default, with = "rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// The bindings of the token, and members that later features add.
    pub details: TokenDetails,
}

/// The redemption of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must name every field")]
pub struct Spent {
    /// The time of the redemption.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The attempt that redeemed the token. A storage that retries recognises its earlier write by it.
    pub attempt: AttemptId,
    /// For a refresh token, the seed from which the successors can be derived again. It is present only while the grace
    /// window may be open. For a code, a mark that no successor was redeemed. It is present only with
    /// [`Policy::tolerate_repeated_codes`](crate::Policy::tolerate_repeated_codes).
    pub seed: Option<Seed>,
    /// The time when the seed must be erased. It is kept if the seed is erased earlier.
    #[serde(default, with = "rfc3339::option")]
    pub seed_until: Option<OffsetDateTime>,
}

/// Defines identifiers of 128 random bits, whose text has 22 characters of base64url.
macro_rules! random_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// Returns the identifier with these 16 bytes, generated or read from a storage.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Returns the 16 bytes, to store them.
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
    /// The identifier of a [`Grant`]. It is not secret: a form or a log may contain it.
    GrantId
    /// The identifier of one attempt to redeem a token.
    AttemptId
}

/// Defines types for checked names.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident($inner:ty = $make:expr): $rule:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name($inner);

        impl $name {
            /// Checks a text and returns the name.
            ///
            /// # Errors
            /// The text does not have the form that the type describes.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let rule: fn(&str) -> bool = $rule;
                let make: fn(&str) -> $inner = $make;
                if rule(text.as_ref()) { Ok(Self(make(text.as_ref()))) } else { Err(InvalidId) }
            }

            /// Returns the text.
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
    /// A client identifier (RFC 6749 §2.2): 1 to 255 printable ASCII characters. It is not secret.
    ClientId(Arc<str> = |text| text.into()): is_client_id;
    /// The identifier of a user in the host app: 1 to 255 bytes without control characters.
    Subject(Arc<str> = |text| text.into()): |text| (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
    /// A grant type: a built-in name, or an absolute URI for an extension (RFC 6749 §4.5).
    GrantType(Cow<'static, str> = |text| Cow::Owned(text.to_owned())): is_grant_type;
}

/// Converts the number of a user into a subject.
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

/// Returns whether all characters are visible ASCII characters or spaces (`VSCHAR` of RFC 6749 Appendix A).
pub(crate) fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Returns whether a text is a well-formed client identifier (RFC 6749 Appendix A.1).
pub(crate) fn is_client_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && is_printable(text)
}

fn is_grant_type(text: &str) -> bool {
    GrantType::BUILT_IN.contains(&text)
        || text.len() <= 255 && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) && url::Url::parse(text).is_ok()
}

impl GrantType {
    /// The authorization code grant (RFC 6749 §4.1).
    pub const AUTHORIZATION_CODE: &'static str = "authorization_code";
    /// The implicit grant (RFC 6749 §4.2).
    pub const IMPLICIT: &'static str = "implicit";
    /// The client credentials grant (RFC 6749 §4.4).
    pub const CLIENT_CREDENTIALS: &'static str = "client_credentials";
    /// The password grant (RFC 6749 §4.3).
    pub const PASSWORD: &'static str = "password";
    /// The refresh token grant (RFC 6749 §6).
    pub const REFRESH_TOKEN: &'static str = "refresh_token";
    const BUILT_IN: [&'static str; 5] =
        [Self::AUTHORIZATION_CODE, Self::IMPLICIT, Self::CLIENT_CREDENTIALS, Self::PASSWORD, Self::REFRESH_TOKEN];

    /// Returns one of the five built-in grant types.
    pub(crate) const fn built_in(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Returns whether this is one of the five grant types of RFC 6749.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        Self::BUILT_IN.contains(&self.as_str())
    }

    /// Returns whether the grant was approved at the authorization endpoint.
    #[must_use]
    pub fn is_approval(&self) -> bool {
        matches!(self.as_str(), Self::AUTHORIZATION_CODE | Self::IMPLICIT)
    }
}

/// The error if a text does not have the form that its type requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a valid identifier of this kind")]
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
    fn grant_id_survives_its_text_form() {
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
