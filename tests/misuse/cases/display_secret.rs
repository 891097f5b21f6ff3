// refused: E0277
//! A secret is not printed by mistake.

fn log(token: &grantor::AccessToken) -> String {
    format!("issued {token}")
}

fn main() {}
