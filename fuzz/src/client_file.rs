//! Clients in the format of the storages, and in the format of the example server's `--clients` file (RFC 7591 §2).
//!
//! The input is JSON: one client in either format, or a list. Every accepted client is registered with a server and
//! used.

use grantor::client::{AllowedScope, AuthenticationMethod, ClientParts, ClientType, RedirectUriClass, RegisteredBy};
use grantor::testing::TestClock;
use grantor::{
    Approval, Authenticator, AuthenticatorError, AuthorizationRequest, AuthorizationServer, BearerRequest, Client,
    ClientAttempt, ClientRegistry, ClientSecret, CodeChallenge, CodeVerifier, MemoryStorage, Policy, RefreshToken,
    ResourceOwnerAttempt, Scope, Subject, TokenRequest, TokenResponse, Verdict,
};
use serde_json::Value;

use crate::clients::{ClientMetadata, Rules};
use crate::redirect_uri::check_registered;
use crate::world::{ISSUER, SCOPES, VERIFIER, block_on};

pub const OUTCOMES: [&str; 5] =
    ["not JSON", "refused", "stored client", "file of clients", "client that contradicts itself"];

pub fn check(data: &[u8]) -> &'static str {
    let parts = serde_json::from_slice::<ClientParts>(data);
    let client = serde_json::from_slice::<Client>(data);
    match (parts, client) {
        (Ok(parts), Ok(client)) => {
            same(&parts, client.parts());
            check_client(&client);
            return "stored client";
        }
        (Ok(parts), Err(problem)) => {
            let same_problem =
                Client::from_parts(parts).expect_err("both ways lead through the same checks").to_string();
            assert!(problem.to_string().starts_with(&same_problem), "{problem}");
            return "client that contradicts itself";
        }
        (Err(problem), Ok(client)) => panic!("{client:?}: {problem}"),
        (Err(_), Err(_)) => {}
    }
    match serde_json::from_slice::<Vec<ClientMetadata>>(data) {
        Ok(file) => {
            file.iter().for_each(check_metadata);
            "file of clients"
        }
        Err(_) if serde_json::from_slice::<Value>(data).is_err() => "not JSON",
        Err(_) => "refused",
    }
}

fn check_metadata(metadata: &ClientMetadata) {
    let [strict, legacy] = [false, true]
        .map(|legacy| metadata.to_client(&Rules { legacy, undotted_schemes: false, default_scope: "user:read" }));
    assert_eq!(strict.is_ok(), legacy.is_ok(), "the switch changes what a client may do, not whether it is valid");
    for client in [strict, legacy].into_iter().flatten() {
        assert_eq!((client.id().as_str(), client.name()), (&*metadata.client_id, metadata.client_name()));
        assert_eq!(client.is_confidential(), metadata.client_secret.is_some());
        check_client(&client);
    }
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("whatever was accepted can be stored")
}

fn same(a: &ClientParts, b: &ClientParts) {
    assert_eq!(to_value(a), to_value(b));
}

fn check_client(client: &Client) {
    it_makes_sense(client);
    let json = serde_json::to_vec(client).expect("whatever was accepted can be stored");
    let again: Client = serde_json::from_slice(&json).expect("what was stored can be read");
    same(client.parts(), again.parts());
    let checked = Client::from_parts(client.parts().clone()).expect("what was accepted is accepted");
    same(client.parts(), checked.parts());
    same(&Client::from_parts(again.into_parts()).expect("it still is").into_parts(), client.parts());
    block_on(it_can_be_used(client));
}

/// Checks the rules for valid clients in the documentation of [`Client`].
fn it_makes_sense(client: &Client) {
    let parts = client.parts();
    let uses = |grant_type: &str| client.allows_grant_type(grant_type);
    assert_eq!(client.is_confidential(), !client.credentials().is_empty(), "RFC 6749 §2.1");
    assert_eq!(client.is_confidential(), parts.client_type == ClientType::Confidential);
    let by_none = client.allows_authentication_method(AuthenticationMethod::None);
    assert_eq!(by_none, !client.is_confidential(), "RFC 6749 §2.3");
    assert!(client.is_confidential() || !uses("client_credentials"), "RFC 6749 §4.4");
    assert!(client.is_confidential() || !client.is_pkce_optional(), "RFC 9700 §2.1.1");
    assert!(client.is_confidential() || !client.is_resource_server(), "RFC 7662 §2.1");
    assert!(client.client_type() != ClientType::Native || !uses("implicit"), "RFC 8252 §8.2");
    assert!(client.is_resource_server() || !client.grant_types().is_empty());
    let redirects = uses("authorization_code") || uses("implicit");
    assert!(!redirects || !client.redirect_uris().is_empty(), "RFC 6749 §3.1.2.2");
    for uri in client.redirect_uris() {
        check_registered(uri);
        assert!(uri.matches(uri.as_str()));
        let is_native = client.client_type() == ClientType::Native;
        let is_allowed = match uri.class() {
            RedirectUriClass::PrivateUse => is_native,
            RedirectUriClass::UndottedScheme => is_native && client.has_undotted_schemes(),
            RedirectUriClass::Localhost => is_native || client.has_localhost_for_development(),
            _ => true,
        };
        assert!(is_allowed, "RFC 8252 §7.1, §8.3: {uri}");
    }
    let id = client.id().as_str();
    assert!((1..=255).contains(&id.len()) && id.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{id:?}");
    let own = |token| client.own_scope().is_some_and(|own| own.contains(token));
    if let (AllowedScope::Listed(scope), Some(default)) = (client.allowed_scope(), client.default_scope()) {
        assert!(!parts.all_offered_scopes);
        assert!(default.iter().all(|token| scope.contains(token) || own(token)));
    }
    it_can_be_shown(client);
    it_ends(client);
}

/// Checks that the name, the contacts and the URLs can be displayed safely.
fn it_can_be_shown(client: &Client) {
    let hidden = |text: &str| {
        text.chars().any(|c| c.is_control() || "\u{200b}\u{200e}\u{202e}\u{2066}\u{feff}\u{ad}".contains(c))
    };
    if let Some(name) = client.name() {
        assert!(!name.trim().is_empty() && name.chars().count() <= 200 && !hidden(name), "{name:?}");
    }
    for contact in client.contacts() {
        assert!(!contact.trim().is_empty() && contact.chars().count() <= 320 && !hidden(contact), "{contact:?}");
    }
    if let Some(logo) = client.logo() {
        let source = logo.csp_source();
        assert_eq!(Some(logo.uri()), client.logo_uri());
        let plain = source.strip_prefix("https://").expect("loaded by https");
        assert!(plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)), "{source:?}");
    }
    for website in [client.client_uri(), client.logo_uri(), client.policy_uri(), client.tos_uri()].into_iter().flatten()
    {
        let url = url::Url::parse(website).expect("a URL");
        assert!(["http", "https"].contains(&url.scheme()) && url.has_host(), "{website:?}");
        assert_eq!((url.username(), url.password()), ("", None), "{website:?}");
        assert!(!hidden(website) && !website.contains(char::is_whitespace), "{website:?}");
        assert!(website.len() <= 2_048);
        for base in ["http://id.example/apps", "https://id.example/apps"] {
            let joined = url::Url::parse(base).and_then(|base| base.join(website));
            assert_eq!(joined.as_ref(), Ok(&url), "the link leads to the same address from every page");
        }
    }
}

/// Checks that the lifetimes are in their ranges and consistent.
fn it_ends(client: &Client) {
    let lifetimes = Policy::default().lifetimes(client);
    let seconds = |lifetime: time::Duration| lifetime.whole_seconds();
    assert!((1..=600).contains(&seconds(lifetimes.code)), "RFC 6749 §4.1.2");
    assert!(seconds(lifetimes.access_token) >= 1);
    assert!(seconds(lifetimes.refresh_token_idle) >= 1);
    assert!(lifetimes.refresh_token_absolute >= lifetimes.refresh_token_idle);
    assert!((0..=60).contains(&seconds(lifetimes.refresh_grace)));
    assert!(lifetimes.refresh_grace <= lifetimes.access_token.min(lifetimes.refresh_token_idle));
}

/// An authenticator that accepts every client and every user.
struct Trusting;

#[async_trait::async_trait]
impl Authenticator for Trusting {
    async fn authenticate_client(&self, _: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        Ok(Verdict::Accepted(()))
    }

    async fn authenticate_resource_owner(
        &self,
        _: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        Ok(Verdict::Rejected)
    }
}

/// Checks that the client gets codes and tokens, or is refused because of its scope.
async fn it_can_be_used(client: &Client) {
    let storage = MemoryStorage::new();
    storage.register(client.clone()).await.expect("a new client");
    let builder =
        AuthorizationServer::builder(ISSUER).storage(storage).authenticator(Trusting).clock(TestClock::default());
    let builder = SCOPES.into_iter().fold(builder, |builder, scope| builder.scope(scope, "Something"));
    let server = builder.build().await.expect("a server");
    let secret = ClientSecret::new("any");
    let is_offered = |scope: &Scope| scope.iter().any(|token| SCOPES.contains(&token));
    let is_listed = matches!(client.allowed_scope(), AllowedScope::Listed(scope) if is_offered(scope));
    // Without a user, the list `own_scope` may apply.
    let has_one_list = client.own_scope().is_none() && client.registered_by() == RegisteredBy::Administrator;
    let has_default = client.default_scope().is_some_and(is_offered) && is_listed && has_one_list;
    let id = client.id().as_str();
    let ends =
        client.credentials().iter().all(|credential| !credential.is_live(grantor::Clock::now(&TestClock::default())));
    let may_post = client.allows_authentication_method(AuthenticationMethod::ClientSecretPost);
    let ask = async |request: TokenRequest<'_>| -> Option<TokenResponse> {
        let request = match (client.is_confidential(), may_post) {
            (false, _) => request.parameter("client_id", id.to_owned()),
            (true, true) => request.parameter("client_id", id.to_owned()).parameter("client_secret", "any"),
            (true, false) => request.client_secret_basic(id.to_owned(), &secret),
        };
        match server.token_request(&request).await {
            Ok(tokens) => Some(tokens),
            Err(error) if ends => {
                assert_eq!(error.status(), 401, "{error}");
                None
            }
            Err(error) => {
                assert!(!has_default && error.code() == "invalid_scope", "{error}");
                None
            }
        }
    };
    if client.allows_grant_type("client_credentials") {
        ask(TokenRequest::client_credentials()).await;
    }
    if !client.allows_grant_type("authorization_code") {
        return;
    }
    for uri in client.redirect_uris().iter().filter(|uri| uri.class() != RedirectUriClass::OutOfBand) {
        let challenge = CodeChallenge::s256(&CodeVerifier::new(VERIFIER));
        let request = AuthorizationRequest::code(id).redirect_uri(uri.as_str()).code_challenge_s256(challenge.as_str());
        let pending = match server.authorization_request(&request).await {
            Ok(pending) => pending,
            Err(error) => {
                assert!(!has_default && [303, 400].contains(&error.status()), "{error:?}");
                continue;
            }
        };
        assert!(pending.lifetime().is_positive());
        let response =
            grantor::testing::approve(pending, Approval::by(Subject::new("alice").expect("a subject"))).await;
        let (code, verifier) = (response.code().expect("a code"), CodeVerifier::new(VERIFIER));
        let request = TokenRequest::authorization_code(code).redirect_uri(uri.as_str()).code_verifier(&verifier);
        let Some(tokens) = ask(request).await else { continue };
        let bearer = server.bearer_request(&BearerRequest::of(&tokens.access_token)).await.expect("a token that works");
        assert_eq!(bearer.require(tokens.scope.as_str()).expect("its scope").client_id(), client.id());
        if let Some(token) = &tokens.refresh_token {
            refresh(&server, &ask, token).await;
        }
    }
}

async fn refresh(
    _: &AuthorizationServer,
    ask: &impl AsyncFn(TokenRequest<'_>) -> Option<TokenResponse>,
    token: &RefreshToken,
) {
    let again = ask(TokenRequest::refresh_token(token)).await.expect("it was just issued");
    assert!(again.expires_in.is_positive());
}
