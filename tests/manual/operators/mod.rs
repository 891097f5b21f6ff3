//! Runs the code of the page for operators, if it has a visible effect.
#![allow(clippy::unused_async, dead_code, unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod lint;
mod purge;
mod revoke;
mod rotate;

mod status {
    include!("status.rs");

    struct Account {
        locked: bool,
    }

    impl Directory {
        async fn account(&self, _: &str) -> Result<Option<Account>, std::io::Error> {
            Ok(None)
        }
    }
}

use grantor::testing::TestServer;
use grantor::{Client, ClientCredential, ClientId, ClientRegistry, ClientSecret, MemoryStorage, TokenRequest};

#[tokio::test]
async fn operators_rotation_leaves_two_secrets() {
    let storage = MemoryStorage::new();
    let client = Client::confidential("c", ClientCredential::secret(&ClientSecret::new("old"))).client_credentials();
    storage.register(client.build().unwrap()).await.unwrap();
    rotate::rotate(&storage, &ClientId::new("c").unwrap()).await.unwrap();
    assert_eq!(storage.list_clients(None, 9).await.unwrap()[0].credentials().len(), 2);
}

#[tokio::test]
async fn operators_loop_revokes_every_grant() {
    let t = TestServer::new();
    let (one, two) =
        (t.public_client("https://a.example/cb").await, t.confidential_client("https://b.example/cb").await);
    let tokens = t.authorize(&one).approve_as("alice").await.redeem().await.unwrap();
    t.token_as(&two, TokenRequest::client_credentials().scope("user:read")).await.unwrap();
    assert_eq!(revoke::revoke_everything(&t.server, &t.storage).await.unwrap(), 2);
    assert!(t.bearer(&tokens.access_token).await.is_err());
}
