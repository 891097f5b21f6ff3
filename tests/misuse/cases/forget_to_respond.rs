// refused: E0004
//! Both outcomes of an authorization request must be handled.

async fn authorize(oauth: &grantor::AuthorizationServer, request: &grantor::Request) -> String {
    match oauth.authorize(request).await {
        grantor::Authorize::Pending(pending) => pending.form_token("a session"),
    }
}

fn main() {}
