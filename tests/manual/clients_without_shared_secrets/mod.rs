//! Runs the code of the page about clients without shared secrets: a client authenticates and changes its key.
#![allow(unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod assertion;
mod register;
mod replace_keys;
mod server;

use grantor::jose::{Algorithm, JwkSet, JwtProblem, SigningKey};
use grantor::{AuthorizationServer, ClientId, MemoryStorage, Refusal, TokenRequest};
use serde_json::json;
use time::OffsetDateTime;

async fn refusal(server: &AuthorizationServer, key: &SigningKey) -> Option<Refusal> {
    let text = assertion::assertion(key, "reports", OffsetDateTime::now_utc().unix_timestamp()).await.unwrap();
    let request = TokenRequest::client_credentials().scope("report:read").client_assertion(&text);
    server.token_request(&request).await.err().map(|error| *error.refusal().expect("a refusal"))
}

#[tokio::test]
async fn client_authenticates_and_changes_its_key() {
    let storage = MemoryStorage::new();
    let server = server::server(storage.clone()).await.unwrap();
    let [old, new] = [Algorithm::Es256, Algorithm::Es256].map(|algorithm| SigningKey::generate(algorithm).unwrap());
    let jwks = json!({ "keys": [old.public_key().to_jwk()] }).to_string();
    register::register(&storage, &jwks).await.unwrap();
    let unknown = Some(Refusal::ClientAssertion(JwtProblem::UnknownKey));
    assert_eq!((refusal(&server, &old).await, refusal(&server, &new).await), (None, unknown));

    let id = ClientId::new("reports").unwrap();
    let keys = |keys: &[&SigningKey]| JwkSet::new(keys.iter().map(|key| key.public_key().clone())).unwrap();
    replace_keys::replace_keys(&storage, &id, keys(&[&old, &new])).await.unwrap();
    assert_eq!((refusal(&server, &old).await, refusal(&server, &new).await), (None, None));
    replace_keys::replace_keys(&storage, &id, keys(&[&new])).await.unwrap();
    assert_eq!((refusal(&server, &old).await, refusal(&server, &new).await), (unknown, None));
}

/// The table of reasons has a row for each reason.
#[test]
fn table_of_reasons_is_complete() {
    let page = include_str!("../../../src/manual/clients_without_shared_secrets.md");
    let source = include_str!("../../../src/jose/problem.rs");
    let variants = source.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','));
    let names =
        variants.filter(|name| name.starts_with(char::is_uppercase)).map(|name| name.split('(').next().unwrap());
    let rows = crate::named_rows(page);
    let missing: Vec<&str> = names.filter(|name| !rows.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "the page has no row for these");
    assert!(rows.contains("Replayed") && rows.len() >= 17, "{rows:?}");
}
