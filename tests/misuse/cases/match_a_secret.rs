// refused: E0308
//! Nor is a secret compared by a pattern.

fn is_default(secret: &grantor::ClientSecret) -> bool {
    matches!(secret, "changeme")
}

fn main() {}
