// refused: E0599
//! A secret is taken out by expose() and in no other way.

fn text(secret: &grantor::ClientSecret) -> &str {
    secret.as_ref()
}

fn main() {}
