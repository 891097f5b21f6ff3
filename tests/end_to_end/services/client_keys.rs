//! Clients of the example server that authenticate with a key.

use std::time::{SystemTime, UNIX_EPOCH};

use end_to_end::example::{Example, Folder};
use grantor::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::signed::{header, jwks, key, sign, with};
use super::{on_each_storage, token};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A file with a client that has this key.
fn clients(key: &SigningKey) -> String {
    json!([{
        "client_id": "reports",
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "jwks": jwks(key),
        "grant_types": ["client_credentials"],
        "scope": "user:read",
        "resource_server": true,
    }])
    .to_string()
}

/// The parameters of a good assertion with some claims changed.
async fn assertion(example: &Example, key: &SigningKey, jti: &str, change: Value) -> [(&'static str, String); 2] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "iss": "reports", "sub": "reports", "aud": example.base, "exp": now + 60, "jti": jti });
    let text = sign(key, header(key, "JWT"), with(&claims, &change)).await;
    [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", text)]
}

async fn post(example: &Example, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let response = reqwest::Client::new().post(example.url(path)).form(form).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn client_with_a_key_uses_every_endpoint() {
    let key = key(Algorithm::Es256);
    for (example, _folder) in on_each_storage(&clients(&key), "{}", r#"{"user:read":"Read"}"#).await {
        let metadata: Value =
            reqwest::get(example.url("/.well-known/oauth-authorization-server")).await.unwrap().json().await.unwrap();
        let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
        assert!(methods.contains(&json!("private_key_jwt")), "{metadata}");

        let assertion = async |jti, change| assertion(&example, &key, jti, change).await;
        let send = async |path, proof: &[(&str, String)], form: &[(&'static str, &str)]| {
            let proof = proof.iter().map(|(name, value)| (*name, value.as_str()));
            post(&example, path, &proof.chain(form.iter().copied()).collect::<Vec<_>>()).await
        };
        let machine = [("grant_type", "client_credentials"), ("scope", "user:read application")];
        let first = assertion("1", json!({})).await;
        let (status, tokens) = send("/token", &first, &machine).await;
        assert_eq!(status, 200, "{tokens}");
        let access_token = tokens["access_token"].as_str().unwrap();
        let account = reqwest::Client::new().get(example.url("/api/application")).bearer_auth(access_token);
        assert_eq!(account.send().await.unwrap().status(), 200);

        let about = [("token", access_token)];
        let (status, told) = send("/introspect", &assertion("2", json!({})).await, &about).await;
        assert_eq!((status, &told["active"]), (200, &json!(true)));
        assert_eq!(send("/revoke", &assertion("3", json!({})).await, &about).await.0, 200);
        let (_, told) = send("/introspect", &assertion("4", json!({})).await, &about).await;
        assert_eq!(told["active"], false);

        let told = json!({ "error": "invalid_client", "error_description": "client authentication failed" });
        for broken in [
            first,
            assertion("5", json!({ "aud": example.url("/token") })).await,
            assertion("6", json!({ "exp": 1 })).await,
            assertion("7", json!({ "sub": "other" })).await,
        ] {
            assert_eq!(send("/token", &broken, &machine).await, (401, told.clone()));
        }
        let form = [("grant_type", "client_credentials"), ("client_id", "reports"), ("client_secret", "a-secret")];
        assert_eq!(token(&example, &form).await, (401, told));
    }
}

/// Serves a text to each request. Returns the URL.
async fn serve(json: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nConnection: close\r\nContent-Length";
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(format!("{head}: {}\r\n\r\n{json}", json.len()).as_bytes()).await.unwrap();
        }
    });
    url
}

// covers: KM-17 (RFC 8725bis §3.10)
#[tokio::test]
async fn keys_at_a_url_are_fetched_and_an_outage_is_503() {
    let key = key(Algorithm::Es256);
    let up = serve(serde_json::to_string(&jwks(&key)).unwrap()).await;
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (url, status, error) in
        [(up, 200, Value::Null), (format!("http://{down}/"), 503, json!("temporarily_unavailable"))]
    {
        let mut client: Value = serde_json::from_str(&clients(&key)).unwrap();
        client[0].as_object_mut().unwrap().remove("jwks");
        client[0]["jwks_uri"] = url.into();
        let folder = Folder::new();
        let example = Example::start(&["--clients", &folder.file("clients.json", &client.to_string())]);
        for jti in ["1", "2"] {
            let [kind, text] = assertion(&example, &key, jti, json!({})).await;
            let form = [("grant_type", "client_credentials"), (kind.0, &*kind.1), (text.0, &*text.1)];
            let (told, answer) = post(&example, "/token", &form).await;
            assert_eq!((told, &answer["error"]), (status, &error), "{answer}");
        }
    }
}

#[tokio::test]
async fn server_without_client_signatures_warns_and_refuses() {
    let key = key(Algorithm::Es256);
    let folder = Folder::new();
    let flags = ["--clients", &folder.file("clients.json", &clients(&key)), "--without", "client-signatures"];
    let complaints = Example::complaints(&flags);
    assert!(
        complaints.contains("warning: the client reports: the authentication method private_key_jwt"),
        "{complaints}"
    );
    let example = Example::start(&flags);
    let [kind, text] = assertion(&example, &key, "1", json!({})).await;
    let form = [("grant_type", "client_credentials"), (kind.0, &*kind.1), (text.0, &*text.1)];
    let (status, answer) = token(&example, &form).await;
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));
}
