// refused: E0599
//! Nothing of a token can be read before a scope was required.

async fn me(oauth: &grantor::AuthorizationServer, request: &grantor::Request) -> Result<String, grantor::BearerError> {
    let token = oauth.bearer(request).await?;
    Ok(token.user()?.to_string())
}

fn main() {}
