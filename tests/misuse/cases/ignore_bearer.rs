// refused: unused_must_use
//! A live token alone allows nothing.
#![deny(unused_must_use)]

async fn me(oauth: &grantor::AuthorizationServer, request: &grantor::Request) -> Result<(), grantor::BearerError> {
    oauth.bearer(request).await?;
    Ok(())
}

fn main() {}
