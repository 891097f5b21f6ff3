// refused: E0308
//! A code opens no API.

async fn check(oauth: &grantor::AuthorizationServer, code: &grantor::AuthorizationCode) -> bool {
    oauth.bearer_token(code).await.is_ok()
}

fn main() {}
