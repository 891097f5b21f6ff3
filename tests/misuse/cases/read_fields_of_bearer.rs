// refused: E0616
//! Nor from its fields.

async fn me(oauth: &grantor::AuthorizationServer, request: &grantor::Request) -> Result<String, grantor::BearerError> {
    let token = oauth.bearer(request).await?;
    Ok(token.grant.client_id.to_string())
}

fn main() {}
