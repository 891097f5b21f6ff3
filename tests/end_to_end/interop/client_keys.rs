//! Packages that authenticate with keys instead of secrets and sign their authorization requests: `openid-client` for
//! Node, and `authlib` and `requests-oauth2client` for Python. Each makes its own keys. The client file of the example
//! has the public halves, or the URL where the client publishes them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use end_to_end::example::{Example, Folder};
use serde_json::{Value, json};

use crate::foreign::{node, python};

const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile", "user:write": "Change your profile"}"#;

/// A package, with the script that uses it.
#[derive(Clone, Copy)]
struct Package {
    run: fn(&str, &[&str]) -> Option<Vec<String>>,
    script: &'static str,
    algorithms: &'static [&'static str],
}

const OPENID_CLIENT: Package =
    Package { run: node, script: "keys.mjs", algorithms: &["ES256", "RS256", "PS256", "EdDSA", "Ed25519"] };
const AUTHLIB: Package =
    Package { run: python, script: "authlib_keys.py", algorithms: &["ES256", "RS256", "PS256", "EdDSA", "Ed25519"] };
const REQUESTS_OAUTH2CLIENT: Package =
    Package { run: python, script: "requests_oauth2client_keys.py", algorithms: &["ES256", "RS256", "PS256", "EdDSA"] };

impl Package {
    /// Lets the package make its keys, and runs a scenario for each of them.
    fn runs(self, scenario: &str) {
        self.runs_with(scenario, |keys| ("jwks", keys));
    }

    /// Like `runs`, with a registration of this kind: the name and the value of a member for these keys.
    fn runs_with(self, scenario: &str, member: impl Fn(Value) -> (&'static str, Value)) {
        let folder = Folder::new();
        let private_keys = folder.path().join("keys.json");
        let private_keys = private_keys.to_str().unwrap();
        let Some(keys) = (self.run)(self.script, &["-", "make", private_keys]) else { return };
        let keys: Vec<Value> = keys.iter().map(|key| serde_json::from_str(key).unwrap()).collect();
        let algorithms: BTreeSet<&str> = keys.iter().map(|key| key["alg"].as_str().unwrap()).collect();
        assert_eq!(algorithms, self.algorithms.iter().copied().collect());

        let register = |key: &Value| {
            let (name, value) = member(json!({ "keys": [key] }));
            let mut client = client(&key["alg"]);
            client[name] = value;
            client
        };
        let clients: Value = keys.iter().map(register).collect();
        let example = Example::with(&clients.to_string(), USERS, SCOPES, &[]);
        let lines = (self.run)(self.script, &[&example.base, scenario, private_keys]);
        assert_eq!(lines, Some(Vec::new()), "{scenario}");
    }
}

/// A client without keys, which is named after its algorithm and uses it for everything.
fn client(algorithm: &Value) -> Value {
    json!({
        "client_id": algorithm,
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": algorithm,
        "request_object_signing_alg": algorithm,
        "require_signed_request_object": true,
        "scope": "user:read user:write",
        "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code", "client_credentials", "refresh_token"],
    })
}

/// Publishes keys until the process ends. Returns the URL.
fn publish(keys: &Value) -> String {
    let keys = keys.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&stream.unwrap(), &keys);
        }
    });
    url
}

/// Sends a JWK set in response to any request.
fn answer(mut stream: &TcpStream, keys: &str) {
    let mut lines = BufReader::new(stream).lines();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nConnection: close\r\nContent-Length";
    stream.write_all(format!("{head}: {}\r\n\r\n{keys}", keys.len()).as_bytes()).unwrap();
}

#[test]
fn openid_client_uses_keys_at_every_endpoint() {
    OPENID_CLIENT.runs("everything");
}

#[test]
fn openid_client_uses_keys_that_it_publishes() {
    OPENID_CLIENT.runs_with("everything", |keys| ("jwks_uri", publish(&keys).into()));
    OPENID_CLIENT.runs_with("wrong", |keys| ("jwks_uri", publish(&keys).into()));
}

// covers: KM-05 (RFC 9864 §2.2)
#[test]
fn openid_client_may_use_both_names_of_ed25519() {
    OPENID_CLIENT.runs("names");
}

#[test]
fn openid_client_understands_refusal_of_wrong_key() {
    OPENID_CLIENT.runs("wrong");
}

#[test]
fn authlib_uses_keys_at_every_endpoint() {
    AUTHLIB.runs("everything");
}

#[test]
fn authlib_understands_refusal_of_wrong_key() {
    AUTHLIB.runs("wrong");
}

// covers: JB-08 (RFC 7523 §3)
#[test]
fn authlib_needs_an_assertion_class_of_the_app() {
    AUTHLIB.runs("defaults");
}

#[test]
fn requests_oauth2client_uses_keys_at_every_endpoint() {
    REQUESTS_OAUTH2CLIENT.runs("everything");
}

#[test]
fn requests_oauth2client_understands_wrong_key() {
    REQUESTS_OAUTH2CLIENT.runs("wrong");
}

// covers: JB-05 (RFC 7523bis §4), JR-15 (RFC 9101 §4)
#[test]
fn requests_oauth2client_needs_the_issuer_as_audience() {
    REQUESTS_OAUTH2CLIENT.runs("defaults");
}

/// The functions and classes that the manual shows are those of the script.
#[test]
fn manual_shows_code_of_the_authlib_script() {
    let page = include_str!("../../../src/manual/client_libraries.md");
    let script = include_str!("python/authlib_keys.py");
    let sections = page.split("\n# ").filter(|section| section.starts_with("Clients "));
    let blocks = sections.flat_map(|section| section.split("```").skip(1).step_by(2));
    let parts = blocks.flat_map(|block| block.split("\n\n\n")).map(str::trim);
    let parts: Vec<&str> = parts.filter(|part| ["def ", "class "].iter().any(|word| part.starts_with(word))).collect();
    assert_eq!(parts.len(), 2);
    for part in parts {
        assert!(script.contains(part), "the script has other code than the manual:\n{part}");
    }
}
