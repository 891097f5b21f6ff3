//! [`BuildError`]: the reasons why a server can't be built.

use std::borrow::Cow;

use crate::error::EntropyError;
use crate::policy::PolicyError;
use crate::storage::IssuerError;

/// The reason why a server can't be built. Its text says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The issuer is not a URL that RFC 9207 §2 and RFC 8414 §2 allow.
    #[error(
        "the issuer {0:?} is not valid: use an https URL (or an http URL on the loopback interface) without query and \
         fragment"
    )]
    Issuer(String),
    /// The policy contradicts itself or a specification.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The server has no scope, so no client could get a token.
    #[error("the server offers no scope: declare at least one with scope(token, description)")]
    NoScope,
    /// The declared scope is not one scope token (RFC 6749 §3.3).
    #[error("the scope {0:?} is not valid: declare one scope token of printable ASCII without spaces, '\"' and '\\'")]
    ScopeToken(String),
    /// The same scope was declared twice.
    #[error("the scope {0:?} is declared twice: remove one declaration")]
    RepeatedScope(String),
    /// The default scope is malformed or names a scope that is not declared.
    #[error(
        "the default scope {0:?} is not made of declared scopes: declare them, or remove them from the default scope"
    )]
    DefaultScope(String),
    /// The policy's `self_service_scope` names a scope that is not declared.
    #[error(
        "the policy's self_service_scope {0:?} is not made of declared scopes: declare them, or remove them from it"
    )]
    SelfServiceScope(String),
    /// The policy issues refresh tokens only with the scope `offline_access`, which is not declared.
    #[error(
        "the policy issues refresh tokens only with the scope offline_access, which is not declared: declare it, or \
         change refresh_tokens"
    )]
    OfflineAccess,
    /// The policy allows the password grant, but no authenticator can check a password.
    #[error(
        "the password grant is allowed, but the server has no authenticator: set one, or turn off allow_password_grant"
    )]
    PasswordWithoutAuthenticator,
    /// The policy demands signed request objects, but the server accepts none.
    #[error(
        "the policy demands signed request objects, but the server accepts none: set client_signatures with \
         request_objects, or turn off require_signed_request_object"
    )]
    RequestObjectsNotAccepted,
    /// The grant type of an extension grant is built in or has another handler (RFC 6749 §4.5).
    #[error(
        "the extension grant {0:?} uses a grant type that is taken: name it by an absolute URI that no other grant uses"
    )]
    Extension(String),
    /// The name of a declared parameter is malformed (RFC 6749 §8.2).
    #[error("the parameter name {0:?} is not valid: use letters, digits, '-', '.' and '_'")]
    ParameterName(&'static str),
    /// An authorization parameter is built in, or is declared twice by the host app or a
    /// [capability](crate::capability::Capability).
    #[error("the authorization parameter {0:?} is built in or declared twice: remove the declaration")]
    KnownParameter(&'static str),
    /// The URL of an endpoint is not one that RFC 6749 §3.1 and §3.2 allow, or its path begins with two slashes.
    #[error(
        "the endpoint {0:?} is not valid: use an https URL (or an http URL on the loopback interface) without \
         fragment, whose path does not begin with two slashes"
    )]
    Endpoint(String),
    /// The endpoint prefix is not a plain path, or is below `/.well-known`.
    #[error(
        "the endpoint prefix {0:?} is not valid: use a path such as \"/oauth\", without a slash at its end and not below \
         /.well-known"
    )]
    EndpointPrefix(String),
    /// The query of an endpoint's URL has the name of a request parameter, so every request would be refused.
    #[error("the query of the endpoint {0:?} has the name of a request parameter: rename it in the URL")]
    EndpointQuery(String),
    /// Two endpoints have the same path.
    #[error("the endpoints {} and {} have the same path {path}: give each its own path", endpoints[0], endpoints[1])]
    RepeatedPath {
        /// The path of both endpoints.
        path: String,
        /// The names of the endpoints, see [`Route::endpoint`](crate::Route::endpoint).
        endpoints: [&'static str; 2],
    },
    /// [`Builder::scope_includes`](crate::Builder::scope_includes) names a scope that is not declared.
    #[error("scope_includes names the scope {0:?}, which is not declared: declare it")]
    IncludedScope(String),
    /// By [`Builder::scope_includes`](crate::Builder::scope_includes), a scope includes itself.
    #[error("the scope {0:?} includes itself, directly or through others: remove one of its scope_includes")]
    ScopeCycle(String),
    /// The identifier of the protected resource is not a URL that RFC 9728 §1.2 allows.
    #[error(
        "the resource identifier {0:?} is not valid: use an https URL (or an http URL on the loopback interface) \
         without fragment"
    )]
    Resource(String),
    /// The scope of the protected resource is malformed or names a scope that is not declared.
    #[error(
        "the scope {0:?} of the protected resource is not made of declared scopes: declare them, or remove them from \
         the resource"
    )]
    ResourceScope(String),
    /// Two resources have the same identifier. `https://host` and `https://host/` are the same.
    #[error("the resource {0:?} is declared twice: declare it once")]
    RepeatedResource(String),
    /// A setting of a resource is wrong.
    #[error("the resource {identifier:?} {problem}")]
    ResourceSetting {
        /// The identifier of the resource.
        identifier: String,
        /// The problem, and what to change.
        problem: &'static str,
    },
    /// A metadata member of the host app or of a capability has a name that the server or another capability uses.
    #[error("the metadata member {0:?} is already set by the server or by a capability: remove it or use another name")]
    MetadataMember(String),
    /// A [capability](crate::capability::Capability) was added twice, or its settings do not fit this server.
    #[error("the capability {name}: {problem}")]
    Capability {
        /// The name of the capability.
        name: &'static str,
        /// The problem, and what to change.
        problem: Cow<'static, str>,
    },
    /// A [`ResourceServer`](crate::ResourceServer) can't be built.
    #[error("the resource server {0}")]
    ResourceServer(&'static str),
    /// The policy allows fetches from the loopback interface, but the issuer is not on it. An attacker could then reach
    /// services of the same machine.
    #[error(
        "fetch.allow_loopback_for_development is on, but the issuer is not on the loopback interface: turn it off, or \
         use an issuer such as http://localhost:8080"
    )]
    LoopbackFetches,
    /// A server key is too weak: an attacker could guess the keys that are derived from it.
    #[error("a server key (current or previous) has fewer than 32 bytes or only zeros: use 32 random bytes")]
    ServerKey,
    /// The storage belongs to another issuer, or could not be reached.
    #[error(transparent)]
    Storage(#[from] IssuerError),
    /// The source of randomness failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl BuildError {
    /// Returns an error of a [`Capability`](crate::capability::Capability). `name` is the name of the capability, and
    /// `problem` names the problem and what to change.
    pub fn capability(name: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::Capability { name, problem: problem.into() }
    }
}
