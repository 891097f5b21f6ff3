//! What operators, and developers of clients or APIs, learn from the running service without documentation.

use serde_json::Value;

use end_to_end::example::{Browser, Example, Folder};

#[test]
fn invalid_issuer_address_is_refused_with_advice() {
    let complaint = Example::refusal(&["--listen", "0.0.0.0:0"]);
    assert!(complaint.contains("0.0.0.0") && complaint.contains("--issuer"), "{complaint}");
    // The error for a given issuer says what is wrong, and suggests to leave the flag out.
    let complaint = Example::refusal(&["--listen", "0.0.0.0:0", "--issuer", "http://id.example"]);
    assert!(complaint.contains("http://id.example") && !complaint.contains("--issuer"), "{complaint}");
    let complaint = Example::refusal(&["--listen", "127.0.0.1:0", "--issuer", "https://id.example/path"]);
    assert!(complaint.contains("has a path"), "{complaint}");
}

#[test]
fn findings_about_server_and_clients_are_printed() {
    const CLIENTS: &str = r#"[{"client_id": "machine", "client_secret": "m", "grant_types": ["client_credentials"],
        "scope": "user:read retired"}]"#;
    let folder = Folder::new();
    let complaints = Example::complaints(&["--legacy", "--clients", &folder.file("clients.json", CLIENTS)]);
    let lines: Vec<_> = complaints.lines().collect();
    assert!(
        lines.contains(
            &"warning: the dangerous switch pkce_optional is on: turn it off when no client needs it any more"
        ),
        "{complaints}"
    );
    assert!(
        lines.contains(
            &"warning: the client machine: the scope \"retired\" is not offered by the server: declare it, or remove it \
              from the client"
        ),
        "{complaints}"
    );
    // The built-in clients have no findings.
    assert_eq!(Example::complaints(&[]), "");
}

#[tokio::test]
async fn start_page_and_metadata_list_every_endpoint() {
    let example = Example::start(&[]);
    let page = Browser::new(&example).get("/").await;
    let http = reqwest::Client::new();
    let metadata = example.url("/.well-known/oauth-authorization-server");
    let document: Value = http.get(&metadata).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["issuer"], example.base);
    let mut addresses = vec![metadata, example.url("/api/me")];
    for name in ["authorization_endpoint", "token_endpoint", "revocation_endpoint", "introspection_endpoint"] {
        addresses.push(document[name].as_str().expect(name).to_owned());
    }
    for address in &addresses {
        assert!(page.codes().contains(&address.as_str()), "{address} is not on the page: {}", page.body);
    }
    // Requests without authentication get 401, not 404.
    for (address, expected) in addresses.iter().zip([200, 401, 400, 405, 405, 405]) {
        assert_eq!(http.get(address).send().await.unwrap().status(), expected, "{address}");
    }
}

#[tokio::test]
async fn only_the_api_of_the_clients_file_may_introspect() {
    const CLIENTS: &str = r#"[
        {"client_id": "machine", "client_secret": "m", "grant_types": ["client_credentials"]},
        {"client_id": "other", "client_secret": "o", "grant_types": ["client_credentials"], "resource_server": false},
        {"client_id": "api", "client_secret": "a", "resource_server": true}
    ]"#;
    let example = Example::with(CLIENTS, r#"{"ada": "correct horse"}"#, r#"{"user:read": "Read"}"#, &[]);
    let http = reqwest::Client::new();
    let post = async |path: &str, id: &str, secret: &str, form: &[(&str, &str)]| {
        let request = http.post(example.url(path)).basic_auth(id, Some(secret)).form(form);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (_, tokens) = post("/token", "machine", "m", &[("grant_type", "client_credentials")]).await;
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let token = [("token", tokens["access_token"].as_str().unwrap())];

    let (status, told) = post("/introspect", "api", "a", &token).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &told["active"], &told["client_id"]), (200, &true.into(), &"machine".into()));
    let inactive = (200, r#"{"active":false}"#.to_owned());
    assert_eq!(post("/introspect", "other", "o", &token).await, inactive);
    // The API itself can't get tokens.
    let (status, refusal) = post("/token", "api", "a", &[("grant_type", "client_credentials")]).await;
    assert_eq!(status, 400);
    assert!(refusal.contains("unauthorized_client"), "{refusal}");

    let (status, body) = post("/revoke", "machine", "m", &token).await;
    assert_eq!((status, body.as_str()), (200, "{}"));
    assert_eq!(post("/introspect", "api", "a", &token).await, inactive);
}
