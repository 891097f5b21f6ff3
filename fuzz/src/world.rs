//! The servers and clients for the targets, and the facts about them.

use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use grantor::client::{AuthenticationMethod, ClientCredential, ClientParts, ClientType, RedirectUri, RegisteredBy};
use grantor::jose::{Algorithm, JwkSet, SigningKey};
use grantor::policy::{ErrorRedirects, Policy};
use grantor::testing::{ISSUER as TEST_ISSUER, RecordingObserver, SeededEntropy, TestClock, TestUsers};
use grantor::{
    AuthorizationServer, Builder, Client, ClientId, ClientRegistry, ClientSecret, ClientSignatures, GrantType,
    MemoryStorage, Scope,
};
use time::Duration;

pub(crate) const ISSUER: &str = TEST_ISSUER;

/// All scopes of the servers.
pub(crate) const SCOPES: [&str; 3] = ["user:read", "user:write", "offline_access"];

/// The parameters that the token endpoint knows without the password grant.
pub(crate) const TOKEN_PARAMETERS: [&str; 10] = [
    "grant_type",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
];

/// The verifier for all challenges that the targets make.
pub(crate) const VERIFIER: &str = "the-verifier-of-every-challenge-in-these-targets";

pub(crate) const USER: (&str, &str) = ("alice", "a password that nobody else has");

/// A registered client in the terms of the specifications.
pub(crate) struct Registered {
    pub(crate) id: &'static str,
    pub(crate) client_type: ClientType,
    pub(crate) secrets: &'static [&'static str],
    pub(crate) redirect_uris: &'static [&'static str],
    pub(crate) grant_types: &'static [&'static str],
    pub(crate) scope: &'static str,
    pub(crate) default_scope: Option<&'static str>,
    pub(crate) habits: &'static [Habit],
}

/// An unusual property of a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It may use all legacy features.
    Legacy,
    /// It registered itself, without an administrator.
    SelfService,
    /// It authenticates only in the body.
    PostOnly,
    /// Its credential has expired.
    Expired,
}

impl Registered {
    pub(crate) fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    pub(crate) fn uses(&self, grant_type: &str) -> bool {
        self.grant_types.contains(&grant_type)
    }

    pub(crate) fn is_confidential(&self) -> bool {
        self.client_type == ClientType::Confidential
    }

    /// Returns the scope for a request of `requested`, sorted, or `None` if the request is refused.
    pub(crate) fn grantable(&self, requested: Option<&str>) -> Option<Vec<String>> {
        let tokens = requested.or(self.default_scope)?.split(' ').filter(|token| !token.is_empty());
        let mut tokens: Vec<&str> = tokens.collect();
        tokens.sort_unstable();
        tokens.dedup();
        let own: Vec<&str> = self.scope.split(' ').collect();
        let are_own = !tokens.is_empty() && tokens.iter().all(|token| own.contains(token));
        are_own.then(|| tokens.into_iter().map(String::from).collect())
    }

    fn client(&self) -> Client {
        let mut parts = ClientParts::new(ClientId::new(self.id).expect("an identifier"), self.client_type);
        let uris = self.redirect_uris.iter().map(|uri| RedirectUri::parse(uri).expect("a redirect URI"));
        parts.redirect_uris = uris.collect();
        parts.grant_types = self.grant_types.iter().map(|name| GrantType::new(name).expect("a grant type")).collect();
        parts.scope = Some(Scope::parse(self.scope).expect("a scope"));
        parts.default_scope = self.default_scope.map(|scope| Scope::parse(scope).expect("a scope"));
        let credentials = self.secrets.iter().map(|secret| ClientCredential::secret(&ClientSecret::new(*secret)));
        parts.credentials = credentials.collect();
        if self.has(Habit::Legacy) {
            parts.legacy.pkce_optional = true;
            parts.legacy.plain_pkce = true;
            parts.legacy.token_parameters_in_query = true;
        }
        if !self.has(Habit::SelfService) {
            parts.registered_by = RegisteredBy::Administrator;
        }
        if self.has(Habit::PostOnly) {
            parts.token_endpoint_auth_method = Some(AuthenticationMethod::ClientSecretPost);
        }
        if self.has(Habit::Expired) {
            let past = time::OffsetDateTime::UNIX_EPOCH + Duration::DAY;
            parts.credentials = parts.credentials.into_iter().map(|credential| credential.expiring(past)).collect();
        }
        parts.jwks = Some(JwkSet::new([client_key().public_key().clone()]).expect("one key"));
        Client::from_parts(parts).expect("a valid client")
    }
}

const USUAL: Registered = Registered {
    id: "",
    client_type: ClientType::Confidential,
    secrets: &[],
    redirect_uris: &[],
    grant_types: &[],
    scope: "user:read user:write",
    default_scope: Some("user:read"),
    habits: &[],
};

pub(crate) static CLIENTS: [Registered; 9] = [
    Registered {
        id: "web",
        secrets: &["the-secret-of-the-client-web-9f86d081884c7d65"],
        redirect_uris: &["https://app.example/cb", "https://app.example/cb2?tenant=1"],
        grant_types: &["authorization_code", "refresh_token", "client_credentials"],
        ..USUAL
    },
    Registered {
        id: "spa",
        client_type: ClientType::Public,
        redirect_uris: &["https://spa.example/"],
        grant_types: &["authorization_code", "refresh_token", "implicit"],
        scope: "user:read user:write offline_access",
        default_scope: None,
        ..USUAL
    },
    Registered {
        id: "native",
        client_type: ClientType::Native,
        redirect_uris: &[
            "http://127.0.0.1/cb?x=1",
            "http://[::1]:9/cb",
            "http://localhost/cb",
            "com.example.app:/cb",
            RedirectUri::OUT_OF_BAND,
        ],
        grant_types: &["authorization_code"],
        ..USUAL
    },
    Registered {
        id: "old",
        secrets: &["the-secret-of-the-client-old-60303ae22b998861"],
        redirect_uris: &["http://127.0.0.1:8080/cb"],
        grant_types: &["authorization_code", "refresh_token", "implicit", "password", "client_credentials"],
        habits: &[Habit::Legacy],
        ..USUAL
    },
    Registered {
        id: "self",
        client_type: ClientType::Public,
        redirect_uris: &["https://self.example/cb?"],
        grant_types: &["authorization_code"],
        habits: &[Habit::SelfService],
        ..USUAL
    },
    Registered {
        id: "machine",
        secrets: &["the-secret-of-the-client-machine-fd61a03af4f77d87"],
        grant_types: &["client_credentials"],
        scope: "user:read",
        habits: &[Habit::PostOnly],
        ..USUAL
    },
    Registered {
        id: "odd: %41&+=",
        secrets: &["the first secret:%42&+=\"\\ 7af0e0", "the second secret 1b16b1df538ba12d"],
        redirect_uris: &["https://odd.example:8443/cb"],
        grant_types: &["authorization_code", "client_credentials"],
        ..USUAL
    },
    Registered {
        id: "expired",
        secrets: &["the-secret-of-the-client-expired-6e340b9cffb37a98"],
        grant_types: &["client_credentials"],
        habits: &[Habit::Expired],
        ..USUAL
    },
    Registered {
        id: "console",
        client_type: ClientType::Public,
        redirect_uris: &[RedirectUri::OUT_OF_BAND],
        grant_types: &["authorization_code", "implicit"],
        ..USUAL
    },
];

/// The key with which every client signs.
pub(crate) fn client_key() -> SigningKey {
    let pem = include_str!("../../tests/keys/ed25519.pem");
    SigningKey::from_pem(Algorithm::Ed25519, pem).expect("a key")
}

pub(crate) fn registered(id: &str) -> Option<&'static Registered> {
    CLIENTS.iter().find(|client| client.id == id)
}

/// A server with all clients, and its parts.
pub(crate) struct World {
    pub(crate) server: AuthorizationServer,
    pub(crate) clock: TestClock,
    pub(crate) events: RecordingObserver,
}

/// The policies from which a target chooses.
#[derive(Clone, Copy, Default)]
pub(crate) struct Switches {
    pub(crate) dangers: bool,
    pub(crate) ask_first: bool,
}

impl World {
    /// Lends out a world. Several inputs use the same world, because making one takes longer than a check. So a check
    /// must not depend on the state that other inputs have left.
    pub(crate) fn lend<T>(switches: Switches, check: impl FnOnce(&Self) -> T) -> T {
        thread_local! {
            static WORLDS: RefCell<[Option<(World, u32)>; 4]> = const { RefCell::new([const { None }; 4]) };
        }
        let place = usize::from(switches.dangers) + 2 * usize::from(switches.ask_first);
        let used = WORLDS.with_borrow_mut(|worlds| worlds[place].take()).filter(|(_, times)| *times < 50);
        let (world, times) = used.unwrap_or_else(|| (Self::new(switches), 0));
        let result = check(&world);
        WORLDS.with_borrow_mut(|worlds| worlds[place] = Some((world, times + 1)));
        result
    }

    fn new(switches: Switches) -> Self {
        let storage = MemoryStorage::new();
        for client in thread_clients() {
            block_on(storage.register(client)).expect("a new client");
        }
        let (clock, events) = (TestClock::default(), RecordingObserver::default());
        let server = builder(storage, &clock).policy(policy(switches)).observer(events.clone());
        let server = server.client_signatures(ClientSignatures::new().request_objects());
        let server = block_on(server.server_key(&[7; 32], &[]).build()).expect("a valid server");
        Self { server, clock, events }
    }
}

pub(crate) fn policy(switches: Switches) -> Policy {
    let mut policy = Policy::default();
    if switches.ask_first {
        policy.error_redirects = ErrorRedirects::AskFirst;
    }
    if switches.dangers {
        let dangers = policy.dangerous();
        dangers.allow_implicit_grant = true;
        dangers.allow_password_grant = true;
        dangers.allow_plain_pkce = true;
        dangers.pkce_optional = true;
        dangers.allow_token_parameters_in_query = true;
        dangers.allow_out_of_band_redirect = true;
    }
    policy
}

/// Returns a builder with the scopes, the user, and reproducible randomness.
pub(crate) fn builder(storage: MemoryStorage, clock: &TestClock) -> Builder {
    let users = TestUsers::default();
    users.add(USER.0, USER.1);
    let builder = AuthorizationServer::builder(ISSUER)
        .storage(storage)
        .authenticator(users)
        .clock(clock.clone())
        .entropy(SeededEntropy::new(7));
    SCOPES.into_iter().fold(builder, |builder, scope| builder.scope(scope, "Something that a user understands"))
}

/// Returns a server without clients.
pub(crate) fn empty() -> AuthorizationServer {
    block_on(builder(MemoryStorage::new(), &TestClock::default()).build()).expect("a valid server")
}

/// The clients, built once.
fn thread_clients() -> Vec<Client> {
    thread_local! {
        static CLIENTS_OF_THREAD: Vec<Client> = CLIENTS.iter().map(Registered::client).collect();
    }
    CLIENTS_OF_THREAD.with(Clone::clone)
}

/// Runs a future that is never pending: the library needs no runtime, and memory storage never waits.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a future is pending, although nothing can wait"),
    }
}
