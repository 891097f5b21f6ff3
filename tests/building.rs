//! Server settings and client registrations that are refused, and the default settings.

use std::sync::Arc;

use async_trait::async_trait;
use grantor::capability::{BuildView, Capability, Endpoint, ServerView};
use grantor::client::{
    AllowedScope, AuthenticationMethod, ClientError, ClientType, ClientWarning, Lifetimes, RedirectUri,
    RedirectUriError, RegisteredBy,
};
use grantor::error::EntropyError;
use grantor::grant_type::{Decision, GrantContext, GrantHandler};
use grantor::policy::{ErrorRedirects, PolicyError, RefreshTokens, Rotation};
use grantor::secret::SecretDigest;
use grantor::storage::{IssuerError, Storage};
use grantor::testing::{Fault, Faults, Intercepted, RecordingObserver, TestClient, TestServer, TestUsers};
use grantor::{
    AuthorizationServer, BuildError, Builder, Client, ClientCredential, ClientId, ClientRegistry, ClientSecret,
    ClientStore, Clock, Entropy, Error, ErrorCode, GrantType, MemoryStorage, Params, Policy, Refusal, Request,
    Response, Scope, SystemEntropy, TokenRequest,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::Duration;

fn builder(issuer: &str) -> Builder {
    AuthorizationServer::builder(issuer).storage(MemoryStorage::new()).scope("user:read", "Read your profile")
}

/// Builds a server over memory storage, which never waits.
trait Built {
    fn built(self) -> Result<AuthorizationServer, BuildError>;
}

impl Built for Builder {
    fn built(self) -> Result<AuthorizationServer, BuildError> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(self.build())
    }
}

#[tokio::test]
async fn issuer_with_another_issuers_storage_fails_until_rebound() {
    let storage = MemoryStorage::new();
    let at = |issuer: &str| {
        let builder = AuthorizationServer::builder(issuer).storage(storage.clone());
        builder.scope("user:read", "Read your profile").build()
    };
    // A server that fails to build does not claim its storage.
    let misspelt = AuthorizationServer::builder("https://a.example").storage(storage.clone());
    assert!(matches!(misspelt.build().await, Err(BuildError::NoScope)));
    at("https://id.example").await.unwrap();
    at("https://id.example").await.expect("a second node, or the next start");
    let error = at("https://id.example/").await.unwrap_err();
    assert!(matches!(&error, BuildError::Storage(IssuerError::Claimed { owner }) if **owner == *"https://id.example"));
    storage.rebind_issuer("https://id.example", "https://id.example/").await.unwrap();
    at("https://id.example/").await.unwrap();
    assert!(at("https://id.example").await.is_err(), "the storage belongs to the new issuer now");
}

#[tokio::test]
async fn storage_that_fails_builds_no_server() {
    let (memory, faults) = (MemoryStorage::new(), Faults::default());
    let build = || {
        let storage = Intercepted::new(memory.clone(), faults.clone());
        AuthorizationServer::builder("https://id.example")
            .storage(storage)
            .scope("user:read", "Read your profile")
            .build()
    };
    for fault in [Fault::Failed, Fault::Unavailable, Fault::LostAnswer] {
        faults.fail(1, fault);
        let error = build().await.unwrap_err();
        let is_unavailable = fault != Fault::Failed;
        assert!(
            matches!(&error, BuildError::Storage(IssuerError::Storage(error)) if error.is_unavailable() == is_unavailable)
        );
    }
    build().await.expect("the storage is back");
}

/// Returns the error of a server that does not build.
fn refused(builder: Builder) -> String {
    builder.built().map(|_| ()).expect_err("the settings are invalid").to_string()
}

fn build() -> Builder {
    builder("https://id.example")
}

fn with_policy(change: impl FnOnce(&mut Policy)) -> Result<AuthorizationServer, BuildError> {
    let mut policy = Policy::default();
    change(&mut policy);
    build().policy(policy).built()
}

// covers: TL-01 (RFC 6749 §3.1), TL-02 (RFC 6749 §3.2), TL-04 (RFC 6749 §10.8), TL-06 (OAuth 2.1 §1.5), IS-03 (RFC 9207 §2)
#[test]
fn issuer_is_loopback_or_https_and_has_no_query() {
    for good in [
        "https://id.example",
        "https://id.example/",
        "https://id.example:8443/tenants/7",
        "https://192.0.2.1",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
        "http://localhost:3000",
    ] {
        let server = builder(good).built().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(server.issuer(), good, "used unchanged");
    }
    for bad in [
        "",
        "id.example",
        "/",
        "http://id.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://192.0.2.1",
        "http://10.0.0.1",
        "ftp://id.example",
        "urn:id:example",
        "https:id.example",
        "https:/id.example",
        "https:///id.example",
        "https://",
        "https://id.example?tenant=1",
        "https://id.example?",
        "https://id.example#x",
        "https://id.example#",
        "https://user:password@id.example",
        "https://@id.example",
        "http://localhost@id.example",
        "https://id.example/a b",
        "https://id.example/\"",
        "https://id.example/\\",
        "https://id.example/\n",
        "https://id.example\u{e9}",
    ] {
        let error = builder(bad).built().map(|_| ()).expect_err(bad);
        assert!(matches!(&error, BuildError::Issuer(issuer) if issuer == bad), "{bad}: {error}");
        let message = format!(
            "the issuer {bad:?} is not valid: use an https URL (or an http URL on the loopback interface) without \
             query and fragment"
        );
        assert_eq!(error.to_string(), message);
    }
}

// covers: GC-02 (RFC 6749 §4.1.2)
#[test]
fn policy_that_contradicts_itself_builds_no_server() {
    type Change = fn(&mut Policy);
    let cases: [(PolicyError, &str, &[Change]); 8] = [
        (
            PolicyError::LifetimeTooShort,
            "a lifetime of the policy is below one second: set it to one second or more",
            &[
                |it| it.code_lifetime = Duration::ZERO,
                |it| it.code_lifetime = Duration::milliseconds(999),
                |it| it.access_token_lifetime = Duration::ZERO,
                |it| it.access_token_lifetime = Duration::milliseconds(999),
                |it| it.refresh_token_idle_lifetime = -Duration::HOUR,
                |it| it.refresh_token_absolute_lifetime = Duration::ZERO,
                |it| it.consent_lifetime = Duration::ZERO,
            ],
        ),
        (
            PolicyError::CodeLifetimeTooLong,
            "code_lifetime must be at most ten minutes (RFC 6749 section 4.1.2)",
            &[|it| it.code_lifetime = Duration::minutes(10) + Duration::NANOSECOND],
        ),
        (
            PolicyError::IdleExceedsAbsolute,
            "refresh_token_idle_lifetime must be at most refresh_token_absolute_lifetime",
            &[
                |it| it.refresh_token_absolute_lifetime = Duration::days(13),
                |it| it.refresh_token_idle_lifetime = Duration::days(91),
            ],
        ),
        (
            PolicyError::GraceOutOfRange,
            "refresh_grace must be 0 to 60 seconds",
            &[|it| it.refresh_grace = Duration::seconds(61), |it| it.refresh_grace = -Duration::SECOND],
        ),
        (
            PolicyError::GraceExceedsLifetime,
            "refresh_grace must be at most access_token_lifetime and refresh_token_idle_lifetime",
            &[
                |it| it.access_token_lifetime = Duration::seconds(29),
                |it| it.refresh_token_idle_lifetime = Duration::seconds(29),
            ],
        ),
        (
            PolicyError::NoRefreshes,
            "refresh_burst must be at least 1, and refresh_interval must not be negative",
            &[|it| it.refresh_burst = 0, |it| it.refresh_interval = -Duration::NANOSECOND],
        ),
        (
            PolicyError::NoInput,
            "max_body and max_state must be at least 1, and body_deadline must be above zero",
            &[|it| it.max_body = 0, |it| it.max_state = 0, |it| it.body_deadline = Duration::ZERO],
        ),
        (
            PolicyError::NoFetches,
            "fetch allows no fetch: give each of its limits at least 1, a timeout above zero, and at least one port",
            &[
                |it| it.fetch.timeout = Duration::ZERO,
                |it| it.fetch.allowed_ports.clear(),
                |it| it.fetch.max_at_once = 0,
                |it| it.fetch.max_per_minute = 0,
                |it| it.fetch.max_per_host = 0,
                |it| it.fetch.max_per_peer = 0,
            ],
        ),
    ];
    for (expected, message, changes) in cases {
        for change in changes {
            let error = with_policy(change).unwrap_err();
            assert!(matches!(&error, BuildError::Policy(found) if *found == expected), "{error:?}, not {expected:?}");
            assert_eq!(error.to_string(), message);
        }
    }
    // Values at the limits are allowed.
    let at_the_limit: [Change; 7] = [
        |it| it.refresh_burst = 1,
        |it| it.refresh_interval = Duration::ZERO,
        |it| it.code_lifetime = Duration::minutes(10),
        |it| it.refresh_grace = Duration::MINUTE,
        |it| it.refresh_grace = Duration::ZERO,
        |it| it.access_token_lifetime = Duration::seconds(30),
        |it| it.refresh_token_idle_lifetime = it.refresh_token_absolute_lifetime,
    ];
    for change in at_the_limit {
        with_policy(change).unwrap();
    }
}

// covers: GC-02 (RFC 6749 §4.1.2), TF-11 (RFC 6750 §5.3)
#[test]
fn defaults_are_those_of_the_current_best_practice() {
    let policy = Policy::default();
    assert_eq!(policy.code_lifetime, Duration::minutes(1));
    assert_eq!(policy.access_token_lifetime, Duration::hours(1));
    assert_eq!(policy.refresh_token_idle_lifetime, Duration::days(14));
    assert_eq!(policy.refresh_token_absolute_lifetime, Duration::days(90));
    assert_eq!(policy.refresh_grace, Duration::seconds(30));
    assert_eq!(policy.refresh_tokens, RefreshTokens::Always);
    assert_eq!(policy.refresh_token_rotation, Rotation::Always);
    assert_eq!(policy.consent_lifetime, Duration::minutes(30));
    assert_eq!(policy.error_redirects, ErrorRedirects::Registered);
    assert!(!policy.https_redirect_proves_identity && policy.localhost_redirects && !policy.bearer_in_body);
    assert!(policy.undotted_schemes.is_empty());
    assert_eq!((policy.max_state, policy.max_body, policy.body_deadline), (4_096, 65_536, Duration::seconds(10)));
    let dangers = policy.allowed_dangers();
    for (switch, on) in [
        ("implicit", dangers.allow_implicit_grant),
        ("password", dangers.allow_password_grant),
        ("plain", dangers.allow_plain_pkce),
        ("no PKCE", dangers.pkce_optional),
        ("query", dangers.allow_token_parameters_in_query),
        ("out of band", dangers.allow_out_of_band_redirect),
    ] {
        assert!(!on, "{switch} is on");
    }
    assert_eq!(build().built().unwrap().policy().code_lifetime, Duration::minutes(1), "the default");
}

#[test]
fn server_scopes_are_well_formed_and_unique() {
    let without = AuthorizationServer::builder("https://id.example").storage(MemoryStorage::new());
    let error = without.built().unwrap_err();
    assert!(matches!(error, BuildError::NoScope));
    assert_eq!(error.to_string(), "the server offers no scope: declare at least one with scope(token, description)");
    for bad in ["", " ", "a b", "a ", "a\"b", "a\\b", "a\nb", "caf\u{e9}"] {
        let error = build().scope(bad, "x").built().unwrap_err();
        assert!(matches!(&error, BuildError::ScopeToken(token) if token == bad), "{bad:?}: {error}");
        assert_eq!(
            error.to_string(),
            format!(
                "the scope {bad:?} is not valid: declare one scope token of printable ASCII without spaces, '\"' and '\\'"
            )
        );
    }
    let error = build().scope("user:write", "x").scope("user:read", "y").built().unwrap_err();
    assert!(matches!(&error, BuildError::RepeatedScope(token) if token == "user:read"));
    assert_eq!(error.to_string(), "the scope \"user:read\" is declared twice: remove one declaration");
    build().scope("USER:READ", "Case makes a difference").built().unwrap();
}

#[test]
fn scopes_keep_descriptions_and_declared_order() {
    let server = builder("https://id.example").scope("admin", "Do everything").built().unwrap();
    let listed: Vec<_> = server.scopes().map(|scope| (scope.token, scope.description)).collect();
    assert_eq!(listed, [("user:read", "Read your profile"), ("admin", "Do everything")]);
}

#[test]
fn refusal_from_params_converts_to_an_error() {
    fn name(form: &str) -> Result<String, Box<dyn std::error::Error>> {
        Ok(Params::decode(form.as_bytes()).require("name")?.to_owned())
    }
    assert_eq!(name("name=Photos").unwrap(), "Photos");
    let error = name("name=a&name=b").unwrap_err();
    assert_eq!(error.to_string(), "invalid_request: the parameter name occurs more than once");
    assert_eq!(error.to_string(), Error::from(Refusal::RepeatedParameter("name")).to_string());
    assert!(matches!(*error.downcast::<Refusal>().unwrap(), Refusal::RepeatedParameter("name")));
}

#[test]
fn default_scope_must_consist_of_declared_scopes() {
    for bad in ["", "user:write", "user:read user:write", "user:read\t", "user"] {
        let error = build().default_scope(bad).built().unwrap_err();
        assert!(matches!(&error, BuildError::DefaultScope(scope) if scope == bad), "{bad:?}: {error}");
        assert_eq!(
            error.to_string(),
            format!(
                "the default scope {bad:?} is not made of declared scopes: declare them, or remove them from the \
                 default scope"
            )
        );
    }
    build().scope("user:write", "x").default_scope(" user:write  user:read").built().unwrap();
}

#[test]
fn oversized_client_is_not_registered() {
    let many = |number: usize| (0..number).map(|number| format!("https://app.example/{number}")).collect::<Vec<_>>();
    let with = |uris| Client::public("app").authorization_code(uris);
    assert!(with(many(100)).build().is_ok());
    assert_eq!(with(many(101)).build().unwrap_err(), ClientError::TooLarge);
    let scope = |length: usize| with(many(1)).scope("s".repeat(length)).build();
    assert!(scope(4_096).is_ok());
    assert_eq!(scope(4_097).unwrap_err(), ClientError::TooLarge);
    let names = |number| (0..number).map(|number| format!("urn:example:{number}"));
    let granted = |number| names(number).fold(with(many(1)), grantor::client::ClientBuilder::extension_grant).build();
    assert!(granted(31).is_ok());
    assert_eq!(granted(32).unwrap_err(), ClientError::TooLarge);
}

#[test]
fn self_service_scope_must_consist_of_declared_scopes() {
    let mut policy = Policy::default();
    policy.self_service_scope = Some(Scope::parse("user:read user:write").unwrap());
    let error = build().policy(policy.clone()).built().unwrap_err();
    assert!(matches!(&error, BuildError::SelfServiceScope(scope) if scope == "user:read user:write"), "{error}");
    build().policy(policy).scope("user:write", "x").built().unwrap();
}

#[test]
fn scope_and_all_offered_scopes_of_a_client_exclude_each_other() {
    let machine = || Client::confidential("m", ClientCredential::opaque()).client_credentials();
    let both = machine().scope("a").all_offered_scopes();
    assert_eq!(both.build().unwrap_err(), ClientError::ScopeAndAllOffered);
    assert_eq!(machine().own_scope("a\tb").build().unwrap_err(), ClientError::MalformedScope);
    let all = machine().all_offered_scopes().default_scope("a").build().unwrap();
    assert_eq!(all.allowed_scope(), AllowedScope::AllOffered);
    let read: Client = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
    assert_eq!(read.allowed_scope(), AllowedScope::AllOffered);
    // The default scope may name scopes of both lists.
    let beyond = machine().scope("a").own_scope("b").default_scope("a c");
    assert_eq!(beyond.build().unwrap_err(), ClientError::DefaultScopeExceedsScope);
    let apart = machine().scope("a").own_scope("b").default_scope("a b").build().unwrap();
    assert_eq!(apart.own_scope(), Some(&Scope::parse("b").unwrap()));
}

#[test]
fn missing_refresh_token_scope_does_not_build() {
    let mut policy = Policy::default();
    policy.refresh_tokens = RefreshTokens::OfflineAccess;
    let error = build().policy(policy.clone()).built().unwrap_err();
    assert!(matches!(error, BuildError::OfflineAccess));
    assert_eq!(
        error.to_string(),
        "the policy issues refresh tokens only with the scope offline_access, which is not declared: declare it, or \
         change refresh_tokens"
    );
    build().policy(policy).scope("offline_access", "Keep access").built().unwrap();
}

#[test]
fn demanded_request_objects_must_be_accepted() {
    let mut policy = Policy::default();
    policy.require_signed_request_object = true;
    let error = build().policy(policy.clone()).built().unwrap_err();
    assert!(matches!(error, BuildError::RequestObjectsNotAccepted));
    assert_eq!(
        error.to_string(),
        "the policy demands signed request objects, but the server accepts none: set client_signatures with \
         request_objects, or turn off require_signed_request_object"
    );
    #[cfg(feature = "jwt")]
    {
        let with = |signatures| build().policy(policy.clone()).client_signatures(signatures).built();
        let error = with(grantor::ClientSignatures::new()).unwrap_err();
        assert!(matches!(error, BuildError::RequestObjectsNotAccepted));
        with(grantor::ClientSignatures::new().request_objects()).unwrap();
    }
}

#[test]
fn password_grant_needs_an_authenticator() {
    let mut policy = Policy::default();
    policy.dangerous().allow_password_grant = true;
    assert_eq!(
        refused(build().policy(policy.clone())),
        "the password grant is allowed, but the server has no authenticator: set one, or turn off allow_password_grant"
    );
    build().policy(policy).authenticator(TestUsers::default()).built().unwrap();
}

#[tokio::test]
async fn default_authenticator_compares_secret_digests() {
    let [right, wrong] = [(); 2].map(|()| ClientSecret::generate(&SystemEntropy).unwrap());
    let storage = MemoryStorage::new();
    let client = Client::confidential("machine", ClientCredential::secret(&right)).client_credentials();
    storage.register(client.scope("user:read").build().unwrap()).await.unwrap();
    let server = AuthorizationServer::builder("https://id.example.com").storage(storage).scope("user:read", "Read");
    let server = server.build().await.unwrap();
    let asked = |secret| TokenRequest::client_credentials().scope("user:read").client_secret_basic("machine", secret);
    let error = server.token_request(&asked(&wrong)).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (401, ErrorCode::INVALID_CLIENT));
    assert_eq!(server.token_request(&asked(&right)).await.unwrap().scope.as_str(), "user:read");
}

/// A grant handler that only has a name.
struct Named(GrantType, &'static [&'static str]);

impl Named {
    fn new(name: &str) -> Self {
        Self(GrantType::new(name).unwrap(), &[])
    }
}

#[async_trait]
impl GrantHandler for Named {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }
    fn parameters(&self) -> &'static [&'static str] {
        self.1
    }
    async fn decide(&self, _: &GrantContext<'_>) -> Result<Decision, Error> {
        Err(Refusal::UnsupportedGrantType.into())
    }
}

// covers: GX-01 (RFC 6749 §4.5)
#[test]
fn extension_grant_type_is_a_unique_absolute_uri() {
    for name in ["authorization_code", "implicit", "client_credentials", "password", "refresh_token"] {
        let error = build().extension_grant(Named::new(name)).built().unwrap_err();
        assert!(matches!(&error, BuildError::Extension(wrong) if wrong == name), "{name}: {error}");
        assert_eq!(
            error.to_string(),
            format!(
                "the extension grant {name:?} uses a grant type that is taken: name it by an absolute URI that no \
                 other grant uses"
            )
        );
    }
    assert_eq!(
        refused(build().extension_grant(Named::new("urn:example:a")).extension_grant(Named::new("urn:example:a"))),
        "the extension grant \"urn:example:a\" uses a grant type that is taken: name it by an absolute URI that no other grant uses"
    );
    for no_uri in ["", "device", "Password", "/grant", "urn:a b", "caf\u{e9}:x", "urn:caf\u{e9}"] {
        assert!(GrantType::new(no_uri).is_err(), "{no_uri}: not a valid name");
    }
    build()
        .extension_grant(Named::new("urn:example:a"))
        .extension_grant(Named::new("https://example.com/b"))
        .built()
        .unwrap();
}

// covers: GX-02 (RFC 6749 §8.2)
#[test]
fn malformed_parameter_name_of_extension_does_not_build() {
    let name = GrantType::new("urn:example:a").unwrap();
    for (bad, shown) in
        [("", "\"\""), ("a b", "\"a b\""), ("a=b", "\"a=b\""), ("\u{e9}", "\"\u{e9}\""), ("a%20", "\"a%20\"")]
    {
        let parameters: &'static [&'static str] = Box::leak(Box::new(["good", bad]));
        let error = build().extension_grant(Named(name.clone(), parameters)).built().unwrap_err();
        assert!(matches!(error, BuildError::ParameterName(wrong) if wrong == bad), "{bad}");
        assert_eq!(
            error.to_string(),
            format!("the parameter name {shown} is not valid: use letters, digits, '-', '.' and '_'")
        );
    }
    build().extension_grant(Named(name, &["assertion", "x-1", "a.b", "A_b", "grant_type"])).built().unwrap();
}

/// Builds a server with other endpoint URLs.
fn at(
    change: impl FnOnce(&mut grantor::EndpointUrls) + Send + Sync + 'static,
) -> Result<AuthorizationServer, BuildError> {
    build().endpoints(change).built()
}

#[test]
fn two_endpoints_at_one_path_do_not_build() {
    let error = at(|urls| urls.revocation = Some("https://id.example/token?revoke".to_owned())).unwrap_err();
    assert!(matches!(&error, BuildError::RepeatedPath { path, endpoints: ["token", "revoke"] } if path == "/token"));
    assert_eq!(error.to_string(), "the endpoints token and revoke have the same path /token: give each its own path");
    let error = at(|urls| urls.token = "https://id.example/authorize".to_owned()).unwrap_err();
    assert!(matches!(error, BuildError::RepeatedPath { endpoints: ["authorize", "token"], .. }));
    let well_known = "https://id.example/.well-known/oauth-authorization-server";
    let error = at(|urls| urls.introspection = Some(well_known.to_owned())).unwrap_err();
    assert!(matches!(error, BuildError::RepeatedPath { endpoints: ["introspect", "metadata"], .. }));
    assert!(at(|urls| urls.revocation = Some("https://id.example/token/".to_owned())).is_ok());
}

/// A capability that may need another capability or the server key.
#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    url: &'static str,
    member: &'static str,
    needs: &'static str,
    parameters: &'static [&'static str],
}

const PART: Part =
    Part { name: "part", url: "https://id.example/part", member: "part_endpoint", needs: "", parameters: &["part"] };

#[async_trait]
impl Capability for Part {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self, build: &BuildView<'_>) -> Result<(), BuildError> {
        assert_eq!((build.issuer(), build.url("/x")), ("https://id.example", "https://id.example/x".to_owned()));
        assert!(build.scopes().contains("user:read"));
        match self.needs {
            "" => Ok(()),
            "server_key" if build.has_server_key() => Ok(()),
            "server_key" => Err(BuildError::capability(self.name, "it needs a server_key")),
            "max_state" if build.policy().max_state > 100 => Ok(()),
            other if build.has(other) => Ok(()),
            other => Err(BuildError::capability(self.name, format!("it needs {other}"))),
        }
    }

    fn endpoints(&self, _: &BuildView<'_>) -> Vec<Endpoint> {
        vec![Endpoint::new(self.name, self.url)]
    }

    fn metadata(&self, _: &BuildView<'_>) -> serde_json::Map<String, Value> {
        serde_json::Map::from_iter([(self.member.to_owned(), json!(self.url))])
    }

    fn authorization_parameters(&self, _: &BuildView<'_>) -> Vec<&'static str> {
        self.parameters.to_vec()
    }

    async fn respond(&self, _: &str, _: &Request, _: ServerView<'_>) -> Response {
        Response::new(204)
    }
}

const OTHER: Part = Part {
    name: "other",
    url: "https://id.example/other",
    member: "other_endpoint",
    needs: "part",
    parameters: &["other.a", "other.b"],
};

/// A capability whose endpoint has a path under the server's prefix.
struct Beside;

#[async_trait]
impl Capability for Beside {
    fn name(&self) -> &'static str {
        "beside"
    }

    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
        vec![Endpoint::new("beside", build.url("/beside"))]
    }

    async fn respond(&self, _: &str, _: &Request, _: ServerView<'_>) -> Response {
        Response::new(204)
    }
}

#[test]
fn endpoint_prefix_holds_for_capabilities_too() {
    for builder in
        [build().capability(Beside).endpoint_prefix("/oauth"), build().endpoint_prefix("/oauth").capability(Beside)]
    {
        let server = builder.built().unwrap();
        assert_eq!(server.route("/oauth/beside").map(grantor::Route::endpoint), Some("beside"));
        assert!(server.route("/beside").is_none());
    }
}

#[test]
fn capability_checks_itself_in_any_order_of_calls() {
    for builder in [build().capability(PART).capability(OTHER), build().capability(OTHER).capability(PART)] {
        let server = builder.built().unwrap();
        let endpoints: Vec<&str> = server.routes().iter().skip(5).map(grantor::Route::endpoint).collect();
        assert_eq!(endpoints, ["other", "part"]);
    }
    let error = build().capability(OTHER).built().unwrap_err();
    assert!(matches!(&error, BuildError::Capability { name: "other", problem } if problem == "it needs part"));
    assert_eq!(error.to_string(), "the capability other: it needs part");

    let keyed = Part { needs: "server_key", ..PART };
    assert_eq!(refused(build().capability(keyed)), "the capability part: it needs a server_key");
    for builder in
        [build().capability(keyed).server_key(&[1; 32], &[]), build().server_key(&[1; 32], &[]).capability(keyed)]
    {
        builder.built().unwrap();
    }
    let strict = Part { needs: "max_state", ..PART };
    let small = || {
        let mut policy = Policy::default();
        policy.max_state = 100;
        policy
    };
    for builder in [build().capability(strict).policy(small()), build().policy(small()).capability(strict)] {
        assert_eq!(refused(builder), "the capability part: it needs max_state");
    }
    build().capability(strict).built().unwrap();
}

#[test]
fn arc_forwards_every_method_of_a_capability() {
    let shared = |part: Part| Arc::new(part) as Arc<dyn Capability>;
    let server = build().capability(shared(PART)).built().unwrap();
    assert_eq!(server.route("/part").map(grantor::Route::endpoint), Some("part"));
    assert_eq!(server.metadata_document()["part_endpoint"], PART.url);
    let with_parameter = build().capability(shared(PART)).authorization_parameter("part");
    assert!(matches!(with_parameter.built().unwrap_err(), BuildError::KnownParameter("part")));
    assert_eq!(refused(build().capability(shared(OTHER))), "the capability other: it needs part");
}

#[test]
fn capabilities_that_collide_do_not_build() {
    assert_eq!(
        refused(build().capability(PART).capability(PART)),
        "the capability part: it was added twice: add it once"
    );
    for (second, text) in [
        (
            Part { url: PART.url, ..OTHER },
            "the endpoints other and part have the same path /part: give each its own path",
        ),
        (
            Part { url: "https://id.example/token?x", ..OTHER },
            "the endpoints token and other have the same path /token: give each its own path",
        ),
        (
            Part { url: "https://id.example/authorize", ..OTHER },
            "the endpoints authorize and other have the same path /authorize: give each its own path",
        ),
        (
            Part { member: PART.member, ..OTHER },
            "the metadata member \"part_endpoint\" is already set by the server or by a capability: remove it or use another name",
        ),
        (
            Part { member: "issuer", ..OTHER },
            "the metadata member \"issuer\" is already set by the server or by a capability: remove it or use another name",
        ),
        (
            Part { member: "signed_metadata", ..OTHER },
            "the metadata member \"signed_metadata\" is already set by the server or by a capability: remove it or use another name",
        ),
        (
            Part { url: "http://id.example/other", ..OTHER },
            "the endpoint \"http://id.example/other\" is not valid: use an https URL (or an http URL on the loopback \
             interface) without fragment, whose path does not begin with two slashes",
        ),
        (
            Part { parameters: &["x", "part"], ..OTHER },
            "the authorization parameter \"part\" is built in or declared twice: remove the declaration",
        ),
        (
            Part { parameters: &["x", "x"], ..OTHER },
            "the authorization parameter \"x\" is built in or declared twice: remove the declaration",
        ),
        (
            Part { parameters: &["state"], ..OTHER },
            "the authorization parameter \"state\" is built in or declared twice: remove the declaration",
        ),
        (
            Part { parameters: &["return_target"], ..OTHER },
            "the authorization parameter \"return_target\" is built in or declared twice: remove the declaration",
        ),
        (
            Part { parameters: &["a b"], ..OTHER },
            "the parameter name \"a b\" is not valid: use letters, digits, '-', '.' and '_'",
        ),
    ] {
        assert_eq!(refused(build().capability(PART).capability(second)), text);
        assert_eq!(refused(build().capability(second).capability(PART)), text);
    }
    let with_member = build().capability(PART).metadata("part_endpoint", "elsewhere");
    assert!(matches!(with_member.built().unwrap_err(), BuildError::MetadataMember(name) if name == "part_endpoint"));
    for builder in [
        build().capability(PART).authorization_parameter("part"),
        build().authorization_parameter("part").capability(PART),
    ] {
        assert!(matches!(builder.built().unwrap_err(), BuildError::KnownParameter("part")));
    }
}

/// A capability with endpoints of these names and methods.
struct Endpoints(&'static [(&'static str, &'static str)]);

#[async_trait]
impl Capability for Endpoints {
    fn name(&self) -> &'static str {
        "part"
    }

    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
        let at = |at: usize| build.url(&format!("/part/{at}"));
        let endpoints = self.0.iter().enumerate();
        endpoints.map(|(place, (name, methods))| Endpoint::new(name, at(place)).methods(methods)).collect()
    }

    async fn respond(&self, _: &str, _: &Request, _: ServerView<'_>) -> Response {
        Response::new(204)
    }
}

/// The name identifies an endpoint for its capability and for hosts that list the routes.
#[test]
fn endpoint_with_the_name_of_another_does_not_build() {
    let text = |name| {
        format!("the capability part: its endpoint {name} has the name of another endpoint: choose a unique name")
    };
    for name in ["authorize", "token", "revoke", "introspect", "metadata"] {
        let own: &'static [_] = Vec::leak(vec![("own", "GET"), (name, "GET")]);
        assert_eq!(refused(build().capability(Endpoints(own))), text(name));
    }
    assert_eq!(refused(build().capability(Endpoints(&[("own", "GET"), ("own", "POST")]))), text("own"));
    build().capability(Endpoints(&[("own", "GET"), ("resource_metadata", "POST")])).built().unwrap();
}

/// With a malformed list of methods, every request would get 405 and an `Allow` header that looks right.
#[test]
fn malformed_endpoint_methods_do_not_build() {
    for good in ["GET", "GET, POST", "GET, HEAD, M-SEARCH"] {
        build().capability(Endpoints(Vec::leak(vec![("own", good)]))).built().unwrap();
    }
    for bad in ["", "GET,POST", "get", "GET, ", "GET POST", "GET,  POST", "GET\r\nx: y"] {
        let text = "the capability part: the methods of its endpoint own are invalid: use a list like \"GET, POST\"";
        assert_eq!(refused(build().capability(Endpoints(Vec::leak(vec![("own", bad)])))), text, "{bad:?}");
    }
}

#[test]
fn loopback_fetches_need_an_issuer_on_loopback() {
    let mut policy = Policy::default();
    policy.fetch.allow_loopback_for_development = true;
    for (issuer, builds) in [
        ("http://localhost:8080", true),
        ("http://127.0.0.1:8080", true),
        ("https://[::1]", true),
        ("https://id.example.com", false),
        ("https://localhost.example.com", false),
    ] {
        let built = builder(issuer).policy(policy.clone()).built();
        assert_eq!(built.is_ok(), builds, "{issuer}");
        assert!(builds || matches!(built.unwrap_err(), BuildError::LoopbackFetches));
    }
}

#[test]
fn short_or_zero_server_key_does_not_build() {
    let (good, zero) = ([1; 32], [0; 32]);
    for (current, previous) in [
        (&[][..], &[][..]),
        (&good[..31], &[]),
        (&zero, &[]),
        (&[0; 64], &[]),
        (&good, &[&zero[..]][..]),
        (&good, &[&good[..], &good[..31]]),
    ] {
        let error = build().server_key(current, previous).built().unwrap_err();
        assert!(matches!(error, BuildError::ServerKey), "{current:?} {previous:?}");
        let text = "a server key (current or previous) has fewer than 32 bytes or only zeros: use 32 random bytes";
        assert_eq!(error.to_string(), text);
    }
    build().server_key(&good, &[&[2; 100]]).built().unwrap();
}

#[test]
fn random_server_key_of_only_zeros_does_not_build() {
    struct Zeros;
    impl Entropy for Zeros {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Ok(())
        }
    }
    assert!(matches!(build().entropy(Zeros).built().unwrap_err(), BuildError::ServerKey));
}

struct Broken;

impl Entropy for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError::new("no entropy today"))
    }
}

#[test]
fn broken_randomness_does_not_build() {
    for builder in [build().entropy(Broken), build().entropy(Broken).server_key(&[1; 32], &[])] {
        let error = builder.built().unwrap_err();
        assert!(matches!(error, BuildError::Entropy(_)));
        assert_eq!(error.to_string(), "the source of randomness failed");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no entropy today");
    }
    assert!(ClientSecret::generate(&Broken).is_err());
    assert!(ClientId::generate(&Broken).is_err());
}

const CB: [&str; 1] = ["https://app.example/cb"];
const NOWHERE: [&str; 0] = [];

fn secret() -> ClientCredential {
    ClientCredential::secret(&ClientSecret::new("s3cr3t"))
}

// covers: RU-01 (RFC 6749 §3.1.2.2), RU-02, RU-03 (OAuth 2.1 §2.3.1)
#[test]
fn client_with_redirect_grant_needs_a_redirect_uri() {
    for client in [
        Client::public("a").authorization_code(NOWHERE).build(),
        Client::native("a").authorization_code(NOWHERE).build(),
        Client::confidential("a", secret()).authorization_code(NOWHERE).build(),
        Client::public("a").implicit(NOWHERE).build(),
        Client::confidential("a", secret()).implicit(NOWHERE).build(),
        Client::confidential("a", secret()).client_credentials().authorization_code(NOWHERE).build(),
    ] {
        let error = client.unwrap_err();
        assert_eq!(error, ClientError::NoRedirectUri);
        assert_eq!(
            error.to_string(),
            "a client with the authorization code grant or the implicit grant must have a redirect URI: register one"
        );
    }
    Client::confidential("a", secret()).client_credentials().build().unwrap();
}

// covers: RU-03 (OAuth 2.1 §2.3.1), RU-05 (RFC 6749 §3.1.2), RU-06, RU-10 (RFC 9700 §2.6), RU-11, TL-06 (OAuth 2.1 §1.5), B6
#[test]
fn invalid_redirect_uri_is_reported_with_its_reason() {
    for (uri, error, message) in [
        (
            "/cb",
            RedirectUriError::NotAbsolute,
            "a redirect URI must be an absolute URI of at most 2048 bytes, without spaces, non-ASCII characters and \
             broken escapes",
        ),
        ("https://app.example/cb#x", RedirectUriError::Fragment, "a redirect URI must have no fragment"),
        (
            "http://app.example/cb",
            RedirectUriError::PlainHttp,
            "a redirect URI with http must be on 127.0.0.1, [::1] or localhost: use https for other hosts",
        ),
        (
            "javascript:alert(1)",
            RedirectUriError::Scheme,
            "a redirect URI must have the scheme https, or a private-use scheme as in com.example.app:/callback",
        ),
    ] {
        let refused = Client::native("a").authorization_code(["https://app.example/cb", uri]).build().unwrap_err();
        assert_eq!(refused, ClientError::RedirectUri { uri: uri.to_owned(), error });
        assert_eq!(refused.to_string(), format!("the redirect URI {uri:?} is not valid: {message}"));
    }
    let of_length = |length: usize| {
        let uri = format!("https://app.example/{}", "a".repeat(length - "https://app.example/".len()));
        Client::public("a").authorization_code([uri]).build()
    };
    assert!(of_length(2_048).is_ok());
    assert!(matches!(of_length(2_049), Err(ClientError::RedirectUri { error: RedirectUriError::NotAbsolute, .. })));
}

// covers: NA-06 (RFC 8252 §8.4), NA-10 (RFC 8252 §7.2), CA-24 (RFC 6749 §2.1)
#[test]
fn client_type_is_registered_and_never_guessed() {
    // The same https redirect for three client types.
    let types = [
        (Client::public("a").authorization_code(CB).build(), ClientType::Public, "public"),
        (Client::native("a").authorization_code(CB).build(), ClientType::Native, "native"),
        (Client::confidential("a", secret()).authorization_code(CB).build(), ClientType::Confidential, "confidential"),
    ];
    for (client, client_type, name) in types {
        let client = client.unwrap();
        assert_eq!(client.client_type(), client_type);
        assert_eq!(client.is_confidential(), client_type == ClientType::Confidential);
        let mut stored = serde_json::to_value(&client).unwrap();
        assert_eq!(stored["client_type"], name, "the client type is stored");
        stored.as_object_mut().unwrap().remove("client_type");
        assert!(serde_json::from_value::<Client>(stored).is_err(), "a stored client without a type is refused");
    }
    // A redirect URI for native apps does not turn another client into a native one: the registration is refused.
    let errors = [
        (
            "com.example.app:/cb",
            ClientError::NativeRedirectUri as fn(_) -> _,
            "has a private-use scheme, which is for native apps only: use https",
        ),
        (
            "http://localhost/cb",
            ClientError::LocalhostRedirectUri,
            "is on http://localhost, which is for native apps only: use https, or set localhost_for_development \
             during development",
        ),
    ];
    for (uri, expected, text) in errors {
        Client::native("a").authorization_code([uri]).build().unwrap();
        let parsed = RedirectUri::parse(uri).unwrap();
        for client in [
            Client::public("a").authorization_code([uri]).build(),
            Client::confidential("a", secret()).authorization_code([uri]).build(),
        ] {
            let error = client.unwrap_err();
            assert_eq!(error, expected(parsed.clone()));
            assert_eq!(error.to_string(), format!("the redirect URI {uri} {text}"));
        }
    }
}

// covers: NA-07 (RFC 8252 §7.1), B50
#[test]
fn undotted_scheme_needs_native_client_and_switch() {
    let uri = "cursor://callback";
    let parsed = RedirectUri::parse(uri).unwrap();
    let error = Client::native("a").authorization_code([uri]).build().unwrap_err();
    assert_eq!(error, ClientError::UndottedScheme(parsed.clone()));
    assert_eq!(
        error.to_string(),
        "the redirect URI cursor://callback has a private-use scheme without a dot or with two slashes: use a form \
         such as com.example.app:/callback, or set undotted_schemes for the client and list the scheme in the \
         policy's undotted_schemes"
    );
    for client in [Client::public("a"), Client::confidential("a", secret())] {
        let error = client.authorization_code([uri]).undotted_schemes().build().unwrap_err();
        assert_eq!(error, ClientError::NativeRedirectUri(parsed.clone()));
    }
    let client = Client::native("a").authorization_code([uri]).undotted_schemes().build().unwrap();
    assert_eq!(client.redirect_uris(), [parsed]);
}

#[test]
fn client_warnings_list_probable_mistakes() {
    let warnings = |uris: &[&str]| {
        let client = Client::native("a").authorization_code(uris).undotted_schemes().build().unwrap();
        client.warnings().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let fine =
        ["https://app.example/", "https://app.example/cb?x=1", "http://127.0.0.1/", "com.example:/cb", "my://cb"];
    assert_eq!(warnings(&fine), [""; 0]);
    let wildcard =
        "the redirect URI https://app.example/* has a `*`, which is not a wildcard: register each redirect URI"
            .to_owned();
    assert_eq!(warnings(&["https://app.example/cb", "https://app.example/*"]), [wildcard]);
    for (without, with) in [
        ("https://app.example", "https://app.example/"),
        ("https://app.example?x=/", "https://app.example/?x=/"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80/"),
        ("http://localhost", "http://localhost/"),
    ] {
        let text = format!(
            "the redirect URI {without} has no path, and many clients send {with} instead: register the one that the \
             client sends"
        );
        assert_eq!(warnings(&[without]), [text]);
    }
    let uri = RedirectUri::parse("https://app.example?*").unwrap();
    let both = Client::public("a").authorization_code([uri.as_str()]).build().unwrap();
    assert_eq!(both.warnings(), [ClientWarning::Wildcard(uri.clone()), ClientWarning::NoPath(uri)]);
}

#[test]
fn warning_tells_of_credentials_that_need_encoding() {
    for secret in ["a+b", "100%", "a%41", "%"] {
        assert_eq!(ClientSecret::new(secret).warning(), Some(ClientWarning::SecretNeedsEncoding), "{secret}");
    }
    assert_eq!(
        ClientWarning::SecretNeedsEncoding.to_string(),
        "the client secret has a `%` or `+`, which many clients do not encode in Authorization: Basic: use another \
         secret, the method client_secret_post, or the client's switch raw_basic_secret"
    );
    assert_eq!(ClientSecret::random().unwrap().warning(), None);
    assert_eq!(ClientSecret::new("~a:b /=\u{e9}").warning(), None);

    let machine = |id: &str| Client::confidential(id, secret()).client_credentials();
    for id in ["a:b", "a+b", "a%41", "https://app.example"] {
        assert_eq!(machine(id).build().unwrap().warnings(), [ClientWarning::IdNeedsEncoding], "{id}");
        let by_post = machine(id).token_endpoint_auth_method(AuthenticationMethod::ClientSecretPost);
        assert_eq!(by_post.build().unwrap().warnings(), [], "{id}");
        assert_eq!(Client::public(id).authorization_code(CB).build().unwrap().warnings(), [], "{id}");
    }
    assert_eq!(machine("web app/1").build().unwrap().warnings(), []);
}

// covers: RU-11 (RFC 7591 §5), B50
#[test]
fn forbidden_scheme_in_the_policy_does_not_build() {
    let build_with = |name: &str| {
        let mut policy = Policy::default();
        policy.undotted_schemes.insert(name.to_owned());
        build().policy(policy).built()
    };
    let forbidden = [
        "javascript",
        "data",
        "file",
        "http",
        "https",
        "ftp",
        "about",
        "blob",
        "vbscript",
        "ws",
        "wss",
        "filesystem",
        "view-source",
        "mailto",
        "intent",
        "urn",
    ];
    for name in forbidden {
        let error = build_with(name).unwrap_err();
        assert!(matches!(error, BuildError::Policy(PolicyError::ForbiddenScheme(own)) if own == name), "{name}");
        let uri = format!("{name}:/cb");
        let client = Client::native("a").authorization_code([&uri]).undotted_schemes().build();
        assert!(matches!(client, Err(ClientError::RedirectUri { .. })), "{uri}");
    }
    let text = "undotted_schemes has \"file\", which is never allowed in a redirect URI: remove it";
    assert!(build_with("file").unwrap_err().to_string().contains(text));
    for name in ["", "JavaScript", "Cursor", "cursor:", "cursor://", ".com", "1password", "my app", "m\u{e4}"] {
        let error = build_with(name).unwrap_err();
        assert!(matches!(error, BuildError::Policy(PolicyError::MalformedScheme)), "{name}");
    }
    for name in ["cursor", "vscode", "vscode-insiders", "git+x", "x2", "com.example.app"] {
        assert!(build_with(name).is_ok(), "{name}");
    }
}

// covers: NA-09 (RFC 8252 §8.2), GK-01 (RFC 6749 §4.4)
#[test]
fn grant_type_unfit_for_the_client_type_is_refused() {
    let error = Client::native("a").implicit(CB).build().unwrap_err();
    assert_eq!(error, ClientError::ImplicitForNative);
    assert_eq!(error.to_string(), "a native app must not use the implicit grant: use the authorization code grant");
    for machine in [Client::public("a"), Client::native("a")] {
        let error = machine.client_credentials().build().unwrap_err();
        assert_eq!(error, ClientError::ClientCredentialsForPublic);
        assert_eq!(error.to_string(), "the client credentials grant is for confidential clients only");
    }
}

#[test]
fn public_client_cannot_have_confidential_settings() {
    let app = || Client::public("a").authorization_code(CB);
    for (client, error) in [
        (app().credential(secret()), ClientError::PublicWithCredentials),
        (app().token_endpoint_auth_method(AuthenticationMethod::ClientSecretBasic), ClientError::PublicWithCredentials),
        (app().resource_server(), ClientError::PublicResourceServer),
        (app().pkce_optional(), ClientError::PkceOptionalForPublic),
    ] {
        assert_eq!(client.build().unwrap_err(), error);
    }
}

#[test]
fn refresh_grant_needs_a_source_of_refresh_tokens() {
    for client in [
        Client::public("a"),
        Client::public("a").implicit(CB),
        Client::confidential("a", secret()).client_credentials(),
        Client::confidential("a", secret()).resource_server(),
    ] {
        let error = client.refresh_token().build().unwrap_err();
        assert_eq!(error, ClientError::RefreshTokenAlone);
        assert_eq!(
            error.to_string(),
            "the refresh token grant needs another grant type that gives refresh tokens: add authorization_code, \
             password or an extension grant"
        );
    }
    for client in [
        Client::public("a").authorization_code(CB),
        Client::public("a").password(),
        Client::public("a").extension_grant("urn:example:a"),
    ] {
        assert!(client.refresh_token().build().unwrap().allows_grant_type("refresh_token"));
    }
    // A client that loses its other grant types may still refresh the tokens that it has.
    let mut parts = Client::public("a").authorization_code(CB).refresh_token().build().unwrap().into_parts();
    parts.grant_types.remove("authorization_code");
    assert!(Client::from_parts(parts).unwrap().allows_grant_type("refresh_token"));
}

#[test]
fn every_address_of_a_client_is_a_web_url() {
    let app = || Client::public("a").authorization_code(CB);
    for bad in ["", "javascript:alert(1)", "data:image/png;base64,AA==", "https:logo", "https://user@app.example/"] {
        for (client, member) in [
            (app().client_uri(bad), "client_uri"),
            (app().logo_uri(bad), "logo_uri"),
            (app().policy_uri(bad), "policy_uri"),
            (app().tos_uri(bad), "tos_uri"),
        ] {
            let error = client.build().unwrap_err();
            assert_eq!(error, ClientError::WebUri(member), "{bad:?}");
            assert!(error.to_string().starts_with(&format!("{member} must be an http or https URL")), "{error}");
        }
    }
}

#[test]
fn contacts_and_host_data_have_limits() {
    let app = || Client::public("a").authorization_code(CB);
    let full = app().contacts(vec!["\u{e4}".repeat(320); 10]).build().unwrap();
    assert_eq!(full.contacts().len(), 10);
    let bad = [vec!["a"; 11], vec![""], vec![" "], vec!["a@app.example", "a\nb"], vec!["\u{202e}moc"]];
    for contacts in bad {
        let error = app().contacts(contacts.clone()).build().unwrap_err();
        assert_eq!(error, ClientError::Contacts, "{contacts:?}");
    }
    assert_eq!(app().contacts(["a".repeat(321)]).build().unwrap_err(), ClientError::Contacts);

    let nested = |depth: usize| (1..depth).fold(json!([]), |inner, _| json!([inner]));
    for data in [json!("a".repeat(16_382)), json!({ "owner": "ada" }), json!(1.5), json!("\0"), nested(32)] {
        let client = app().host_data(data.clone()).build().unwrap();
        assert_eq!(client.host_data(), &data);
        let stored = serde_json::to_string(&client).unwrap();
        let read: Client = serde_json::from_str(&stored).unwrap();
        assert_eq!((read.host_data(), read.version() == client.version()), (&data, true));
    }
    for data in [json!("a".repeat(16_383)), nested(33)] {
        let error = app().host_data(data).build().unwrap_err();
        assert_eq!(error, ClientError::HostData);
        assert_eq!(error.to_string(), "host_data must have at most 16384 bytes as JSON and be nested at most 32 deep");
    }
    assert_eq!(app().build().unwrap().host_data(), &Value::Null);
}

/// The stored form of a valid client, for adding faults.
fn stored(client: Result<Client, ClientError>) -> Value {
    serde_json::to_value(client.unwrap()).unwrap()
}

fn with(mut stored: Value, member: &str, value: Value) -> Value {
    stored[member] = value;
    stored
}

// covers: CA-17 (RFC 6749 §10.1), CA-18 (RFC 8252 §8.5), B29
#[test]
fn stored_client_is_validated_again_when_read() {
    let public = || stored(Client::public("a").authorization_code(CB).build());
    let native = || stored(Client::native("a").authorization_code(CB).build());
    let confidential = || stored(Client::confidential("a", secret()).client_credentials().build());
    let credentials = confidential()["credentials"].clone();
    let no_credentials = "a public client must have no credentials, no raw_basic_secret and no authentication method other than \"none\": remove them, or make the client confidential";
    let credential = "a confidential client must have at least one credential or the authentication method \"private_key_jwt\", and must not use the authentication method \"none\"";
    for (parts, message) in [
        (with(public(), "credentials", credentials.clone()), no_credentials),
        (with(native(), "credentials", credentials), no_credentials),
        (with(public(), "credentials", json!([{ "type": "opaque", "expires_at": null }])), no_credentials),
        (with(native(), "token_endpoint_auth_method", json!("client_secret_basic")), no_credentials),
        (with(public(), "token_endpoint_auth_method", json!("client_secret_post")), no_credentials),
        (with(confidential(), "credentials", json!([])), credential),
        (with(confidential(), "token_endpoint_auth_method", json!("none")), credential),
        (with(confidential(), "client_type", json!("public")), no_credentials),
        (with(public(), "client_type", json!("confidential")), credential),
        (
            with(public(), "grant_types", json!([])),
            "a client must have at least one grant type, or be a resource server",
        ),
        (
            with(public(), "redirect_uris", json!([])),
            "a client with the authorization code grant or the implicit grant must have a redirect URI: register one",
        ),
        (
            with(public(), "legacy", json!({ "pkce_optional": true })),
            "only a confidential client may omit PKCE: turn off pkce_optional",
        ),
        (
            with(native(), "legacy", json!({ "pkce_optional": true })),
            "only a confidential client may omit PKCE: turn off pkce_optional",
        ),
        (
            with(with(public(), "scope", json!("a b")), "default_scope", json!("a c")),
            "the default scope must contain only scopes from scope and own_scope",
        ),
    ] {
        let error = serde_json::from_value::<Client>(parts.clone()).unwrap_err();
        assert_eq!(error.to_string(), message, "{parts}");
    }
    // Malformed and unsupported members are refused too.
    for (member, value) in [
        ("client_id", json!("")),
        ("client_id", json!("caf\u{e9}")),
        ("client_id", json!("a".repeat(256))),
        ("client_type", json!("web")),
        ("redirect_uris", json!(["https://app.example/cb#x"])),
        ("redirect_uris", json!(["javascript:alert(1)"])),
        ("grant_types", json!(["code"])),
        ("scope", json!("")),
        ("scope", json!("a\tb")),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
        ("credentials", json!([{ "type": "secret", "digest": "c2hvcnQ", "expires_at": null }])),
        ("credentials", json!([{ "type": "jwk" }])),
        ("lifetimes", json!({ "session": null })),
        ("legacy", json!({ "anything_goes": true })),
        ("registered_by", json!("anyone")),
        ("jwks_uri", json!("http://app.example/jwks")),
        ("sector_identifier_uri", json!("https://app.example/sector")),
        ("require_pushed_authorization_requests", json!(true)),
        ("require_signed_request_object", json!(true)),
    ] {
        let parts = with(confidential(), member, value);
        assert!(serde_json::from_value::<Client>(parts.clone()).is_err(), "{parts}");
    }
}

#[test]
fn every_member_of_a_client_survives_serialization() {
    let end = TestServer::new().clock.now();
    let client = Client::confidential("web app", secret())
        .credential(ClientCredential::opaque().expiring(end))
        .token_endpoint_auth_method(AuthenticationMethod::ClientSecretPost)
        .name("Example")
        .client_uri("https://app.example")
        .logo_uri("https://app.example/logo.png")
        .policy_uri("https://app.example/privacy")
        .tos_uri("https://app.example/terms")
        .contacts(["ada@app.example"])
        .host_data(json!({ "owner": "ada" }))
        .registered_by(RegisteredBy::SelfService)
        .authorization_code(["https://app.example/cb?tenant=1", "http://127.0.0.1/cb", "urn:ietf:wg:oauth:2.0:oob"])
        .implicit(CB)
        .refresh_token()
        .password()
        .client_credentials()
        .extension_grant("urn:example:a")
        .scope("b a")
        .default_scope("a")
        .lifetimes(|own| {
            own.code = Some(Duration::seconds(59));
            own.access_token = Some(Duration::minutes(5));
            own.refresh_token_idle = Some(Duration::days(1));
            own.refresh_token_absolute = Some(Duration::days(2));
            own.refresh_grace = Some(Duration::ZERO);
        })
        .omits_redirect_uri()
        .raw_basic_secret()
        .plain_pkce()
        .pkce_optional()
        .token_parameters_in_query()
        .build()
        .unwrap();
    let json = serde_json::to_string(&client).unwrap();
    let read: Client = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    assert_eq!(read.lifetimes(), client.lifetimes());
    // The stored form stays readable for other programs and later versions.
    let stored: Value = serde_json::from_str(&json).unwrap();
    let lifetimes = json!({
        "code": 59, "access_token": 300, "refresh_token_idle": 86_400, "refresh_token_absolute": 172_800, "refresh_grace": 0
    });
    assert_eq!(stored["lifetimes"], lifetimes);
    assert_eq!(stored["credentials"][1], json!({ "type": "opaque", "expires_at": "2026-01-01T00:00:00Z" }));
    assert_eq!(read.redirect_uris(), client.redirect_uris());
    assert_eq!(read.redirect_uris().len(), 4);
    let grant_types: Vec<&str> = read.grant_types().iter().map(GrantType::as_str).collect();
    let registered = "authorization_code client_credentials implicit password refresh_token urn:example:a";
    assert_eq!(grant_types.join(" "), registered);
    assert_eq!(read.credentials().len(), 2);
    assert_eq!(read.credentials()[1].expires_at(), Some(end));
    assert!(!read.allows_authentication_method(AuthenticationMethod::ClientSecretBasic));
    assert_eq!(read.allowed_scope(), AllowedScope::Listed(&Scope::parse("a b").unwrap()));
    assert!(
        read.is_pkce_optional()
            && read.may_use_plain_pkce()
            && read.may_use_query()
            && read.may_omit_redirect_uri()
            && read.may_send_raw_secret()
    );
    assert_eq!(read.response_types().collect::<Vec<_>>(), ["code", "token"]);

    // Each member that is missing from a stored client gets its strictest value.
    let least = json!({ "client_id": "a", "client_type": "public", "grant_types": ["authorization_code"], "redirect_uris": CB });
    let least: Client = serde_json::from_value(least).unwrap();
    assert_eq!(*least.lifetimes(), Lifetimes::default());
    assert!(!least.is_pkce_optional() && !least.may_use_plain_pkce() && !least.may_use_query());
    assert!(
        !least.may_omit_redirect_uri()
            && !least.may_send_raw_secret()
            && least.allowed_scope() == AllowedScope::Default
            && least.own_scope().is_none()
            && least.credentials().is_empty()
    );
    assert!(!least.allows_grant_type("refresh_token"));
}

#[test]
fn texts_of_a_client_have_limits() {
    let public = |id: &str| Client::public(id).authorization_code(CB);
    for id in ["", "a\n", "\u{e9}", &"a".repeat(256)] {
        let error = public(id).build().unwrap_err();
        assert_eq!(error, ClientError::ClientId);
        assert_eq!(error.to_string(), "a client identifier must have 1 to 255 printable ASCII characters");
    }
    let invisible = [
        "\u{200b}",
        "\u{2060}\u{feff}",
        "\u{ad}",
        "\u{3164}",
        "\u{e0041}",
        "a\u{61c}b",
        "a\u{2028}b",
        "a\u{200d}b",
        "a\u{600}b",
        "a\u{13430}b",
    ];
    let others = ["", "  ", "a\nb", "a\0", "\u{202e}elpmaxe", "a\u{2066}b", &"x".repeat(201)];
    for name in invisible.into_iter().chain(others) {
        let error = public("a").name(name).build().unwrap_err();
        assert_eq!(error, ClientError::ClientName, "{name:?}");
        assert_eq!(
            error.to_string(),
            "client_name must have 1 to 200 characters, without control, invisible and text-direction characters"
        );
    }
    for website in [
        "",
        "app.example",
        "javascript:alert(1)",
        "ftp://app.example",
        "https://user@app.example",
        "https:logout",
        "https:/logout",
        "https:\\\\app.example",
        " https://app.example",
        "https://app.example/\n",
        "https://app.example/a b",
        "htt\tps://app.example",
        "https://app.example/\u{202e}gpj.exe",
        "https://app.example/\u{200b}",
        "https://app.example/\u{6dd}",
    ] {
        let error = public("a").client_uri(website).build().unwrap_err();
        assert_eq!(error, ClientError::WebUri("client_uri"), "{website:?}");
        assert_eq!(
            error.to_string(),
            "client_uri must be an http or https URL of at most 2048 bytes, without user name, password, spaces and \
             invisible characters"
        );
    }
    for website in ["http://app.example", "HTTPS://app.example/caf\u{e9}?a=b#c"] {
        let client =
            public("a").client_uri(website).logo_uri(website).policy_uri(website).tos_uri(website).build().unwrap();
        for uri in [client.client_uri(), client.logo_uri(), client.policy_uri(), client.tos_uri()] {
            assert_eq!(uri, Some(website));
        }
    }
    for scope in ["", "  ", "a\tb", "a\""] {
        assert_eq!(public("a").scope(scope).build().unwrap_err(), ClientError::MalformedScope, "{scope:?}");
        assert_eq!(public("a").default_scope(scope).build().unwrap_err(), ClientError::MalformedScope, "{scope:?}");
    }
    assert_eq!(
        ClientError::MalformedScope.to_string(),
        "the scope is malformed: use a list of scope tokens separated by spaces"
    );
    let error = public("a").extension_grant("device").build().unwrap_err();
    assert_eq!(error, ClientError::GrantType);
    assert_eq!(
        error.to_string(),
        "the grant type is not valid: use a built-in grant type, or the absolute URI of an extension grant"
    );
    for name in ["Caf\u{e9} \u{2615}", "\u{65e5}\u{672c}\u{8a9e}", "\u{5e9}\u{5dc}\u{5d5}\u{5dd}", "A & B <C>"] {
        assert_eq!(public("a").name(name).build().unwrap().name(), Some(name));
    }
}

#[test]
fn lifetimes_of_a_client_have_limits() {
    let public = || Client::public("a").authorization_code(CB);
    let changes: [fn(&mut Lifetimes); 10] = [
        |own| own.code = Some(Duration::ZERO),
        |own| own.code = Some(Duration::minutes(11)),
        |own| own.access_token = Some(Duration::milliseconds(999)),
        |own| own.access_token = Some(-Duration::HOUR),
        |own| own.access_token = Some(Duration::milliseconds(1500)),
        |own| own.refresh_grace = Some(Duration::milliseconds(1500)),
        |own| own.refresh_token_idle = Some(Duration::ZERO),
        |own| own.refresh_token_absolute = Some(Duration::ZERO),
        |own| own.refresh_grace = Some(-Duration::SECOND),
        |own| own.refresh_grace = Some(Duration::seconds(61)),
    ];
    let utmost = public().lifetimes(|own| {
        own.code = Some(Duration::minutes(10));
        own.access_token = Some(Duration::SECOND);
        own.refresh_grace = Some(Duration::MINUTE);
    });
    assert_eq!(utmost.build().unwrap().lifetimes().code, Some(Duration::minutes(10)));
    for (number, change) in changes.into_iter().enumerate() {
        let error = public().lifetimes(change).build().unwrap_err();
        assert_eq!(error, ClientError::Lifetime, "{number}");
        assert_eq!(
            error.to_string(),
            "lifetimes must be whole seconds: at least 1, at most 600 for code, and 0 to 60 for refresh_grace"
        );
    }
}

// covers: CU-08 (OAuth 2.1 §2.4), GC-01 (RFC 6749 §4.1.2), GR-16 (RFC 9700 §4.14.2)
#[tokio::test]
async fn client_can_be_given_shorter_lifetimes_than_others() {
    let t = TestServer::new();
    let public = |id: &str| Client::public(id).authorization_code(CB).refresh_token().scope("user:read");
    let short = public("short").lifetimes(|own| {
        own.code = Some(Duration::seconds(10));
        own.access_token = Some(Duration::minutes(5));
        own.refresh_token_idle = Some(Duration::hours(1));
        own.refresh_token_absolute = Some(Duration::hours(3));
        own.refresh_grace = Some(Duration::ZERO);
    });
    let short = t.register(short.build(), None).await;
    let usual = t.register(public("usual").build(), None).await;

    let late = (t.authorize(&short).approve_as("alice").await, t.authorize(&usual).approve_as("alice").await);
    t.clock.advance(Duration::seconds(10));
    assert_eq!(late.0.redeem().await.unwrap_err().refusal(), Some(&Refusal::GrantEnded), "the code has expired");
    let others = late.1.redeem().await.unwrap();
    assert_eq!(others.expires_in, Duration::hours(1));

    let tokens = t.authorize(&short).approve_as("alice").await.redeem().await.unwrap();
    assert_eq!(tokens.expires_in, Duration::minutes(5));
    let first = tokens.refresh_token.unwrap();
    let second = t.refresh(&short, &first).await.unwrap().refresh_token.unwrap();
    assert!(t.refresh(&short, &first).await.is_err(), "the client has no grace window");
    assert_eq!(t.events.count("refresh_token_reused"), 1);
    assert!(t.refresh(&short, &second).await.is_err());

    let idle = t.authorize(&short).approve_as("alice").await.redeem().await.unwrap().refresh_token.unwrap();
    let busy = t.authorize(&short).approve_as("alice").await.redeem().await.unwrap();
    let mut newest = busy.refresh_token.unwrap();
    let mut refreshed = 0;
    loop {
        t.clock.advance(Duration::minutes(59));
        match t.refresh(&short, &newest).await {
            Ok(tokens) => newest = tokens.refresh_token.unwrap(),
            Err(error) => break assert_eq!(error.code(), ErrorCode::INVALID_GRANT),
        }
        refreshed += 1;
    }
    assert_eq!(refreshed, 3, "after three hours the grant ends, even if it is in use");
    assert!(t.refresh(&short, &idle).await.is_err());
    assert!(t.refresh(&usual, &others.refresh_token.unwrap()).await.is_ok(), "other clients are unchanged");
}

#[tokio::test]
async fn every_observer_receives_every_event() {
    let (one, other) = (RecordingObserver::default(), RecordingObserver::default());
    let observers = (one.clone(), other.clone());
    let t = TestServer::with(move |builder| builder.observer(observers));
    assert!(t.server.bearer(&Request::get("/api")).await.is_err());
    assert_eq!((one.names(), other.names()), (vec!["bearer_refused"], vec!["bearer_refused"]));
}

// covers: BC-01 (RFC 9700 §4.15.1), B42
#[test]
fn generated_client_ids_are_random_base64url() {
    let t = TestServer::new();
    let ids: std::collections::BTreeSet<_> =
        (0..1_000).map(|_| ClientId::generate(&t.entropy).unwrap().as_str().to_owned()).collect();
    assert_eq!(ids.len(), 1_000);
    for id in &ids {
        assert_eq!(id.len(), 22, "128 bits in base64url: {id}");
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')), "{id}");
    }
    let registered = Client::public(ids.first().unwrap()).authorization_code(CB).build().unwrap();
    assert_eq!(registered.id().as_str(), ids.first().unwrap());
}

/// Registers a machine with this secret.
async fn machine(t: &TestServer, client: Client, secret: &ClientSecret) -> TestClient {
    t.register(Ok(client), Some(ClientSecret::new(secret.expose()))).await
}

async fn authenticates(t: &TestServer, id: &str, secret: &ClientSecret) -> bool {
    let request = TokenRequest::client_credentials().scope("user:read");
    let basic = t.token_request(&request.client_secret_basic(id, secret)).await;
    let request = TokenRequest::client_credentials().scope("user:read");
    let post = t.token_request(&request.client_secret_post(id, secret)).await;
    for result in [&basic, &post] {
        let refused = result.as_ref().err().map(|error| (error.code(), error.refusal().copied()));
        let expected = Some((ErrorCode::INVALID_CLIENT, Some(Refusal::ClientAuthenticationFailed)));
        assert!(refused.is_none() || refused == expected, "{refused:?}");
    }
    assert_eq!(basic.is_ok(), post.is_ok());
    basic.is_ok()
}

// covers: CA-27 (RFC 7591 §3.2.1)
#[tokio::test]
async fn secret_authenticates_until_it_expires() {
    let t = TestServer::new();
    let (expiring, lasting) = (ClientSecret::new("expiring"), ClientSecret::new("lasting"));
    let end = t.clock.now() + Duration::hours(1);
    let client = Client::confidential("machine", ClientCredential::secret(&expiring).expiring(end))
        .client_credentials()
        .scope("user:read");
    machine(&t, client.build().unwrap(), &expiring).await;
    t.clock.advance(Duration::hours(1) - Duration::MICROSECOND);
    assert!(authenticates(&t, "machine", &expiring).await);
    t.clock.advance(Duration::MICROSECOND);
    assert!(!authenticates(&t, "machine", &expiring).await);
    assert!(!authenticates(&t, "machine", &lasting).await);
    // The expired credential is kept, but never authenticates, even if the client also has a live credential.
    t.storage
        .rotate_credential(&ClientId::new("machine").unwrap(), ClientCredential::secret(&lasting), t.clock.now())
        .await
        .unwrap();
    assert!(authenticates(&t, "machine", &lasting).await);
    assert!(!authenticates(&t, "machine", &expiring).await);
}

// covers: CA-27 (RFC 7591 §3.2.1)
#[tokio::test]
async fn rotated_secret_overlaps_with_the_old_one() {
    let t = TestServer::new();
    let (old, new) = (ClientSecret::generate(&t.entropy).unwrap(), ClientSecret::generate(&t.entropy).unwrap());
    let client = Client::confidential("machine", ClientCredential::secret(&old)).client_credentials();
    machine(&t, client.scope("user:read").build().unwrap(), &old).await;
    assert!(authenticates(&t, "machine", &old).await && !authenticates(&t, "machine", &new).await);

    let id = ClientId::new("machine").unwrap();
    let overlap = t.clock.now() + Duration::days(1);
    t.storage.rotate_credential(&id, ClientCredential::secret(&new), overlap).await.unwrap();
    assert!(authenticates(&t, "machine", &old).await && authenticates(&t, "machine", &new).await);
    t.clock.advance(Duration::days(1) - Duration::MICROSECOND);
    assert!(authenticates(&t, "machine", &old).await && authenticates(&t, "machine", &new).await);
    t.clock.advance(Duration::MICROSECOND);
    assert!(!authenticates(&t, "machine", &old).await && authenticates(&t, "machine", &new).await);
}

#[tokio::test]
async fn secret_registered_twice_still_authenticates() {
    let t = TestServer::new();
    let secret = ClientSecret::generate(&t.entropy).unwrap();
    let client = Client::confidential("machine", ClientCredential::secret(&secret)).client_credentials();
    let client = client.credential(ClientCredential::secret(&secret)).scope("user:read");
    machine(&t, client.build().unwrap(), &secret).await;
    assert!(authenticates(&t, "machine", &secret).await);
}

// covers: CA-28 (RFC 6819 §5.1.4.1.3)
#[tokio::test]
async fn only_the_digest_of_a_secret_is_kept() {
    let t = TestServer::new();
    let secret = ClientSecret::generate(&t.entropy).unwrap();
    let client = Client::confidential("machine", ClientCredential::secret(&secret)).client_credentials();
    t.storage.register(client.build().unwrap()).await.unwrap();
    let kept: Arc<Client> = t.storage.find_client("machine").await.unwrap().unwrap();
    let json = serde_json::to_value(&*kept).unwrap();
    assert!(!json.to_string().contains(secret.expose()), "{json}");
    let digest: SecretDigest = serde_json::from_value(json["credentials"][0]["digest"].clone()).unwrap();
    assert_eq!(digest.as_bytes()[..], Sha256::digest(secret.expose())[..]);
    assert!(digest.matches(&secret));
    assert!(!digest.matches(&ClientSecret::generate(&t.entropy).unwrap()));
    let members: Vec<_> = json["credentials"][0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["digest", "expires_at", "generated", "type"]);
}

// covers: CA-21 (RFC 9700 §2.5)
#[test]
fn client_type_determines_its_authentication_methods() {
    // A confidential client can't be made without a credential, and none of its methods is `none`.
    let client = Client::confidential("a", secret()).client_credentials().build().unwrap();
    assert!(client.allows_authentication_method(AuthenticationMethod::ClientSecretBasic));
    assert!(client.allows_authentication_method(AuthenticationMethod::ClientSecretPost));
    assert!(!client.allows_authentication_method(AuthenticationMethod::None));
    for public in
        [Client::public("a").authorization_code(CB).build(), Client::native("a").authorization_code(CB).build()]
    {
        let public = public.unwrap();
        assert!(public.allows_authentication_method(AuthenticationMethod::None));
        assert!(!public.allows_authentication_method(AuthenticationMethod::ClientSecretBasic));
        assert!(!public.allows_authentication_method(AuthenticationMethod::ClientSecretPost));
    }
}

#[tokio::test]
async fn scope_hierarchy_names_declared_scopes_without_cycle() {
    let build = |pairs: &[(&str, &str)]| {
        let builder = AuthorizationServer::builder("https://id.example")
            .storage(MemoryStorage::new())
            .scope("a", "A")
            .scope("b", "B");
        pairs.iter().fold(builder, |builder, (broader, narrower)| builder.scope_includes(*broader, *narrower)).build()
    };
    assert!(build(&[("a", "b"), ("a", "b")]).await.is_ok());
    for unknown in ["c", "", "a b", "\""] {
        for pair in [("a", unknown), (unknown, "a")] {
            let error = build(&[pair]).await.unwrap_err();
            assert!(matches!(&error, BuildError::IncludedScope(own) if own == unknown), "{pair:?} {error}");
        }
    }
    for cycle in [&[("a", "a")][..], &[("a", "b"), ("b", "a")]] {
        assert!(matches!(build(cycle).await, Err(BuildError::ScopeCycle(_))), "{cycle:?}");
    }
}
