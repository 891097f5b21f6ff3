//! oauth-as with its memory storage and the system clock. It gets the random bytes of each code and each response from
//! the operating system (`getrandom`), and encodes 256 bits as 64 hexadecimal characters.

use std::hint::black_box;

use oauth_as::{
    AuthorizationRequest, AuthorizationServer, Client, ClientAuth, ClientId, GrantType, MemoryStorage, ScopeSet,
    SecretHash, ServerConfig, TokenRequest, TokenResponse, UserApproval,
};

use crate::subject::{
    Batch, CHALLENGE, ISSUER, Op, REDIRECT_URI, REQUIRED, Registered, SCOPE, STATE, Subject, VERIFIER, World, batch,
    ready,
};

pub struct OauthAs<'w> {
    world: &'w World,
    server: AuthorizationServer<MemoryStorage>,
}

impl<'w> OauthAs<'w> {
    pub fn new(world: &'w World) -> Self {
        let mut config = ServerConfig::new(ISSUER, "https://id.example.com/device");
        config.scopes_supported = Some(SCOPE.split(' ').map(Into::into).collect());
        let server = AuthorizationServer::new(config, MemoryStorage::new());
        for client in &world.clients {
            let scopes = ScopeSet::parse(SCOPE).expect("scopes");
            let client = Client {
                client_id: ClientId::new(&*client.id),
                auth: ClientAuth::ConfidentialSecretHash { hash: SecretHash::sha256(&client.secret) },
                grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::ClientCredentials],
                redirect_uris: vec![REDIRECT_URI.to_owned()],
                allowed_scopes: scopes.clone(),
                default_scopes: scopes,
                name: None,
                registration: None,
            };
            ready(server.register_client(client)).expect("it is new");
        }
        Self { world, server }
    }

    /// Returns the code and the redirect that contains it.
    fn approve(&self, client: &str, user: String) -> (String, String) {
        let validated = ready(self.server.validate_authorization_request(&authorization_request(client)));
        let validated = validated.unwrap_or_else(|_| panic!("the request is valid"));
        let approval = UserApproval::granted(&validated, user);
        let response = ready(self.server.issue_authorization_code(approval)).unwrap_or_else(|_| panic!("a code"));
        let location = response.location(&validated.redirect_uri);
        (response.code, location)
    }

    fn code(&self, client: &Registered) -> String {
        self.approve(&client.id, self.world.user()).0
    }

    fn tokens(&self, client: &Registered) -> TokenResponse {
        ready(self.server.token(redemption(client, self.code(client)))).expect("tokens")
    }

    fn answer(&self, request: TokenRequest) {
        let tokens = ready(self.server.token(request)).expect("tokens");
        black_box(serde_json::to_vec(&tokens).expect("JSON"));
    }
}

fn authorization_request(client: &str) -> AuthorizationRequest<'_> {
    AuthorizationRequest::from_pairs([
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT_URI),
        ("scope", SCOPE),
        ("state", STATE),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ])
}

fn redemption(client: &Registered, code: String) -> TokenRequest {
    TokenRequest::AuthorizationCode {
        client_id: ClientId::new(&*client.id),
        client_secret: Some(client.secret.clone()),
        code,
        redirect_uri: Some(REDIRECT_URI.to_owned()),
        code_verifier: Some(VERIFIER.to_owned()),
    }
}

fn refresh(client: &Registered, refresh_token: String) -> TokenRequest {
    TokenRequest::RefreshToken {
        client_id: ClientId::new(&*client.id),
        client_secret: Some(client.secret.clone()),
        refresh_token,
        scope: None,
    }
}

fn client_credentials(client: &Registered) -> TokenRequest {
    TokenRequest::ClientCredentials {
        client_id: ClientId::new(&*client.id),
        client_secret: Some(client.secret.clone()),
        scope: Some(ScopeSet::parse(SCOPE).expect("scopes")),
    }
}

impl Subject for OauthAs<'_> {
    fn batch(&self, op: Op, n: usize) -> Box<dyn Batch + Send + '_> {
        let clients = || (0..n).map(|_| self.world.client());
        match op {
            Op::Authorize => batch(
                clients().map(|client| (&*client.id, self.world.user())).collect(),
                |(client, user)| drop(black_box((authorization_request(client), user.clone()))),
                |(client, user)| assert!(black_box(self.approve(client, user.clone())).1.contains("code=")),
            ),
            Op::Code => batch(
                clients().map(|client| (client, self.code(client))).collect(),
                |(client, code)| drop(black_box(redemption(client, std::mem::take(code)))),
                |(client, code)| self.answer(redemption(client, std::mem::take(code))),
            ),
            Op::Refresh => batch(
                clients().map(|client| (client, self.tokens(client).refresh_token.expect("a refresh token"))).collect(),
                |(client, token)| drop(black_box(refresh(client, std::mem::take(token)))),
                |(client, token)| self.answer(refresh(client, std::mem::take(token))),
            ),
            Op::ClientCredentials => batch(
                clients().collect(),
                |client: &mut &Registered| drop(black_box(client_credentials(client))),
                |client| self.answer(client_credentials(client)),
            ),
            Op::Bearer => batch(
                clients().map(|client| self.tokens(client).access_token).collect(),
                |_| {},
                |token: &mut String| {
                    let token = ready(self.server.introspect(token)).expect("the storage works").expect("live");
                    assert!(token.scope.iter().any(|scope| scope.as_str() == REQUIRED));
                    assert!(black_box(&token.subject).is_some());
                },
            ),
        }
    }
}
