//! Macros for types that wrap a checked text: conversions from and to text.

/// Implements all conversions from and to text for a type with `as_str`. `$parse` checks a `&str` and returns a
/// `Result<$type, $error>`.
macro_rules! text_form {
    ($type:ty, $error:ty, $parse:path) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl From<$type> for String {
            fn from(checked: $type) -> Self {
                checked.as_str().to_owned()
            }
        }

        crate::text_form::from_text!($type, $error, $parse);
    };
}

/// Implements the conversions from a text to a type. `$parse` reads a `&str` and returns a `Result<$type, $error>`.
macro_rules! from_text {
    ($type:ty, $error:ty, $parse:path) => {
        impl std::str::FromStr for $type {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                $parse(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = $error;
            fn try_from(text: &str) -> Result<Self, $error> {
                $parse(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                $parse(&text)
            }
        }
    };
}

pub(crate) use {from_text, text_form};
