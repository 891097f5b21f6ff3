//! Runs the code of the page about signing keys, except the parts that need a key service.
#![allow(clippy::unused_async, dead_code, unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod rotating;

mod kms {
    include!("kms.rs");

    pub struct Kms;

    impl Kms {
        async fn sign(&self, _key: &str, _message: &[u8]) -> Result<Vec<u8>, std::io::Error> {
            Ok(Vec::new())
        }
    }
}

#[tokio::test]
async fn rotating_keys_server_publishes_keys() {
    let server = rotating::server(std::sync::Arc::new(grantor::MemoryStorage::new()), &[7; 32]).await.unwrap();
    assert!(server.metadata_document().contains_key("jwks_uri"));
}
