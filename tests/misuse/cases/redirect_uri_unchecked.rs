// refused: E0451
//! A redirect URI is registered only after it was checked.

fn registered(checked: grantor::client::RedirectUri, text: &str) -> grantor::client::RedirectUri {
    grantor::client::RedirectUri { text: text.into(), ..checked }
}

fn main() {}
