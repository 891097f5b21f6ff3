//! The real server, with clients and a storage that fails on request.

use grantor::client::{ClientCredential, ClientParts};
use grantor::error::Error;
use grantor::policy::{RefreshTokens, Rotation};
use grantor::storage::{GrantSelector, RegistryError};
use grantor::testing::{Fault, Faults, ISSUER, Intercepted, SeededEntropy, TestClock};
use grantor::{
    AccessToken, Approval, AuthorizationCode, AuthorizationRequest, AuthorizationServer, Client, ClientId,
    ClientRegistry, ClientSecret, CodeChallenge, CodeVerifier, GrantId, GrantType, Interaction, IntrospectionRequest,
    Policy, RefreshToken, RevocationRequest, Scope, Storage, Subject, TokenRequest, TokenResponse,
};
use time::{Duration, OffsetDateTime};

use crate::model::FEW;
use crate::observed::Answered;
use crate::operation::{CLIENTS, CONFIDENTIAL, Change, Kind, Operation, Proof, Scopes, Setup, Span, Which};
use crate::planted::{Bug, planted};
use crate::state::{Lifetimes, Name, Time};

/// The client that may introspect every access token.
pub(crate) const API: &str = "api";
const API_SECRET: &str = "the-secret-of-the-api";

/// A token that a client holds.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) text: String,
    pub(crate) client: usize,
    pub(crate) grant: usize,
    /// Whether the token was redeemed for other tokens.
    pub(crate) used: bool,
}

pub(crate) struct Server<S> {
    /// The server for operations.
    pub(crate) tested: AuthorizationServer,
    /// The same server with a storage that never fails, for observations.
    pub(crate) steady: AuthorizationServer,
    pub(crate) storage: S,
    pub(crate) faults: Faults,
    pub(crate) clock: TestClock,
    pub(crate) start: OffsetDateTime,
    /// The secrets of the confidential client, the oldest first.
    secrets: Vec<ClientSecret>,
    setup: Setup,
    entropy: SeededEntropy,
}

/// The client that presents a token, and the token.
pub(crate) struct PresentedToken<'a> {
    pub(crate) name: Name,
    pub(crate) text: &'a str,
    pub(crate) client: usize,
    pub(crate) old_secret: bool,
}

pub(crate) fn client_id(client: usize) -> ClientId {
    ClientId::new(format!("client-{client}")).unwrap()
}

pub(crate) fn subject(subject: usize) -> Subject {
    Subject::new(["alice", "bob"][subject]).unwrap()
}

/// The redirect URI: odd steps use another one than even steps.
fn redirect_uri(of: usize) -> &'static str {
    ["https://app.example/even", "https://app.example/odd"][of % 2]
}

/// The PKCE verifier of a step; all differ.
fn verifier(of: usize) -> CodeVerifier {
    CodeVerifier::new(format!("a-verifier-of-forty-three-characters-for-{of:06}"))
}

fn policy(setup: Setup) -> Policy {
    let (mut policy, lifetimes) = (Policy::default(), Lifetimes::of(0, setup.brief));
    policy.introspect_refresh_tokens = true;
    policy.code_lifetime = Duration::microseconds(lifetimes.code);
    policy.access_token_lifetime = Duration::microseconds(lifetimes.access);
    policy.refresh_token_idle_lifetime = Duration::microseconds(lifetimes.idle);
    policy.refresh_token_absolute_lifetime = Duration::microseconds(lifetimes.absolute);
    policy.refresh_grace = Duration::microseconds(lifetimes.grace.min(lifetimes.access));
    if setup.confidential_keep {
        policy.refresh_token_rotation = Rotation::PublicClients;
    }
    policy.tolerate_repeated_codes = setup.tolerant;
    if setup.few_refreshes {
        policy.refresh_burst = u32::try_from(FEW.0).unwrap();
        policy.refresh_interval = Duration::microseconds(FEW.1);
    }
    if setup.offline_only {
        policy.refresh_tokens = RefreshTokens::OfflineAccess;
    }
    policy
}

impl<S: Storage + ClientRegistry + grantor::EphemeralStore + Clone + 'static> Server<S> {
    /// Builds the servers over an empty storage.
    pub(crate) async fn new(storage: S, setup: Setup, bug: Option<Bug>) -> Self {
        let (clock, faults, entropy) = (TestClock::default(), Faults::default(), SeededEntropy::new(1));
        let start = grantor::Clock::now(&clock);
        let failing = Intercepted::new(storage.clone(), faults.clone());
        let tested = build(planted(failing, bug), setup, clock.clone(), entropy.clone()).await;
        let steady = build(storage.clone(), setup, clock.clone(), SeededEntropy::new(2)).await;
        let api = ClientCredential::secret(&ClientSecret::new(API_SECRET));
        storage.register(Client::confidential(API, api).resource_server().build().unwrap()).await.unwrap();
        let mut server = Self { tested, steady, storage, faults, clock, start, secrets: Vec::new(), setup, entropy };
        for client in 0..CLIENTS {
            server.register(client).await.unwrap();
        }
        server
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        grantor::Clock::now(&self.clock)
    }

    pub(crate) fn since_start(&self, at: OffsetDateTime) -> Time {
        Time::try_from((at - self.start).whole_microseconds()).unwrap()
    }

    async fn register(&mut self, number: usize) -> Result<(), RegistryError> {
        let (id, uris) = (client_id(number), [redirect_uri(0), redirect_uri(1)]);
        let client = if number == CONFIDENTIAL {
            let secret = ClientSecret::generate(&self.entropy).unwrap();
            let client = Client::confidential(id.as_str(), ClientCredential::secret(&secret)).client_credentials();
            let client = client.authorization_code(uris).refresh_token().scope(Scopes::ALL.text()).build().unwrap();
            self.storage.register(client).await?;
            self.secrets = vec![secret];
            return Ok(());
        } else {
            Client::public(id.as_str()).authorization_code(uris).refresh_token().scope(Scopes::ALL.text())
        };
        let grace = Duration::microseconds(Lifetimes::of(number, self.setup.brief).grace);
        self.storage.register(client.lifetimes(|own| own.refresh_grace = Some(grace)).build().unwrap()).await
    }

    /// Runs an operation, and returns the answer.
    pub(crate) async fn perform(
        &mut self,
        step: usize,
        operation: &Operation,
        presented: Option<PresentedToken<'_>>,
        grant: Option<GrantId>,
    ) -> Answered {
        match (operation, presented) {
            (Operation::Approve { client, subject: user, asks, approves }, _) => {
                self.authorize(step, *client, *asks, Some((subject(*user), *approves))).await
            }
            (Operation::Deny { client, asks }, _) => self.authorize(step, *client, *asks, None).await,
            (Operation::ClientCredentials { asks }, _) => {
                let (asks, id) = (asks.text(), client_id(CONFIDENTIAL));
                let request = TokenRequest::client_credentials().scope(&asks);
                let request = request.client_secret_basic(id.as_str(), self.secrets.last().unwrap());
                tokens(self.tested.token_request(&request).await)
            }
            (Operation::Redeem { proof, .. }, Some(presented)) => self.redeem(&presented, *proof).await,
            (Operation::Refresh { asks, .. }, Some(presented)) => self.refresh(&presented, *asks).await,
            (Operation::RevokeToken { .. }, Some(presented)) => self.revoke_token(&presented).await,
            (Operation::RevokeGrants(which), _) => {
                let which = match (*which, grant) {
                    (Which::Grant(_), Some(id)) => GrantSelector::Id(id),
                    (Which::SubjectAndGrant(user, _), Some(id)) => GrantSelector::SubjectAndId(subject(user), id),
                    (Which::Subject(user), _) => GrantSelector::Subject(subject(user)),
                    (Which::Client(client), _) => GrantSelector::Client(client_id(client)),
                    (Which::SubjectAndClient(user, client), _) => {
                        GrantSelector::SubjectAndClient(subject(user), client_id(client))
                    }
                    _ => unreachable!("a single grant that is not there"),
                };
                self.tested.revoke_grants(&which).await.map_or_else(refused, Answered::Count)
            }
            (Operation::Change { client, change }, _) => changed(self.change(*client, *change).await),
            (Operation::Rotate(overlap), _) => changed(self.rotate(*overlap).await),
            (Operation::Wait(Span(time)), _) => {
                self.clock.advance(Duration::microseconds(*time));
                Answered::Done
            }
            (Operation::Purge { limit }, _) => {
                let purged = self.tested.purge(*limit).await;
                purged.map_or_else(refused, |count| Answered::Count(count as u64))
            }
            _ => unreachable!("{operation:?} is about a token"),
        }
    }

    /// Denies the request unless there is an approval.
    async fn authorize(
        &self,
        step: usize,
        client: usize,
        asks: Scopes,
        approval: Option<(Subject, Scopes)>,
    ) -> Answered {
        let (id, asks, challenge) = (client_id(client), asks.text(), CodeChallenge::s256(&verifier(step)));
        let request = AuthorizationRequest::code(id.as_str()).redirect_uri(redirect_uri(step)).scope(&asks);
        let request = request.code_challenge_s256(challenge.as_str());
        let pending = match self.tested.authorization_request(&request).await {
            Ok(pending) => pending,
            Err(error) => return Answered::Refused(on_page(&error.to_response())),
        };
        let response = match approval {
            Some((user, scope)) => match pending.interaction(Some(&user.clone().into())).await {
                Interaction::Consent(consent) => consent.approve(Approval::by(user).scope(scope.names())).await,
                Interaction::Proceed(proceed) => proceed.approve_with(|approval| approval.scope(scope.names())).await,
                Interaction::Respond(response) => return Answered::Refused(on_page(&response)),
                other => unreachable!("no login or account was requested: {other:?}"),
            },
            None => pending.deny(),
        };
        match (response.code(), response.error()) {
            (Some(code), None) => Answered::Code(code.expose().to_owned()),
            (None, Some(error)) => Answered::Refused(error.code().as_str().to_owned()),
            both => unreachable!("{both:?}"),
        }
    }

    /// The secret that a client sends, if it has one.
    fn secret(&self, client: usize, old: bool) -> Option<&ClientSecret> {
        let secrets = Some(&self.secrets).filter(|_| client == CONFIDENTIAL)?;
        if old { secrets.first() } else { secrets.last() }
    }

    async fn redeem(&self, presented: &PresentedToken<'_>, proof: Proof) -> Answered {
        let (code, step) = (AuthorizationCode::new(presented.text), presented.name.0);
        let (its_verifier, other_verifier) = (verifier(step), verifier(step + 1));
        let request = TokenRequest::authorization_code(&code);
        let uri = redirect_uri(step + usize::from(proof == Proof::OtherRedirectUri));
        let request = request.redirect_uri(uri);
        let request = match proof {
            Proof::NoVerifier => request,
            Proof::VerifierOfAnother => request.code_verifier(&other_verifier),
            Proof::Right | Proof::OtherRedirectUri => request.code_verifier(&its_verifier),
        };
        self.token(presented, request).await
    }

    async fn refresh(&self, presented: &PresentedToken<'_>, asks: Option<Scopes>) -> Answered {
        let (token, asks) = (RefreshToken::new(presented.text), asks.map(Scopes::text));
        let request = TokenRequest::refresh_token(&token);
        let request = match &asks {
            Some(asks) => request.scope(asks),
            None => request,
        };
        self.token(presented, request).await
    }

    async fn token(&self, presented: &PresentedToken<'_>, request: TokenRequest<'_>) -> Answered {
        let id = client_id(presented.client);
        let request = match self.secret(presented.client, presented.old_secret) {
            Some(secret) => request.client_secret_basic(id.as_str().to_owned(), secret),
            None => request.parameter("client_id", id.as_str().to_owned()),
        };
        tokens(self.tested.token_request(&request).await)
    }

    async fn revoke_token(&self, presented: &PresentedToken<'_>) -> Answered {
        let (id, access, refresh) =
            (client_id(presented.client), AccessToken::new(presented.text), RefreshToken::new(presented.text));
        let request = match presented.name.1 {
            Kind::Refresh => RevocationRequest::refresh_token(&refresh),
            Kind::Access | Kind::Code => RevocationRequest::access_token(&access),
        };
        let request = match self.secret(presented.client, presented.old_secret) {
            Some(secret) => request.client_secret_basic(id.as_str(), secret),
            None => request.client_id(id.as_str()),
        };
        self.tested.revocation_request(&request).await.map_or_else(refused, |()| Answered::Done)
    }

    async fn change(&mut self, number: usize, change: Change) -> Result<(), RegistryError> {
        match change {
            Change::Register => self.register(number).await,
            Change::Remove => self.storage.remove(&client_id(number), self.now()).await,
            _ => {
                let found = self.storage.find_client(client_id(number).as_str()).await?;
                let found = found.ok_or(RegistryError::Unknown)?;
                let mut parts = found.parts().clone();
                edit(&mut parts, number, change);
                self.storage.update(Client::from_parts(parts)?, found.version()).await
            }
        }
    }

    async fn rotate(&mut self, Span(overlap): Span) -> Result<(), RegistryError> {
        let secret = ClientSecret::generate(&self.entropy).unwrap();
        let (new, end) = (ClientCredential::secret(&secret), self.now() + Duration::microseconds(overlap));
        self.storage.rotate_credential(&client_id(CONFIDENTIAL), new, end).await?;
        self.secrets.push(secret);
        Ok(())
    }

    /// The introspection of an access token by the resource server, or of a refresh token by the confidential client.
    pub(crate) async fn introspect(&self, text: &str, by_owner: bool) -> Result<grantor::Introspection, Error> {
        let (id, api_secret) = (client_id(CONFIDENTIAL), ClientSecret::new(API_SECRET));
        let request = IntrospectionRequest::of(text);
        let request = if by_owner {
            request.client_secret_basic(id.as_str(), self.secrets.last().unwrap())
        } else {
            request.client_secret_basic(API, &api_secret)
        };
        self.steady.introspection_request(&request).await
    }
}

async fn build<S: Storage + grantor::ClientStore + grantor::EphemeralStore + 'static>(
    storage: S,
    setup: Setup,
    clock: TestClock,
    entropy: SeededEntropy,
) -> AuthorizationServer {
    let builder = AuthorizationServer::builder(ISSUER).storage(storage).policy(policy(setup));
    let builder = Scopes::NAMES.iter().fold(builder, |builder, name| builder.scope(*name, "To do something"));
    builder.clock(clock).entropy(entropy).build().await.unwrap()
}

fn edit(parts: &mut ClientParts, number: usize, change: Change) {
    let grant = |name: &str| GrantType::new(name).unwrap();
    match change {
        Change::Scope(scope) => parts.scope = Some(Scope::parse(&scope.text()).unwrap()),
        Change::Grants { code, refresh } => {
            for (name, allowed) in [(GrantType::AUTHORIZATION_CODE, code), (GrantType::REFRESH_TOKEN, refresh)] {
                if allowed {
                    parts.grant_types.insert(grant(name))
                } else {
                    parts.grant_types.remove(name)
                };
            }
        }
        Change::Brief(brief) => {
            let new = Lifetimes::of(number, brief);
            let own = &mut parts.lifetimes;
            own.code = Some(Duration::microseconds(new.code));
            own.access_token = Some(Duration::microseconds(new.access));
            own.refresh_token_idle = Some(Duration::microseconds(new.idle));
            own.refresh_token_absolute = Some(Duration::microseconds(new.absolute));
            own.refresh_grace = Some(Duration::microseconds(new.grace));
        }
        Change::Remove | Change::Register => unreachable!("{change:?} is no edit"),
    }
}

fn tokens(result: Result<TokenResponse, Error>) -> Answered {
    match result {
        Ok(TokenResponse { access_token, refresh_token, scope, expires_in, .. }) => Answered::Tokens {
            access: access_token.expose().to_owned(),
            refresh: refresh_token.map(|token| token.expose().to_owned()),
            scope: Scopes::read(scope.as_str()),
            lasts: Time::try_from(expires_in.whole_microseconds()).unwrap(),
        },
        Err(error) => refused(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the end of an error")]
fn refused(error: Error) -> Answered {
    Answered::Refused(error.code().as_str().to_owned())
}

/// The error that is redirected to the client, or the error of the page.
fn on_page(response: &grantor::Response) -> String {
    let carried = response.header("location").and_then(|location| {
        let location = url::Url::parse(location).unwrap();
        let error = location.query_pairs().find(|(name, _)| name == "error");
        error.map(|(_, code)| code.into_owned())
    });
    carried.unwrap_or_else(|| match response.status() {
        400 => "invalid_client".to_owned(),
        500 => "server_error".to_owned(),
        503 => "temporarily_unavailable".to_owned(),
        status => format!("a page with status {status}"),
    })
}

/// The error code of a request during which the storage failed in this way.
pub(crate) const fn code_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Failed => "server_error",
        _ => "temporarily_unavailable",
    }
}

fn changed(result: Result<(), RegistryError>) -> Answered {
    let word = match result {
        Ok(()) => return Answered::Done,
        Err(RegistryError::Taken) => "taken",
        Err(RegistryError::Unknown) => "unknown",
        Err(error) => unreachable!("{error:?}"),
    };
    Answered::Refused(word.to_owned())
}
