//! An API in another process, `examples/separate_api.rs`, which introspects access tokens at the example server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use end_to_end::built;
use end_to_end::example::Example;
use reqwest::Response;
use serde_json::Value;

use super::api_scopes::{SCOPES, USERS, access};

const CLIENTS: &str = r#"[
    {"client_id": "app", "client_name": "Profile <editor>", "client_uri": "https://app.example",
     "redirect_uris": ["https://app.example/cb"], "scope": "user:read user:write",
     "token_endpoint_auth_method": "none"},
    {"client_id": "notes-api", "client_secret": "an API's own secret", "resource_server": true}
]"#;

/// A running API, killed when it is dropped.
struct Api {
    process: Child,
    base: String,
}

impl Api {
    fn start(issuer: &str, secret: &str) -> Self {
        let mut process = Command::new(built("separate_api"))
            .args(["127.0.0.1:0", issuer, "notes-api", "0"])
            .env("API_SECRET", secret)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, base }
    }

    async fn me(&self, token: &str) -> Response {
        reqwest::Client::new().get(format!("{}/me", self.base)).bearer_auth(token).send().await.unwrap()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn challenge(response: &Response) -> &str {
    response.headers()["www-authenticate"].to_str().unwrap()
}

#[tokio::test]
async fn separate_api_follows_the_server_about_each_token() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let api = Api::start(&example.base, "an API's own secret");
    let text = |token: Value| token.as_str().unwrap().to_owned();
    let (reader, writer) = (access(&example, &["user:read"]).await, access(&example, &["user:write"]).await);
    let (reader, writer) = (text(reader), text(writer));

    let good = api.me(&reader).await;
    assert_eq!((good.status().as_u16(), good.text().await.unwrap()), (200, "You are ada.".to_owned()));
    let lacks = api.me(&writer).await;
    assert_eq!(lacks.status().as_u16(), 403);
    assert!(challenge(&lacks).ends_with("scope=\"user:read\""), "{}", challenge(&lacks));
    for refused in [api.me("unknown").await, reqwest::get(format!("{}/me", api.base)).await.unwrap()] {
        assert_eq!(refused.status().as_u16(), 401);
        assert!(challenge(&refused).starts_with(&format!("Bearer realm=\"{}\"", example.base)));
    }

    let form = [("client_id", "app"), ("token", &*reader)];
    let revoked = reqwest::Client::new().post(example.url("/revoke")).form(&form).send().await.unwrap();
    assert_eq!(revoked.status().as_u16(), 200);
    assert_eq!(api.me(&reader).await.status().as_u16(), 401, "a revoked token still works");

    let with_a_wrong_secret = Api::start(&example.base, "another secret").me(&writer).await;
    example.kill();
    for failed in [with_a_wrong_secret, api.me(&writer).await] {
        assert_eq!((failed.status().as_u16(), failed.headers()["retry-after"].as_bytes()), (503, &b"5"[..]));
        assert!(failed.headers().get("www-authenticate").is_none(), "the token may be good");
    }
}
