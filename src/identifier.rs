//! Identifiers of grants, attempts, clients, users and grant types.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::text_form::{from_text, text_form};

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
    /// The identifier of a [`Grant`](crate::Grant). It is not secret: a form or a log may contain it.
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
