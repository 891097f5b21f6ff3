//! grantor with its memory storage and the system's clock and entropy, in its typed and its HTTP form.

use std::hint::black_box;

use grantor::{
    AccessToken, Approval, AuthorizationCode, AuthorizationOutcome, AuthorizationRequest, AuthorizationServer,
    BearerRequest, Client, ClientCredential, ClientRegistry, ClientSecret, CodeVerifier, Interaction, MemoryStorage,
    PendingAuthorization, RefreshToken, Request, Response, Subject as User, TokenRequest, TokenResponse, UserSession,
};

use crate::subject::{
    Batch, CHALLENGE, ISSUER, Op, REDIRECT_URI, REQUIRED, Registered, SCOPE, STATE, Subject, VERIFIER, World, batch,
    ready,
};

pub struct Typed<'w>(Ours<'w>);

pub struct Http<'w>(Ours<'w>);

struct Ours<'w> {
    world: &'w World,
    server: AuthorizationServer,
    /// The secrets of the world's clients as typed values, in the order of the clients.
    secrets: Vec<ClientSecret>,
    verifier: CodeVerifier,
}

impl<'w> Typed<'w> {
    pub fn new(world: &'w World) -> Self {
        Self(Ours::new(world))
    }
}

impl<'w> Http<'w> {
    pub fn new(world: &'w World) -> Self {
        Self(Ours::new(world))
    }
}

impl<'w> Ours<'w> {
    fn new(world: &'w World) -> Self {
        let storage = MemoryStorage::new();
        let secrets: Vec<ClientSecret> =
            world.clients.iter().map(|client| ClientSecret::new(&*client.secret)).collect();
        for (client, secret) in world.clients.iter().zip(&secrets) {
            let client = Client::confidential(&client.id, ClientCredential::secret(secret))
                .authorization_code([REDIRECT_URI])
                .refresh_token()
                .client_credentials()
                .scope(SCOPE)
                .build()
                .expect("a client");
            ready(storage.register(client)).expect("it is new");
        }
        let server = AuthorizationServer::builder(ISSUER)
            .storage(storage)
            .scope("user:read", "Read your profile")
            .scope("user:write", "Change your profile");
        let server = ready(server.build()).expect("a server");
        Self { world, server, secrets, verifier: CodeVerifier::new(VERIFIER) }
    }

    /// The next client, with its secret.
    fn client(&self) -> (&Registered, &ClientSecret) {
        let client = self.world.client();
        let number: usize = client.id["client-".len()..].parse().expect("its number");
        (client, &self.secrets[number])
    }

    fn approve(&self, client: &str, user: &str) -> grantor::AuthorizationResponse {
        let pending = ready(self.server.authorization_request(&authorization_request(client)));
        ready(approve(pending.expect("the request is valid"), user))
    }

    fn code(&self, client: &str) -> AuthorizationCode {
        let response = self.approve(client, &self.world.user());
        AuthorizationCode::new(response.code().expect("a code").expose())
    }

    fn tokens(&self, client: (&Registered, &ClientSecret)) -> TokenResponse {
        let code = self.code(&client.0.id);
        ready(self.server.token_request(&self.redemption(client, &code))).expect("tokens")
    }

    /// Requests of clients to the token endpoint, with these bodies.
    fn posts<'a>(&'a self, inputs: Vec<(&'a Registered, String)>) -> Box<dyn Batch + Send + 'a> {
        batch(
            inputs,
            |(client, body)| drop(black_box(post(client, body))),
            |(client, body)| send(ready(self.server.token(&post(client, body))), 200),
        )
    }

    fn redemption<'a>(
        &'a self,
        (client, secret): (&'a Registered, &'a ClientSecret),
        code: &'a AuthorizationCode,
    ) -> TokenRequest<'a> {
        TokenRequest::authorization_code(code)
            .redirect_uri(REDIRECT_URI)
            .code_verifier(&self.verifier)
            .client_secret_basic(&*client.id, secret)
    }
}

fn authorization_request(client: &str) -> AuthorizationRequest<'_> {
    AuthorizationRequest::code(client)
        .redirect_uri(REDIRECT_URI)
        .scope(SCOPE)
        .state(STATE)
        .code_challenge_s256(CHALLENGE)
        // The user decides. Otherwise consent on record would be looked up, which the peers and the floor do not do.
        .parameter("prompt", "consent")
}

fn refresh<'a>((client, secret): (&'a Registered, &'a ClientSecret), token: &'a RefreshToken) -> TokenRequest<'a> {
    TokenRequest::refresh_token(token).client_secret_basic(&*client.id, secret)
}

fn client_credentials<'a>((client, secret): (&'a Registered, &'a ClientSecret)) -> TokenRequest<'a> {
    TokenRequest::client_credentials().scope(SCOPE).client_secret_basic(&*client.id, secret)
}

fn times<T>(n: usize, make: impl FnMut(usize) -> T) -> Vec<T> {
    (0..n).map(make).collect()
}

impl Subject for Typed<'_> {
    fn batch(&self, op: Op, n: usize) -> Box<dyn Batch + Send + '_> {
        let ours = &self.0;
        let answer = |request: &TokenRequest<'_>| {
            black_box(ready(ours.server.token_request(request)).expect("tokens").to_json());
        };
        match op {
            Op::Authorize => batch(
                times(n, |_| (&*ours.client().0.id, ours.world.user())),
                |(client, user)| drop(black_box((authorization_request(client), User::new(user)))),
                |(client, user)| {
                    let response = ours.approve(client, user).into_http();
                    assert_eq!(black_box(response).status(), 303);
                },
            ),
            Op::Code => batch(
                times(n, |_| {
                    let client = ours.client();
                    (client, ours.code(&client.0.id))
                }),
                |(client, code)| drop(black_box(ours.redemption(*client, code))),
                move |(client, code)| answer(&ours.redemption(*client, code)),
            ),
            Op::Refresh => batch(
                times(n, |_| {
                    let client = ours.client();
                    (client, ours.tokens(client).refresh_token.expect("a refresh token"))
                }),
                |(client, token)| drop(black_box(refresh(*client, token))),
                move |(client, token)| answer(&refresh(*client, token)),
            ),
            Op::ClientCredentials => batch(
                times(n, |_| ours.client()),
                |client| drop(black_box(client_credentials(*client))),
                move |client| answer(&client_credentials(*client)),
            ),
            Op::Bearer => batch(
                times(n, |_| ours.tokens(ours.client()).access_token),
                |_| {},
                |token: &mut AccessToken| {
                    let access =
                        ready(ours.server.bearer_request(&BearerRequest::of(token))).expect("live").require(REQUIRED);
                    assert!(black_box(access.expect("the scope").subject()).is_some());
                },
            ),
        }
    }
}

/// An answer as a host would send it on.
fn send(response: Response, status: u16) {
    let (answered, headers, body) = black_box(response.into_parts());
    assert_eq!(answered, status);
    drop(black_box((headers, body)));
}

fn post(client: &Registered, body: &str) -> Request {
    Request::post_form("/token", body).with_header("authorization", &*client.basic)
}

impl Subject for Http<'_> {
    fn batch(&self, op: Op, n: usize) -> Box<dyn Batch + Send + '_> {
        let ours = &self.0;
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (redirect_uri, scope) = (encoded(REDIRECT_URI), encoded(SCOPE));
        match op {
            Op::Authorize => batch(
                times(n, |_| {
                    let id = &ours.client().0.id;
                    let target = format!(
                        "/authorize?response_type=code&client_id={id}&redirect_uri={redirect_uri}&scope={scope}\
                         &state={STATE}&code_challenge={CHALLENGE}&code_challenge_method=S256"
                    );
                    (target, ours.world.user())
                }),
                |(target, user)| drop(black_box((Request::get(&**target), User::new(user)))),
                |(target, user)| match ready(ours.server.authorize(&Request::get(&**target))) {
                    AuthorizationOutcome::Pending(pending) => {
                        send(ready(approve(pending, user)).into_http(), 303);
                    }
                    AuthorizationOutcome::Respond(_) => panic!("the request is valid"),
                },
            ),
            Op::Code => ours.posts(times(n, |_| {
                let client = ours.client().0;
                let code = ours.code(&client.id);
                let code = code.expose();
                let body = format!(
                    "grant_type=authorization_code&code={code}&redirect_uri={redirect_uri}&code_verifier={VERIFIER}"
                );
                (client, body)
            })),
            Op::Refresh => ours.posts(times(n, |_| {
                let client = ours.client();
                let tokens = ours.tokens(client);
                let token = tokens.refresh_token.as_ref().expect("a refresh token").expose();
                (client.0, format!("grant_type=refresh_token&refresh_token={token}"))
            })),
            Op::ClientCredentials => {
                ours.posts(times(n, |_| (ours.client().0, format!("grant_type=client_credentials&scope={scope}"))))
            }
            Op::Bearer => batch(
                times(n, |_| format!("Bearer {}", ours.tokens(ours.client()).access_token.expose())),
                |header| drop(black_box(Request::get("/api/me").with_header("authorization", &**header))),
                |header| {
                    let request = Request::get("/api/me").with_header("authorization", &**header);
                    let access = ready(ours.server.bearer(&request)).expect("live").require(REQUIRED);
                    assert!(black_box(access.expect("the scope").subject()).is_some());
                },
            ),
        }
    }
}

/// Approves a request like a host app: it takes the next interaction, and the user agrees.
async fn approve(pending: PendingAuthorization, user: &str) -> grantor::AuthorizationResponse {
    let session = UserSession::new(User::new(user).expect("a user"));
    match pending.interaction(Some(&session)).await {
        Interaction::Consent(consent) => consent.approve(Approval::by(session)).await,
        Interaction::Proceed(proceed) => proceed.approve().await,
        other => panic!("the user can approve: {other:?}"),
    }
}
