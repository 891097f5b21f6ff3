// refused: E0277
//! A secret is not serialised by mistake.

fn json(tokens: &grantor::TokenResponse) -> String {
    serde_json::to_string(&tokens.access_token).unwrap_or_default()
}

fn main() {}
