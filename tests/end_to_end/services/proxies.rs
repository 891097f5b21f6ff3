//! A service behind a proxy that passes on the addresses of its clients.

use super::api_scopes;
use end_to_end::example::Example;

const CLIENTS: &str = r#"[
    {"client_id": "batch", "client_secret": "batch-secret", "grant_types": ["client_credentials"]}
]"#;

/// The responses to a client with this address at the login page and the token endpoint, after ten wrong guesses.
struct Guesser<'a> {
    example: &'a Example,
    header: (&'static str, &'static str),
}

impl Guesser<'_> {
    async fn log_in(&self, password: &str) -> u16 {
        let http = reqwest::Client::builder().cookie_store(true).redirect(reqwest::redirect::Policy::none());
        let http = http.build().unwrap();
        let form = http.get(self.example.url("/login")).send().await.unwrap().text().await.unwrap();
        let csrf = form.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let form = [("csrf", csrf), ("username", "ada"), ("password", password)];
        let (name, value) = self.header;
        let request = http.post(self.example.url("/login")).header(name, value).form(&form);
        request.send().await.unwrap().status().as_u16()
    }

    async fn get_token(&self, secret: &str) -> u16 {
        let (name, value) = self.header;
        let request = reqwest::Client::new().post(self.example.url("/token")).basic_auth("batch", Some(secret));
        let request = request.header(name, value).form(&[("grant_type", "client_credentials")]);
        request.send().await.unwrap().status().as_u16()
    }

    async fn guess(&self) {
        for _ in 0..10 {
            assert_eq!((self.log_in("wrong").await, self.get_token("wrong").await), (401, 401));
        }
    }

    async fn answers(&self) -> (u16, u16) {
        (self.log_in("correct horse").await, self.get_token("batch-secret").await)
    }
}

const ACCEPTED: (u16, u16) = (303, 200);
const THROTTLED: (u16, u16) = (429, 429);

// covers: B61
#[tokio::test]
async fn guessing_client_behind_proxy_throttles_itself_only() {
    for header in ["x-forwarded-for", "forwarded"] {
        let flags = ["--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "127.0.0.1"];
        let example = Example::with(CLIENTS, api_scopes::USERS, api_scopes::SCOPES, &flags);
        let client = |value| Guesser { example: &example, header: (header, value) };
        let (attacker, other) = match header {
            "forwarded" => ("for=192.0.2.66", "for=192.0.2.7"),
            _ => ("192.0.2.66, 10.1.2.3", "192.0.2.7, 10.1.2.3"),
        };
        client(attacker).guess().await;
        assert_eq!(client(attacker).answers().await, THROTTLED, "{header}");
        assert_eq!(client(other).answers().await, ACCEPTED, "{header}");
        // The attacker's value is to the left of the proxy's.
        let forged = if header == "forwarded" { "for=192.0.2.7, for=192.0.2.66" } else { "192.0.2.7, 192.0.2.66" };
        assert_eq!(client(forged).answers().await, THROTTLED, "{header}");
    }
}

// covers: B61
#[tokio::test]
async fn forwarded_address_of_untrusted_proxy_is_ignored() {
    for flags in [&[][..], &["--trusted-proxy", "10.0.0.0/8"]] {
        let example = Example::with(CLIENTS, api_scopes::USERS, api_scopes::SCOPES, flags);
        let client = |value| Guesser { example: &example, header: ("x-forwarded-for", value) };
        client("192.0.2.66").guess().await;
        assert_eq!(client("192.0.2.7").answers().await, THROTTLED, "{flags:?}");
    }
    assert!(Example::refusal(&["--trusted-proxy", "proxy.example"]).contains("neither an address nor a network"));
    // A proxy that terminates TLS is in front of the server.
    let issuer = ["--issuer", "https://id.example"];
    let warns = |flags: &[&str]| Example::complaints(flags).contains("--trusted-proxy");
    assert!(warns(&issuer) && !warns(&[]) && !warns(&[&issuer[..], &["--trusted-proxy", "10.0.0.1"]].concat()));
}
