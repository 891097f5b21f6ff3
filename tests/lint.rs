//! Findings about a server and its clients.

use async_trait::async_trait;
use grantor::client::{ClientBuilder, ClientParts, ClientWarning, RegisteredBy};
use grantor::lint::{ClientLint, Lint};
use grantor::policy::{Dangerous, RefreshTokens};
use grantor::storage::{RegistryError, StorageError};
use grantor::testing::{Call, Fault, Faults, Intercepted, Interceptor, Next, Reply, TestServer};
use grantor::{
    Builder, Client, ClientCredential, ClientRegistry, ClientSecret, Clock, GrantType, Policy, ProtectedResource, Scope,
};
use time::Duration;

const CB: [&str; 1] = ["https://app.example/cb"];
/// A switch of the policy.
type Switch = fn(&mut Dangerous) -> &mut bool;

const KEY: [u8; 32] = [7; 32];

/// A server with its own key, a default scope and this policy.
fn server(policy: impl FnOnce(&mut Policy), change: impl FnOnce(Builder) -> Builder) -> TestServer {
    let mut settings = Policy::default();
    policy(&mut settings);
    TestServer::with(|builder| change(builder.server_key(&KEY, &[]).default_scope("user:read").policy(settings)))
}

fn plain() -> TestServer {
    server(|_| (), |builder| builder)
}

fn machine(id: &str) -> ClientBuilder {
    Client::confidential(id, ClientCredential::opaque()).client_credentials()
}

fn app(id: &str) -> ClientBuilder {
    Client::public(id).authorization_code(CB).refresh_token()
}

/// The findings about one client, as an operator reads them.
#[track_caller]
fn assert_found(t: &TestServer, client: &Client, expected: &[(ClientLint, &str)]) {
    let found = t.server.lint_client(client);
    let (findings, texts): (Vec<_>, Vec<_>) = expected.iter().cloned().unzip();
    assert_eq!(found, findings, "{}", client.id());
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), texts);
}

#[tokio::test]
async fn clean_server_has_no_findings() {
    let t = plain();
    t.confidential_client(CB[0]).await;
    t.public_client(CB[0]).await;
    t.native_client("http://127.0.0.1/cb").await;
    for client in [
        machine("machine").own_scope("user:write"),
        machine("all").all_offered_scopes(),
        machine("api").resource_server(),
        machine("trusted").registered_by(RegisteredBy::SelfService).own_scope("user:read"),
    ] {
        t.register(client.build(), None).await;
    }
    assert_eq!(t.server.lint(), []);
    let mut found = Vec::new();
    t.server.lint_clients(&t.storage, |client, finding| found.push((client.id().clone(), finding))).await.unwrap();
    assert_eq!(found, []);
}

#[test]
fn missing_server_key_is_found_if_anything_is_sealed() {
    let t = TestServer::new();
    assert_eq!(t.server.lint(), [Lint::NoServerKey]);
    assert_eq!(
        t.server.lint()[0].to_string(),
        "the server key is missing, so consent forms and logins in progress fail after a restart and between nodes: set \
         server_key to the same secret on every node"
    );
    let machines = TestServer::with(|builder| builder.endpoints(|urls| urls.authorization = None));
    assert_eq!(machines.server.lint(), []);
}

#[test]
fn each_dangerous_switch_is_found() {
    let switches: [(&str, Switch); 6] = [
        ("allow_implicit_grant", |dangers| &mut dangers.allow_implicit_grant),
        ("allow_password_grant", |dangers| &mut dangers.allow_password_grant),
        ("allow_plain_pkce", |dangers| &mut dangers.allow_plain_pkce),
        ("pkce_optional", |dangers| &mut dangers.pkce_optional),
        ("allow_token_parameters_in_query", |dangers| &mut dangers.allow_token_parameters_in_query),
        ("allow_out_of_band_redirect", |dangers| &mut dangers.allow_out_of_band_redirect),
    ];
    for (name, switch) in switches {
        let t = server(|policy| *switch(policy.dangerous()) = true, |builder| builder);
        assert_eq!(t.server.lint(), [Lint::DangerousSwitch(name)]);
        let text = format!("the dangerous switch {name} is on: turn it off when no client needs it any more");
        assert_eq!(t.server.lint()[0].to_string(), text);
    }
}

#[test]
fn scope_that_is_not_offered_is_found_in_each_list() {
    let t = plain();
    let scope = |text| ClientLint::ScopeNotOffered(Scope::parse(text).unwrap());
    let text = "the scope \"admin retired\" is not offered by the server: declare it, or remove it from the client";
    let lists = machine("lists").scope("user:read admin").own_scope("user:read retired").default_scope("admin");
    assert_found(&t, &lists.build().unwrap(), &[(scope("admin retired"), text)]);
    let text = "the scope \"retired\" is not offered by the server: declare it, or remove it from the client";
    let default = app("default").default_scope("retired user:read").build().unwrap();
    assert_found(&t, &default, &[(scope("retired"), text)]);
}

#[test]
fn client_without_any_scope_to_consent_to_is_found() {
    let no_default = TestServer::with(|builder| builder.server_key(&KEY, &[]));
    let text = "users can't consent to any scope for the client: give the client a scope that the server offers";
    let finding = (ClientLint::NoScopeForUsers, text);
    assert_found(&no_default, &app("bare").build().unwrap(), std::slice::from_ref(&finding));
    let self_registered = app("self").all_offered_scopes().registered_by(RegisteredBy::SelfService);
    assert_found(&no_default, &self_registered.build().unwrap(), &[finding]);
    assert_found(&no_default, &app("all").all_offered_scopes().build().unwrap(), &[]);
    assert_found(&plain(), &app("bare").build().unwrap(), &[]);
}

#[test]
fn machine_without_own_scope_is_found() {
    let t = plain();
    let text = "the client can't get any scope without a user: give the client an own_scope that the server offers";
    let self_registered = machine("self").scope("user:read").registered_by(RegisteredBy::SelfService);
    assert_found(&t, &self_registered.build().unwrap(), &[(ClientLint::NoOwnScope, text)]);
    // Without the client credentials grant, the client needs no own scope.
    let client = Client::confidential("app", ClientCredential::opaque()).authorization_code(CB);
    assert_found(&t, &client.registered_by(RegisteredBy::SelfService).build().unwrap(), &[]);
}

#[test]
fn grant_type_that_is_not_served_is_found() {
    const VOUCHER: &str = "urn:example:grant:voucher";
    let not_served = |name: &str| {
        let text =
            format!("the grant type {name} is not supported by the server: turn it on, or remove it from the client");
        (ClientLint::GrantTypeNotServed(GrantType::new(name).unwrap()), text)
    };
    let t = plain();
    for client in [app("implicit").implicit(CB), app("password").password(), app("extension").extension_grant(VOUCHER)]
    {
        let client = client.build().unwrap();
        let name = client
            .grant_types()
            .iter()
            .map(GrantType::as_str)
            .find(|name| ![GrantType::AUTHORIZATION_CODE, GrantType::REFRESH_TOKEN].contains(name));
        let (finding, text) = not_served(name.unwrap());
        assert_found(&t, &client, &[(finding, &text)]);
    }
    let never = server(|policy| policy.refresh_tokens = RefreshTokens::Never, |builder| builder);
    let (finding, text) = not_served(GrantType::REFRESH_TOKEN);
    assert_found(&never, &app("app").build().unwrap(), &[(finding, &text)]);
    // The implicit grant needs the switch and the endpoint.
    let on = server(|policy| policy.dangerous().allow_implicit_grant = true, |builder| builder);
    let implicit = Client::public("spa").implicit(CB).build().unwrap();
    assert_found(&on, &implicit, &[]);
    let machines = server(
        |policy| policy.dangerous().allow_implicit_grant = true,
        |builder| builder.endpoints(|urls| urls.authorization = None),
    );
    let (finding, text) = not_served(GrantType::IMPLICIT);
    assert_found(&machines, &implicit, &[(finding, &text)]);
    let (finding, text) = not_served(GrantType::AUTHORIZATION_CODE);
    let code = Client::public("code").authorization_code(CB).build().unwrap();
    assert_found(&machines, &code, &[(finding, &text)]);
}

#[test]
fn refresh_token_that_is_never_issued_is_found() {
    let t = server(|policy| policy.refresh_tokens = RefreshTokens::OfflineAccess, |builder| builder);
    let text =
        "the client can't get a refresh token without the scope offline_access: add it to the scope of the client";
    let without = app("without").scope("user:read").build().unwrap();
    assert_found(&t, &without, &[(ClientLint::RefreshTokenNeverIssued, text)]);
    assert_found(&t, &app("with").scope("user:read offline_access").build().unwrap(), &[]);
    assert_found(&t, &Client::public("code").authorization_code(CB).build().unwrap(), &[]);
    assert_found(&plain(), &without, &[]);
}

#[test]
fn redirect_uri_that_is_not_allowed_is_found() {
    const OOB: &str = "urn:ietf:wg:oauth:2.0:oob";
    let strict = server(|policy| policy.localhost_redirects = false, |builder| builder);
    let uris = [CB[0], "http://localhost/cb", "http://127.0.0.1/cb", OOB, "cursor://callback"];
    let client = Client::native("cli").authorization_code(uris).undotted_schemes().build().unwrap();
    let finding = |at: usize| ClientLint::RedirectUriNotAllowed(client.redirect_uris()[at].clone());
    let text =
        |uri: &str| format!("the redirect URI {uri} is not allowed by the policy: allow its class, or replace the URI");
    let (localhost, oob, cursor) = (text(uris[1]), text(OOB), text(uris[4]));
    assert_found(&strict, &client, &[(finding(1), &localhost), (finding(3), &oob), (finding(4), &cursor)]);
    let lenient = server(
        |policy| {
            policy.dangerous().allow_out_of_band_redirect = true;
            policy.undotted_schemes.insert("cursor".to_owned());
        },
        |builder| builder,
    );
    assert_found(&lenient, &client, &[]);
}

#[test]
fn client_switch_that_the_policy_forbids_is_found() {
    type Change = fn(ClientBuilder) -> ClientBuilder;
    let switches: [(&'static str, Change, Switch); 3] = [
        ("pkce_optional", ClientBuilder::pkce_optional, |dangers| &mut dangers.pkce_optional),
        ("plain_pkce", ClientBuilder::plain_pkce, |dangers| &mut dangers.allow_plain_pkce),
        ("token_parameters_in_query", ClientBuilder::token_parameters_in_query, |dangers| {
            &mut dangers.allow_token_parameters_in_query
        }),
    ];
    for (name, change, switch) in switches {
        let client = change(machine("legacy")).build().unwrap();
        let text = format!("the switch {name} of the client is not allowed by the policy: allow it, or turn it off");
        assert_found(&plain(), &client, &[(ClientLint::SwitchNotAllowed(name), &text)]);
        assert_found(&server(|policy| *switch(policy.dangerous()) = true, |builder| builder), &client, &[]);
    }
}

#[test]
fn client_with_expired_credentials_is_found() {
    let t = plain();
    let expiring = |after| ClientCredential::opaque().expiring(t.clock.now() + after);
    let client = |first, second| {
        let client = Client::confidential("m", expiring(first)).credential(expiring(second));
        client.client_credentials().build().unwrap()
    };
    let text = "the credentials of the client have all expired: rotate them, or remove the client";
    let expired = client(Duration::ZERO, -Duration::DAY);
    assert_found(&t, &expired, &[(ClientLint::CredentialsExpired, text)]);
    assert_found(&t, &client(Duration::ZERO, Duration::SECOND), &[]);
}

#[test]
fn resource_server_without_introspection_is_found() {
    let t = server(|_| (), |builder| builder.endpoints(|urls| urls.introspection = None));
    let api = Client::confidential("api", ClientCredential::opaque()).resource_server().build().unwrap();
    let text = "the client is a resource server, but the server has no introspection endpoint: set its URL, or turn off \
         resource_server";
    assert_found(&t, &api, &[(ClientLint::IntrospectionNotServed, text)]);
    assert_found(&plain(), &api, &[]);
}

#[test]
fn resource_server_of_no_resource_is_found() {
    let secret = ClientSecret::random().unwrap();
    let api = Client::confidential("api", ClientCredential::secret(&secret)).resource_server().build().unwrap();
    let (one, other) = (ProtectedResource::new("https://a.example"), ProtectedResource::new("https://b.example"));
    let text = "the client is a resource server, but may introspect the tokens of no resource: name it in \
                introspected_by of its resource";
    let finding = [(ClientLint::NoResourceToIntrospect, text)];
    let with = |resources: Vec<ProtectedResource>| {
        server(|_| {}, |builder| resources.into_iter().fold(builder, Builder::resource))
    };
    assert_found(&with(vec![one.clone()]), &api, &[]);
    assert_found(&with(vec![one.clone().introspected_by("other")]), &api, &finding);
    assert_found(&with(vec![one.clone(), other.clone()]), &api, &finding);
    assert_found(&with(vec![one, other.introspected_by("api")]), &api, &[]);
}

#[test]
fn client_of_a_newer_version_is_found() {
    let stored = r#"{"client_id":"newer","client_type":"public","grant_types":["authorization_code"],
        "redirect_uris":["https://app.example/cb"],"dpop_bound":true,"crit":["dpop_bound"]}"#;
    let newer = Client::from_parts(ClientParts::from_stored(stored).unwrap()).unwrap();
    let text = "the member \"dpop_bound\" of the client is not enforced by this version, so the client gets no tokens: upgrade this node";
    assert_found(&plain(), &newer, &[(ClientLint::MemberNotEnforced("dpop_bound".into()), text)]);
}

#[tokio::test]
async fn all_clients_are_linted_page_by_page() {
    let t = plain();
    for number in 0..200 {
        t.register(app(&format!("app-{number:03}")).scope("user:read retired").build(), None).await;
    }
    let pages = Faults::default();
    let registry: &dyn ClientRegistry = &Intercepted::new(t.storage.clone(), pages.clone());
    let mut found = Vec::new();
    t.server.lint_clients(registry, |client, finding| found.push((client.id().to_string(), finding))).await.unwrap();
    let finding = ClientLint::ScopeNotOffered(Scope::parse("retired").unwrap());
    let expected: Vec<_> = (0..200).map(|number| (format!("app-{number:03}"), finding.clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(pages.calls(), 3, "two full pages, and an empty page");
}

/// A registry that returns fewer clients than the page asks for.
struct SmallPages;

#[async_trait]
impl Interceptor for SmallPages {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        match call {
            Call::ListClients { after, limit } => next.run(Call::ListClients { after, limit: limit.min(7) }).await,
            call => next.run(call).await,
        }
    }
}

#[tokio::test]
async fn all_clients_are_linted_with_small_pages() {
    let t = plain();
    for number in 0..20 {
        t.register(app(&format!("app-{number:03}")).scope("user:read retired").build(), None).await;
    }
    let registry = Intercepted::new(t.storage.clone(), SmallPages);
    let mut found = 0;
    t.server.lint_clients(&registry, |_, _| found += 1).await.unwrap();
    assert_eq!(found, 20);
}

#[tokio::test]
async fn lint_of_clients_fails_with_its_registry() {
    let t = plain();
    t.register(app("app").scope("retired").build(), None).await;
    let faults = Faults::default();
    let registry = Intercepted::new(t.storage.clone(), faults.clone());
    faults.fail(1, Fault::Unavailable);
    let result = t.server.lint_clients(&registry, |client, _| panic!("{}", client.id())).await;
    assert!(matches!(&result, Err(RegistryError::Storage(error)) if error.is_unavailable()), "{result:?}");
}

#[test]
fn warnings_of_a_client_are_findings() {
    let client = Client::public("app").authorization_code(["https://app.example/*"]).build().unwrap();
    let warning = ClientWarning::Wildcard(client.redirect_uris()[0].clone());
    let text = warning.to_string();
    assert_found(&plain(), &client, &[(ClientLint::Warning(warning), &text)]);
}

#[test]
#[cfg(feature = "jwt")]
fn client_whose_key_is_not_accepted_is_found() {
    use grantor::ClientSignatures;
    use grantor::client::AuthenticationMethod;
    use grantor::jose::{Algorithm, JwkSet, SigningKey};

    let key = |algorithm| SigningKey::generate(algorithm).unwrap().public_key().clone();
    let jwks = |keys: &[Algorithm]| JwkSet::new(keys.iter().map(|algorithm| key(*algorithm))).unwrap();
    let both = jwks(&[Algorithm::Es256, Algorithm::EdDsa]);
    let by_key = |keys| Client::private_key_jwt("by-key").jwks(keys).client_credentials().scope("user:read");
    let any = by_key(both.clone()).build().unwrap();
    let only = by_key(both).token_endpoint_auth_signing_alg(Algorithm::Es256).build().unwrap();
    let other = by_key(jwks(&[Algorithm::Es384])).build().unwrap();

    let text = "the authentication method private_key_jwt of the client is not accepted by the server: set \
                client_signatures, or register another method";
    let not_served = (ClientLint::AuthenticationMethodNotServed(AuthenticationMethod::PrivateKeyJwt), text);
    for client in [&any, &only, &other] {
        assert_found(&plain(), client, std::slice::from_ref(&not_served));
    }
    let accepting = |algorithms: &[Algorithm]| {
        let signatures = ClientSignatures::new().algorithms(algorithms.iter().copied());
        server(|_| (), |builder| builder.client_signatures(signatures))
    };
    let text = "the client can't authenticate, because the server does not accept the algorithm of its keys or its \
                token_endpoint_auth_signing_alg: accept the algorithm, or change the client";
    let algorithm = [(ClientLint::AuthenticationAlgorithmNotServed, text)];
    for (accepted, of_any, of_only, of_other) in [
        (&Algorithm::ALL[..], &[][..], &[][..], &[][..]),
        (&[Algorithm::Ed25519], &[], &algorithm, &algorithm),
        (&[Algorithm::Es384, Algorithm::Es256], &[], &[], &[]),
        (&[Algorithm::Rs256], &algorithm, &algorithm, &algorithm),
    ] {
        let t = accepting(accepted);
        for (client, expected) in [(&any, of_any), (&only, of_only), (&other, of_other)] {
            assert_found(&t, client, expected);
        }
    }
    // A client that registered one name of Ed25519 may use the other.
    let eddsa = by_key(jwks(&[Algorithm::EdDsa])).token_endpoint_auth_signing_alg(Algorithm::EdDsa).build().unwrap();
    assert_found(&accepting(&[Algorithm::Ed25519]), &eddsa, &[]);
    // The client does not authenticate with its key.
    let app = app("app").jwks(jwks(&[Algorithm::Es384])).build().unwrap();
    assert_found(&accepting(&[Algorithm::Rs256]), &app, &[]);
}

#[cfg(feature = "jwt")]
#[test]
fn client_that_cannot_send_its_request_objects_is_found() {
    use grantor::ClientSignatures;
    use grantor::jose::{Algorithm, JwkSet, SigningKey};

    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let with_keys = |id| app(id).jwks(JwkSet::new([key.public_key().clone()]).unwrap());
    let demands = with_keys("demands").require_signed_request_object().build().unwrap();
    let text = "the client must send signed request objects, but the server accepts none: accept them with \
                client_signatures, or turn off require_signed_request_object";
    let finding = [(ClientLint::RequestObjectsNotAccepted, text)];
    assert_found(&plain(), &demands, &finding);
    let signatures = |t: ClientSignatures| server(|_| (), |builder| builder.client_signatures(t));
    assert_found(&signatures(ClientSignatures::new()), &demands, &finding);

    let accepts = signatures(ClientSignatures::new().request_objects());
    let other = signatures(ClientSignatures::new().algorithms([Algorithm::Rs256]).request_objects());
    let es256 = with_keys("es256").request_object_signing_alg(Algorithm::Es256).build().unwrap();
    assert_found(&accepts, &demands, &[]);
    assert_found(&accepts, &es256, &[]);
    assert_found(&accepts, &with_keys("may-sign").build().unwrap(), &[]);
    let text = "the client can't sign authorization requests, because the server does not accept the algorithm of its \
                keys or its request_object_signing_alg: accept the algorithm, or change the client";
    let finding = [(ClientLint::RequestObjectAlgorithmNotAccepted, text)];
    assert_found(&other, &es256, &finding);
    assert_found(&other, &demands, &finding);
    assert_found(&other, &with_keys("may-sign").build().unwrap(), &[]);

    let demanded = server(
        |policy| policy.require_signed_request_object = true,
        |builder| builder.client_signatures(ClientSignatures::new().request_objects()),
    );
    let text = "the policy demands signed request objects, but the client has no keys: register its public keys";
    let finding = [(ClientLint::NoKeysForRequestObjects, text)];
    assert_found(&demanded, &app("bare").build().unwrap(), &finding);
    assert_found(&demanded, &with_keys("keys").build().unwrap(), &[]);
    assert_found(&demanded, &machine("machine").build().unwrap(), &[]);
}
