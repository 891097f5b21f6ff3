// refused: unused_must_use
//! The browser waits for an answer.
#![deny(unused_must_use)]

async fn authorize(oauth: &grantor::AuthorizationServer, request: &grantor::Request) {
    oauth.authorize(request).await;
}

fn main() {}
