// refused: E0308
//! Nor does it become a text by itself.

fn text(secret: &grantor::ClientSecret) -> &str {
    secret
}

fn main() {}
