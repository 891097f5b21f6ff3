//! [`BuildError`]: why a server can't be built.

use std::borrow::Cow;

use crate::error::EntropyError;
use crate::policy::PolicyError;
use crate::storage::IssuerError;

/// The reason why a server can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// RFC 9207 §2, RFC 8414 §2.
    #[error(
        "the issuer {0:?} is not an https URL (or an http URL on the loopback interface) without query and fragment"
    )]
    Issuer(String),
    /// The policy contradicts itself or a specification.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// No client could ever get a token.
    #[error("the server offers no scope: declare at least one with scope(token, description)")]
    NoScope,
    /// RFC 6749 §3.3.
    #[error("{0:?} is not one scope token")]
    ScopeToken(String),
    /// The same scope was declared twice.
    #[error("the scope {0:?} is declared twice")]
    RepeatedScope(String),
    /// The default scope is malformed or not among the declared ones.
    #[error("the default scope {0:?} is not made of declared scopes")]
    DefaultScope(String),
    /// No client could ever have it.
    #[error("self_service_scope {0:?} of the policy is not made of declared scopes: declare them, or take them out")]
    SelfServiceScope(String),
    /// Refresh tokens would never be issued.
    #[error("refresh tokens depend on the scope offline_access, which is not declared")]
    OfflineAccess,
    /// No authenticator can check a password.
    #[error("the password grant is allowed, but no authenticator was given")]
    PasswordWithoutAuthenticator,
    /// RFC 6749 §4.5.
    #[error("an extension grant is named by an absolute URI of its own: {0:?}")]
    Extension(String),
    /// RFC 6749 §8.2.
    #[error("{0:?} is not the name of a parameter")]
    ParameterName(&'static str),
    /// The library, or another declaration, reads the same parameter: one of the application or of a
    /// [capability](crate::capability::Capability).
    #[error("the authorization parameter {0:?} is known already")]
    KnownParameter(&'static str),
    /// RFC 6749 §3.1, §3.2.
    #[error(
        "the endpoint {0:?} is not an https URL (or an http URL on the loopback interface) without fragment, or its path \
         begins with two slashes"
    )]
    Endpoint(String),
    /// Its endpoints would not be found, or be mixed with the well-known documents.
    #[error(
        "the endpoint prefix {0:?} is not a path such as \"/oauth\", without a slash at its end and not below /.well-known"
    )]
    EndpointPrefix(String),
    /// Every request would be refused for it.
    #[error("the query of the endpoint {0:?} uses the name of a parameter of its requests")]
    EndpointQuery(String),
    /// A request could not tell which of the two it is for.
    #[error("the endpoints {} and {} have the same path {path}", endpoints[0], endpoints[1])]
    RepeatedPath {
        /// The path of both.
        path: String,
        /// Their names, see [`Route::endpoint`](crate::Route::endpoint).
        endpoints: [&'static str; 2],
    },
    /// RFC 9728 §1.2.
    #[error(
        "the resource identifier {0:?} is not an https URL (or an http URL on the loopback interface) without fragment"
    )]
    Resource(String),
    /// No token could ever have it.
    #[error("the scope {0:?} of the protected resource is not made of declared scopes")]
    ResourceScope(String),
    /// The server says by itself what it does.
    #[error("the metadata member {0:?} is determined by the server")]
    MetadataMember(String),
    /// A [capability](crate::capability::Capability) was given twice, or its settings make no sense on this server.
    #[error("the capability {name}: {problem}")]
    Capability {
        /// The name of the capability.
        name: &'static str,
        /// What is wrong, and what to do.
        problem: Cow<'static, str>,
    },
    /// A [`ResourceServer`](crate::ResourceServer) can't be built.
    #[error("the resource server {0}")]
    ResourceServer(&'static str),
    /// An attacker could guess the keys that are derived from it.
    #[error("a server key, current or previous, has fewer than 32 bytes or only zeros: give 32 random bytes")]
    ServerKey,
    /// The storage belongs to another issuer, or could not be reached.
    #[error(transparent)]
    Storage(#[from] IssuerError),
    /// The source of randomness does not work.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl BuildError {
    /// An error of a [`Capability`](crate::capability::Capability) with its name: what is wrong, and what to do.
    pub fn capability(name: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::Capability { name, problem: problem.into() }
    }
}
