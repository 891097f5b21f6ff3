//! The signing keys of the example server.

use std::collections::BTreeSet;

use end_to_end::example::{Example, Folder};
use end_to_end::postgres::Postgres;
use serde_json::Value;

use super::token;

const CLIENTS: &str = r#"[
    {"client_id": "job", "client_secret": "a secret of its own", "grant_types": ["client_credentials"], "scope": "user:read"}
]"#;

/// The identifiers of the published keys.
async fn kids(example: &Example) -> BTreeSet<String> {
    let set: Value = reqwest::get(example.url("/jwks")).await.unwrap().json().await.unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn signed_token(example: &Example) -> String {
    let form = [("grant_type", "client_credentials"), ("client_id", "job"), ("client_secret", "a secret of its own")];
    let (status, answer) = token(example, &form).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn is_active(example: &Example, token: &str) -> bool {
    let request = reqwest::Client::new().post(example.url("/introspect"));
    let request = request.basic_auth("job", Some("a+secret+of+its+own")).form(&[("token", token)]);
    let told: Value = request.send().await.unwrap().json().await.unwrap();
    told["active"].as_bool().unwrap()
}

// Regression: the example server could not remove a key.
#[tokio::test]
async fn removed_key_is_gone_and_its_tokens_fail() {
    let folder = Folder::new();
    let mut storages = vec![format!("sqlite:{}", folder.path().join("grantor.db").display())];
    if let Some(postgres) = Postgres::get() {
        storages.push(postgres.database().await);
    }
    let (clients, secret) = (folder.file("clients.json", CLIENTS), folder.path().join("secret").display().to_string());
    for storage in storages {
        let flags = ["--storage", &storage, "--secret-file", &secret, "--clients", &clients];
        let flags = [&flags[..], &["--access-token-format", "jwt", "--issuer", "http://localhost:3000"]].concat();
        let example = Example::start(&flags);
        let (before, leaked) = (kids(&example).await, signed_token(&example).await);
        let kid = before.first().unwrap();
        assert!(before.len() == 1 && is_active(&example, &leaked).await);

        let remove = ["--storage", &storage, "--remove-key", kid];
        let printed = Example::command(&remove);
        assert!(printed.starts_with("removed the key") && printed.contains(kid), "{printed}");
        let refusal = Example::refusal(&remove);
        assert!(refusal.contains("has no key") && refusal.contains("/jwks"), "{refusal}");

        drop(example);
        let example = Example::start(&flags);
        let after = kids(&example).await;
        assert!(after.len() == 1 && after.is_disjoint(&before), "{before:?} {after:?}");
        let new = signed_token(&example).await;
        assert!(!is_active(&example, &leaked).await && is_active(&example, &new).await);
    }
}

#[test]
fn key_removal_needs_a_persistent_storage() {
    let refusal = Example::refusal(&["--storage", "memory", "--remove-key", "kid"]);
    assert!(refusal.contains("needs a database"), "{refusal}");
    let refusal = Example::refusal(&["--without", "signing-keys", "--remove-key", "kid"]);
    assert!(refusal.contains("--remove-key needs the signing keys"), "{refusal}");
}
