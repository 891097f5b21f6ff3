//! Runs the code of the page about changing from other libraries.
#![allow(unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod client;
mod token;

use grantor::testing::TestServer;
use grantor::{ClientCredential, ClientSecret, RefreshToken};
use sha2::{Digest, Sha256};
use token::OldToken;

#[test]
fn migrated_client_keeps_its_secret() {
    let client = client::carried_over("my-site", Sha256::digest(b"the old secret").into()).unwrap();
    let same = ClientCredential::secret(&ClientSecret::new("the old secret"));
    assert_eq!(serde_json::to_value(&client.credentials()[0]).unwrap(), serde_json::to_value(&same).unwrap());
}

#[tokio::test]
async fn migrated_refresh_token_can_be_refreshed() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;
    let (opened, ends) = ("2025-12-24T00:00:00Z", "2026-01-07T00:00:00Z");
    let old = OldToken { text: "an old token", client: &app.id, user: "alice", opened, ends };
    token::import(&t.storage, &old, "AAAAAAAAAAAAAAAAAAAAAA").await.unwrap();
    let tokens = t.refresh(&app, &RefreshToken::new("an old token")).await.unwrap();
    assert!(t.bearer(&tokens.access_token).await.is_ok());
    assert!(t.refresh(&app, &tokens.refresh_token.unwrap()).await.is_ok());
}
