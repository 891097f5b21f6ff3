//! oxide-auth with the stores and the ad-hoc endpoint of its documentation. They are behind a mutex, because its flows
//! borrow them mutably. Its default password policy is Argon2, which would dominate the result. Here the policy is
//! SHA-256 with a comparison in constant time, like grantor's for generated secrets. Tokens are 256 random bits from
//! the operating system as 44 characters of base64.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use oxide_auth::endpoint::{AccessTokenFlow, AuthorizationFlow, OwnerConsent, Solicitation};
use oxide_auth::frontends::simple::endpoint::{
    FnSolicitor, Generic, Vacant, client_credentials_flow, refresh_flow, resource_flow,
};
use oxide_auth::frontends::simple::extensions::{AddonList, Extended, Pkce};
use oxide_auth::frontends::simple::request::{Body, Request, Response, Status};
use oxide_auth::primitives::authorizer::AuthMap;
use oxide_auth::primitives::generator::RandomGenerator;
use oxide_auth::primitives::issuer::TokenMap;
use oxide_auth::primitives::registrar::{Client, ClientMap, ExactUrl, PasswordPolicy, RegisteredUrl, RegistrarError};
use oxide_auth::primitives::scope::Scope;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::subject::{
    Batch, CHALLENGE, Op, REDIRECT_URI, REQUIRED, Registered, SCOPE, STATE, Subject, VERIFIER, World, batch,
};

pub struct Oxide<'w> {
    world: &'w World,
    registrar: ClientMap,
    scopes: [Scope; 1],
    state: Mutex<State>,
}

struct State {
    authorizer: AuthMap<RandomGenerator>,
    issuer: TokenMap<RandomGenerator>,
    addons: AddonList,
}

struct Cheap;

impl PasswordPolicy for Cheap {
    fn store(&self, _: &str, passphrase: &[u8]) -> Vec<u8> {
        Sha256::digest(passphrase).to_vec()
    }

    fn check(&self, _: &str, passphrase: &[u8], stored: &[u8]) -> Result<(), RegistrarError> {
        let equal: bool = Sha256::digest(passphrase).ct_eq(stored).into();
        if equal { Ok(()) } else { Err(RegistrarError::Unspecified) }
    }
}

impl<'w> Oxide<'w> {
    pub fn new(world: &'w World) -> Self {
        let mut registrar = ClientMap::new();
        registrar.set_password_policy(Cheap);
        for client in &world.clients {
            let redirect_uri = RegisteredUrl::Exact(ExactUrl::new(REDIRECT_URI.to_owned()).expect("a URL"));
            let scope = SCOPE.parse().expect("a scope");
            registrar.register_client(Client::confidential(&client.id, redirect_uri, scope, client.secret.as_bytes()));
        }
        let mut addons = AddonList::new();
        addons.push_code(Pkce::required());
        let authorizer = AuthMap::new(RandomGenerator::new(32));
        let issuer = TokenMap::new(RandomGenerator::new(32));
        let scopes = [REQUIRED.parse().expect("a scope")];
        Self { world, registrar, scopes, state: Mutex::new(State { authorizer, issuer, addons }) }
    }

    fn approve(&self, request: Request, user: &str) -> Response {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { authorizer, issuer, addons } = &mut *state;
        let endpoint = Generic {
            registrar: &self.registrar,
            authorizer,
            issuer,
            scopes: Vacant,
            solicitor: FnSolicitor(|_: &mut Request, _: Solicitation<'_>| OwnerConsent::Authorized(user.to_owned())),
            response: Vacant,
        };
        let mut flow = AuthorizationFlow::prepare(Extended::extend_with(endpoint, addons)).unwrap_or_else(|_| panic!());
        flow.execute(request).unwrap_or_else(|_| panic!("a redirect"))
    }

    fn code(&self, client: &Registered) -> String {
        let location = self.approve(authorization_request(client), &self.world.user()).location.expect("a redirect");
        let code = location.query_pairs().find_map(|(name, value)| (name == "code").then(|| value.into_owned()));
        code.expect("a code")
    }

    fn redeem(&self, request: Request) -> Response {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { authorizer, issuer, addons } = &mut *state;
        let registrar = &self.registrar;
        let endpoint = Generic { registrar, authorizer, issuer, scopes: Vacant, solicitor: Vacant, response: Vacant };
        let mut flow = AccessTokenFlow::prepare(Extended::extend_with(endpoint, addons)).unwrap_or_else(|_| panic!());
        flow.execute(request).unwrap_or_else(|_| panic!("tokens"))
    }

    fn refresh(&self, request: Request) -> Response {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        refresh_flow(&self.registrar, &mut state.issuer).execute(request).unwrap_or_else(|_| panic!("tokens"))
    }

    fn client_credentials(&self, request: Request) -> Response {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut solicitor = FnSolicitor(|_: &mut Request, solicitation: Solicitation<'_>| {
            OwnerConsent::Authorized(solicitation.pre_grant().client_id.clone())
        });
        let mut flow = client_credentials_flow(&self.registrar, &mut state.issuer, &mut solicitor);
        flow.execute(request).unwrap_or_else(|_| panic!("tokens"))
    }

    /// Redeems a code and returns a member of the response.
    fn token(&self, client: &Registered, member: &str) -> String {
        let response = self.redeem(redemption(client, &self.code(client)));
        let body = response.body.expect("a body");
        let body: HashMap<String, serde_json::Value> = serde_json::from_str(body.as_str()).expect("JSON");
        body[member].as_str().expect("a text").to_owned()
    }

    fn bearer(&self, header: String) {
        let request = Request { auth: Some(header), ..Request::default() };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = resource_flow(&mut state.issuer, &self.scopes).execute(request);
        let grant = grant.unwrap_or_else(|_| panic!("live"));
        assert!(!black_box(grant).owner_id.is_empty());
    }
}

fn parameters(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn authorization_request(client: &Registered) -> Request {
    let query = parameters(&[
        ("response_type", "code"),
        ("client_id", &client.id),
        ("redirect_uri", REDIRECT_URI),
        ("scope", SCOPE),
        ("state", STATE),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    Request { query, ..Request::default() }
}

fn token_request(client: &Registered, pairs: &[(&str, &str)]) -> Request {
    Request { urlbody: parameters(pairs), auth: Some(client.basic.clone()), ..Request::default() }
}

fn redemption(client: &Registered, code: &str) -> Request {
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    token_request(client, &pairs)
}

fn refresh_request(client: &Registered, token: &str) -> Request {
    token_request(client, &[("grant_type", "refresh_token"), ("refresh_token", token)])
}

fn credentials_request(client: &Registered) -> Request {
    token_request(client, &[("grant_type", "client_credentials"), ("scope", SCOPE)])
}

/// Takes the parts of the response that a host app would send.
fn send(response: Response) {
    let response = black_box(response);
    assert_eq!(response.status, Status::Ok);
    assert!(matches!(&response.body, Some(Body::Json(json)) if json.contains("access_token")));
}

impl Subject for Oxide<'_> {
    fn batch(&self, op: Op, n: usize) -> Box<dyn Batch + Send + '_> {
        let clients = || (0..n).map(|_| self.world.client());
        match op {
            Op::Authorize => batch(
                clients().map(|client| (client, self.world.user())).collect(),
                |(client, user)| drop(black_box((authorization_request(client), user.clone()))),
                |(client, user)| {
                    let response = black_box(self.approve(authorization_request(client), user));
                    assert_eq!(response.status, Status::Redirect);
                    let location: Cow<'_, str> = response.location.as_ref().expect("a redirect").as_str().into();
                    assert!(location.contains("code="));
                },
            ),
            Op::Code => batch(
                clients().map(|client| (client, self.code(client))).collect(),
                |(client, code)| drop(black_box(redemption(client, code))),
                |(client, code)| send(self.redeem(redemption(client, code))),
            ),
            Op::Refresh => batch(
                clients().map(|client| (client, self.token(client, "refresh_token"))).collect(),
                |(client, token)| drop(black_box(refresh_request(client, token))),
                |(client, token)| send(self.refresh(refresh_request(client, token))),
            ),
            Op::ClientCredentials => batch(
                clients().collect(),
                |client: &mut &Registered| drop(black_box(credentials_request(client))),
                |client| send(self.client_credentials(credentials_request(client))),
            ),
            Op::Bearer => batch(
                clients().map(|client| format!("Bearer {}", self.token(client, "access_token"))).collect(),
                |header: &mut String| drop(black_box(header.clone())),
                |header| self.bearer(header.clone()),
            ),
        }
    }
}
