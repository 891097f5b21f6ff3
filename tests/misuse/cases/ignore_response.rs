// refused: unused_must_use
//! The client waits for an answer.
#![deny(unused_must_use)]

async fn token(oauth: &grantor::AuthorizationServer, request: &grantor::Request) {
    oauth.token(request).await;
}

fn main() {}
