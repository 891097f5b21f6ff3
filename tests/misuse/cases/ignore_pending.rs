// refused: unused_must_use
//! A request that is in order waits for its decision.
#![deny(unused_must_use)]

async fn decide(oauth: &grantor::AuthorizationServer, form_token: &str) -> Result<(), grantor::Response> {
    oauth.resume(form_token, "a session").await?;
    Ok(())
}

fn main() {}
