//! The text form of a checked text: how it is shown, and how it becomes a `String` and is read from one, as in JSON.

/// Implements that for a type with `as_str`. `$parse` checks a text and returns a `Result<$type, $error>`.
macro_rules! text_form {
    ($type:ty, $error:ty, $parse:path) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                $parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(checked: $type) -> Self {
                checked.as_str().to_owned()
            }
        }
    };
}

pub(crate) use text_form;
