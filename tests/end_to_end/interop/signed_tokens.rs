//! Signed tokens and keys with the npm package `jose` and the Python package `joserfc`: they verify our signatures, and
//! we verify theirs.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use end_to_end::example::{Example, Folder};
use grantor::jose::{Algorithm, AwsLc, PublicKey, Signer, SigningKey, Verifier};
use serde_json::{Value, json};

use crate::foreign::{jose, joserfc};

const CLIENTS: &str = r#"[
    {"client_id": "machine", "client_secret": "machine-secret", "grant_types": ["client_credentials"]},
    {"client_id": "api", "client_secret": "api-secret", "resource_server": true}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile", "user:write": "Change your profile"}"#;

async fn token(example: &Example) -> String {
    let request = reqwest::Client::new()
        .post(format!("{}/token", example.base))
        .basic_auth("machine", Some("machine-secret"))
        .form(&[("grant_type", "client_credentials"), ("scope", "user:read")]);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

fn header(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

/// The server restarts with other algorithms, so other keys sign, while the earlier keys are still published.
// covers: KM-04 (RFC 7518 §3), KM-12, JA-02 (RFC 9068 §2.1)
#[tokio::test]
async fn others_verify_our_tokens_across_changes_of_keys() {
    let folder = Folder::new();
    let database = format!("sqlite:{}", folder.path().join("oauth.db").display());
    let files = [("--clients", CLIENTS), ("--users", USERS), ("--scopes", SCOPES)]
        .map(|(flag, content)| [flag.to_owned(), folder.file(&flag[2..], content)]);
    let files: Vec<&str> = files.as_flattened().iter().map(String::as_str).collect();
    let (mut tokens, mut kids) = (Vec::new(), BTreeSet::new());
    let mut address = "127.0.0.1:0".to_owned();
    for algorithm in ["RS256", "ES256", "EdDSA", "PS256", "ES384"] {
        let flags = ["--storage", &database, "--access-token-format", "jwt", "--signing-algorithm", algorithm];
        // A storage belongs to one issuer, which is the address of the first start.
        let listen = ["--listen", &address];
        let example = Example::start_in(folder.path(), &[&files[..], &flags, &listen].concat());
        let new = token(&example).await;
        assert_eq!(header(&new)["alg"], algorithm);
        let port = example.base.rsplit(':').next().unwrap().to_owned();
        kids.insert(header(&new)["kid"].as_str().unwrap().to_owned());
        tokens.push(new);
        let all: Vec<&str> = tokens.iter().map(String::as_str).collect();
        jose(&example.base, "verify", &all);
        joserfc(&example.base, "verify", &all);
        // The server accepts the token too.
        for token in &tokens {
            let request = reqwest::Client::new().post(format!("{}/introspect", example.base));
            let request = request.basic_auth("api", Some("api-secret")).form(&[("token", token)]);
            let told: Value = request.send().await.unwrap().json().await.unwrap();
            assert_eq!(told["active"], true, "{token}");
        }
        drop(example);
        address = format!("127.0.0.1:{port}");
    }
    assert_eq!(kids.len(), 5);
}

/// The output of another library, line by line.
fn check(lines: &[String]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for line in lines {
        let made: Value = serde_json::from_str(line).unwrap();
        let name = made["alg"].as_str().unwrap();
        let algorithm = Algorithm::from_name(name).unwrap();
        let key = PublicKey::from_jwk(&made["jwk"].to_string()).unwrap();
        assert_eq!(key.thumbprint(), made["thumbprint"], "{name}");
        let token = made["token"].as_str().unwrap();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(AwsLc.verify(algorithm, &key, input.as_bytes(), &signature), Ok(()), "{name}");
        assert!(AwsLc.verify(algorithm, &key, &input.as_bytes()[1..], &signature).is_err(), "{name}");
        // The private key is read in both forms, and has the same public half.
        let mut private = made["private_jwk"].clone();
        private["alg"] = json!(name);
        let pem = made["pem"].as_str().unwrap();
        for signing in [SigningKey::from_jwk(&private.to_string()), SigningKey::from_pem(algorithm, pem)] {
            let signing = signing.unwrap();
            assert_eq!(signing.public_key().thumbprint(), made["thumbprint"], "{name}");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let own = runtime.block_on(signing.sign(b"input")).unwrap();
            assert_eq!(AwsLc.verify(algorithm, &key, b"input", own.as_bytes()), Ok(()), "{name}");
        }
        seen.insert(name.to_owned());
    }
    seen
}

// covers: KM-05 (RFC 9864 §2.2), KM-09 (RFC 7518 §6)
#[test]
fn keys_and_signatures_of_jose_are_read() {
    let Some(lines) = jose("-", "make", &[]) else { return };
    assert_eq!(check(&lines).len(), 6);
}

#[test]
fn keys_and_signatures_of_joserfc_are_read() {
    let Some(lines) = joserfc("-", "make", &[]) else { return };
    assert_eq!(check(&lines).len(), 5);
}
