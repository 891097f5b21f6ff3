// refused: E0277
//! The kinds of secret are those of the library, each redacted.

struct ApiKey;

impl grantor::secret::SecretKind for ApiKey {
    const NAME: &'static str = "ApiKey";
}

fn main() {}
