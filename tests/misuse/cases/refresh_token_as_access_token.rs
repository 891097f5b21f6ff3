// refused: E0308
//! A refresh token opens no API.

async fn check(oauth: &grantor::AuthorizationServer, token: &grantor::RefreshToken) -> bool {
    oauth.bearer_token(token).await.is_ok()
}

fn main() {}
