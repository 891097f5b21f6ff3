// refused: E0308
//! A form token that was not found good leads to no decision.

async fn decide(oauth: &grantor::AuthorizationServer, form_token: &str, session: &str) -> grantor::Response {
    match oauth.resume(form_token, session).await {
        Ok(pending) | Err(pending) => pending.deny().into(),
    }
}

fn main() {}
