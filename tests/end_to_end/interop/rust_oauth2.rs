//! The Rust crate `oauth2`: every grant type that it supports.

use oauth2::basic::{BasicClient, BasicErrorResponseType};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, PkceCodeChallenge, RedirectUrl, RequestTokenError, ResourceOwnerPassword, ResourceOwnerUsername,
    Scope, TokenResponse, TokenUrl,
};

use end_to_end::example::{Browser, Example};

const CLIENTS: &str = r#"[
    {"client_id": "all", "client_secret": "all-secret", "scope": "user:read user:write",
     "redirect_uris": ["https://app.example/cb"], "response_types": ["code"],
     "grant_types": ["authorization_code", "client_credentials", "password", "refresh_token"]}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile", "user:write": "Change your profile"}"#;

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

fn client(example: &Example, secret: &str) -> Client {
    BasicClient::new(ClientId::new("all".to_owned()))
        .set_client_secret(ClientSecret::new(secret.to_owned()))
        .set_auth_uri(AuthUrl::new(example.url("/authorize")).unwrap())
        .set_token_uri(TokenUrl::new(example.url("/token")).unwrap())
        .set_redirect_uri(RedirectUrl::new("https://app.example/cb".to_owned()).unwrap())
}

/// Sends the crate's requests with our HTTP client.
async fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let answer = reqwest::Client::new().execute(request.try_into()?).await?;
    let mut response = oauth2::http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    Ok(response.body(answer.bytes().await?.to_vec()).expect("the parts of a response make a response"))
}

#[tokio::test]
async fn oauth2_crate_completes_code_flow_and_refresh() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let client = client(&example, "all-secret");
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = client
        .authorize_url(CsrfToken::new_random)
        .add_scope(Scope::new("user:read".to_owned()))
        .set_pkce_challenge(challenge)
        .url();

    let browser = Browser::new(&example);
    let path = format!("{}?{}", url.path(), url.query().unwrap());
    let page = browser.open_as(&path, "ada", "correct horse").await;
    let page = browser.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await;
    assert_eq!(page.answer("state").as_deref(), Some(state.secret().as_str()));
    let code = AuthorizationCode::new(page.answer("code").expect("a code"));

    let tokens = client.exchange_code(code).set_pkce_verifier(verifier).request_async(&send).await.unwrap();
    assert_eq!(tokens.expires_in().map(|time| time.as_secs()), Some(3600));
    assert_eq!(tokens.scopes().unwrap(), &[Scope::new("user:read".to_owned())]);
    let (old, refresh) = (tokens.access_token().secret(), tokens.refresh_token().expect("a refresh token"));

    let fresh = client.exchange_refresh_token(refresh).request_async(&send).await.unwrap();
    assert_ne!(fresh.access_token().secret(), old);
    assert_ne!(fresh.refresh_token().expect("a successor").secret(), refresh.secret());
}

#[tokio::test]
async fn client_credentials_flow_gets_a_token() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let scope = Scope::new("user:write".to_owned());
    let request = client(&example, "all-secret");
    let tokens = request.exchange_client_credentials().add_scope(scope.clone()).request_async(&send).await.unwrap();
    assert_eq!(tokens.scopes().unwrap(), &[scope]);
    assert!(tokens.refresh_token().is_none());
}

#[tokio::test]
async fn password_grant_works_if_enabled() {
    let user = ResourceOwnerUsername::new("ada".to_owned());
    let password = ResourceOwnerPassword::new("correct horse".to_owned());
    let scope = Scope::new("user:read".to_owned());
    for (flags, works) in [(&["--legacy"][..], true), (&[][..], false)] {
        let example = Example::with(CLIENTS, USERS, SCOPES, flags);
        let client = client(&example, "all-secret");
        let request = client.exchange_password(&user, &password).add_scope(scope.clone());
        match request.request_async(&send).await {
            Ok(tokens) => {
                assert!(works, "the password grant is off by default");
                assert!(tokens.refresh_token().is_some());
            }
            Err(RequestTokenError::ServerResponse(error)) if !works => {
                assert_eq!(*error.error(), BasicErrorResponseType::UnsupportedGrantType);
            }
            Err(error) => panic!("{flags:?}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn refusals_are_understood() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let client = client(&example, "wrong");
    match client.exchange_client_credentials().request_async(&send).await {
        Err(RequestTokenError::ServerResponse(error)) => {
            assert_eq!(*error.error(), BasicErrorResponseType::InvalidClient);
            assert!(error.error_description().is_some());
        }
        other => panic!("{other:?}"),
    }
}
