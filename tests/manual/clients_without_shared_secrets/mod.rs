//! Runs the code of the page about clients without shared secrets: a client authenticates and changes its key.
#![allow(unreachable_pub, reason = "the page shows `pub` items of a separate app")]

mod assertion;
mod register;
mod register_signing_app;
mod replace_keys;
mod server;
mod server_for_signed_requests;
mod signed_request;

use grantor::jose::{Algorithm, JwkSet, JwtProblem, SigningKey};
use grantor::{
    AuthorizationOutcome, AuthorizationServer, ClientId, CodeChallenge, CodeVerifier, MemoryStorage, Refusal, Request,
    TokenRequest,
};
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

#[tokio::test]
async fn app_signs_all_its_authorization_requests() {
    let storage = MemoryStorage::new();
    let server = server_for_signed_requests::server_for_signed_requests(storage.clone()).await.unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let jwks = json!({ "keys": [key.public_key().to_jwk()] }).to_string();
    register_signing_app::register_signing_app(&storage, &jwks).await.unwrap();
    let challenge = CodeChallenge::s256(&CodeVerifier::new("v".repeat(43)));
    let ask = async |url: &str| {
        let target = url.strip_prefix("https://id.example.com").unwrap();
        match server.authorize(&Request::get(target)).await {
            AuthorizationOutcome::Pending(pending) => Ok(pending.parameter("state").map(str::to_owned)),
            AuthorizationOutcome::Respond(response) => Err(response.status()),
        }
    };
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let url = signed_request::signed_request(&key, "af0ifjsldkj", challenge.as_str(), now).await.unwrap();
    assert_eq!(ask(&url).await, Ok(Some("af0ifjsldkj".to_owned())));
    assert_eq!(ask("https://id.example.com/authorize?client_id=mailer&response_type=code").await, Err(400));
    let expired = signed_request::signed_request(&key, "af0ifjsldkj", challenge.as_str(), now - 3600).await.unwrap();
    assert_eq!(ask(&expired).await, Err(400));
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
