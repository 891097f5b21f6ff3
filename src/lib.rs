//! An OAuth 2.0 authorization server to build into a web app: the grant logic, without a web framework and without an
//! async runtime.
//!
//! # What it is for
//! * A web app that wants to *be* an OAuth provider for its own API.
//! * An API that needs `/authorize` and `/token` in-process, without running an identity provider beside it.
//! * Tests of grant flows in memory, with a clock and randomness that the test controls.
//!
//! It is not an identity provider: login, consent pages and sessions are the host's.
//!
//! # How a request travels
//! ```text
//! host framework ─► Request ─► params (decoded once, strictly)
//!   /authorize ─► client ─► redirect target (from here on an error may redirect)
//!              ─► ordered checks ─► PendingAuthorization
//!              ─► Interaction ─► the host's login and consent ─► approve | deny ─► Response
//!   /token     ─► client authentication ─► grant handler decides
//!              ─► issue ─► TokenResponse ─► Response
//!   API        ─► bearer check ─► require(scope) ─► Access
//! ```
//! Each arrow is a type: what it leads to can't be had without what it comes from.
//!
//! # The nouns
//! | noun | what it is |
//! |---|---|
//! | [`Client`] | a registered application (RFC 6749 §2) |
//! | [`Grant`] | one act of authorization: who, which client, which scope, until when, revoked or not. Revoking it is one write that ends every token of it |
//! | token | an [`AuthorizationCode`], [`AccessToken`] or [`RefreshToken`]; belongs to one grant; stored only as its SHA-256 |
//! | [`Scope`] | a set of scope tokens (RFC 6749 §3.3) |
//! | [`Policy`] | every switch and lifetime of the server; the default is RFC 9700 and OAuth 2.1 |
//!
//! # A first server
//! A machine asks for a token and uses it. In memory here; the feature `axum` serves the same over HTTP.
//!
//! ```
//! use grantor::{AuthorizationServer, BearerRequest, MemoryStorage, TokenRequest};
//! use grantor::{Client, ClientCredential, ClientRegistry, ClientSecret};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let storage = MemoryStorage::new();
//! let secret = ClientSecret::random()?; // shown once
//! let machine = Client::confidential("machine", ClientCredential::secret(&secret))
//!     .client_credentials()
//!     .own_scope("report:read")
//!     .build()?;
//! storage.register(machine).await?;
//!
//! let oauth = AuthorizationServer::builder("https://id.example.com")
//!     .storage(storage)
//!     .scope("report:read", "Read reports")
//!     .build()
//!     .await?;
//!
//! let request = TokenRequest::client_credentials()
//!     .scope("report:read")
//!     .client_secret_basic("machine", &secret);
//! let tokens = oauth.token_request(&request).await?;
//!
//! let access = oauth.bearer_request(&BearerRequest::of(&tokens.access_token)).await?.require("report:read")?;
//! assert_eq!(access.client_id().as_str(), "machine");
//! assert!(access.subject().is_none(), "a machine is not a user");
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Two forms of each endpoint
//! The HTTP form takes the [`Request`] that your web stack received. The typed form is named after the request that it takes, which you
//! put together yourself, and returns a `Result` of values. The HTTP form reads its request, calls the typed form and renders the result.
//!
//! | endpoint | HTTP form | typed form | typed result |
//! |---|---|---|---|
//! | token | [`token`](AuthorizationServer::token) | [`token_request`](AuthorizationServer::token_request) | [`TokenResponse`] or [`Error`] |
//! | revocation | [`revoke`](AuthorizationServer::revoke) | [`revocation_request`](AuthorizationServer::revocation_request) | `()` or [`Error`] |
//! | introspection | [`introspect`](AuthorizationServer::introspect) | [`introspection_request`](AuthorizationServer::introspection_request) | [`Introspection`] or [`Error`] |
//! | authorization | [`authorize`](AuthorizationServer::authorize) | [`authorization_request`](AuthorizationServer::authorization_request) | [`PendingAuthorization`] or [`AuthorizationError`] |
//! | your API | [`bearer`](AuthorizationServer::bearer) | [`bearer_request`](AuthorizationServer::bearer_request) | [`Bearer`] or [`BearerError`] |
//!
//! The first three HTTP forms return the [`Response`] to send. The last two leave the answer of a good request to you: `authorize` returns
//! an [`AuthorizationOutcome`], because login and consent are yours, and `bearer` a `Result`. Each error of theirs is made into a
//! [`Response`] by `into`; [`AuthorizationServer::refuse`] does that for an [`Error`].
//!
//! # What a host supplies
//! | what | how | without it |
//! |---|---|---|
//! | records | [`Storage`] and [`ClientStore`]; read [the contract](storage) | [`MemoryStorage`] |
//! | credentials, the status of users | [`Authenticator`] | client secrets are compared by digest; there are no users to check |
//! | changes to tokens | [`TokenCustomizer`] | tokens are as the grant handlers decide |
//! | scopes | [`Builder::scope`], each with a description | the server does not build |
//! | pages | login and consent: the host's own; the rest by [`PageTemplates`](authorize::PageTemplates), in the user's [`Languages`] | plain ones |
//! | time, randomness | [`Clock`], [`Entropy`] | the operating system's |
//! | audit | [`Observer`] | events are dropped |
//! | more endpoints | [`Capability`] | the library's own |
//! | more grant types | [`GrantHandler`](grant_type::GrantHandler) | the five of RFC 6749 |
//!
//! Most of these traits are asynchronous: put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`. The
//! documentation of each method shows the signature that you write.
//!
//! # Where to find what
//! | to read about | look at |
//! |---|---|
//! | the authorization endpoint, RFC 6749 §3.1 | [`authorize`], [`AuthorizationServer::interaction`], [`Interaction`], [`PendingAuthorization`] |
//! | the token endpoint, §3.2 | [`AuthorizationServer::token`], [`TokenRequest`], [`TokenResponse`] |
//! | the grants, §4 and §6 | [`grant_type`] |
//! | clients and their authentication, §2 | [`client`] |
//! | errors, §4.1.2.1 and §5.2 | [`error`] |
//! | revocation, introspection, metadata (RFC 7009, 7662, 8414) | [`AuthorizationServer::revoke`], [`introspect`](AuthorizationServer::introspect), [`metadata`](AuthorizationServer::metadata) |
//! | all endpoints as a list, and one call that serves them | [`AuthorizationServer::routes`], [`handle`](AuthorizationServer::handle) |
//! | an endpoint of your own | [`Capability`], [`AuthorizationServer::authenticate_client`], [`bearer`](AuthorizationServer::bearer) |
//! | an API that clients find the server by (RFC 9728) | [`ProtectedResource`], [`AuthorizationServer::resource_metadata`] |
//! | a user's connected applications | [`AuthorizationServer::connections`], [`revoke_grants`](AuthorizationServer::revoke_grants) |
//! | users who are suspended or gone | [`Authenticator::subject_status`] |
//! | refusing, narrowing or adding to tokens | [`customizer`], [`Builder::token_customizer`] |
//! | bearer tokens, RFC 6750 | [`AuthorizationServer::bearer`], [`Bearer`] |
//! | a server for machines only | [`manual::machines`] |
//! | an API in another process, RFC 7662 | [`ResourceServer`], [`manual::separate_api`] |
//! | how to put it into an app | [`manual::with_axum`], [`manual::with_actix_web`], [`manual::with_your_stack`] |
//! | how to test your flows | [`manual::testing`] |
//! | how to come from oxide-auth or oauth-as | [`manual::migrating`] |
//! | which storage to take, and how to write one | [`manual::storage`] |
//! | what a storage must guarantee | [`storage`], [`storage::ephemeral`] |
//! | defaults and dangerous switches, and why | [`Policy`], [`policy::Dangerous`], [`manual::defaults`] |
//! | settings and clients that need attention | [`lint`] |
//! | what to log, purge, rotate and back up | [`manual::operators`] |
//! | attackers, and what stops them | [`manual::threats`] |
//! | what is not here, and what to do instead | [`manual::non_features`] |
//!
//! # Features
//! None is on by default. A feature adds items and never changes what the others do.
//!
//! | feature | adds |
//! |---|---|
//! | `actix-web` | `grantor::actix`: the endpoints as routes of an actix-web app, extractors and responses |
//! | `axum` | `grantor::axum`: the endpoints as a router, extractors and responses; brings `http` |
//! | `http` | conversions of [`Request`] and [`Response`] from and to the types of the crate `http`, for hyper and what is built on it |
//! | `jwt` | `grantor::jose`: keys, signed access tokens and signed introspection responses; see [`manual::signing_keys`] |
//! | `tracing` | `grantor::tracing`: audit events, and a span for each endpoint |
//! | `postgres` | [`storage::PostgresStorage`](storage): clients, grants and tokens in PostgreSQL, for one node or many |
//! | `sqlite` | [`storage::SqliteStorage`](storage): the same in an SQLite file, for one machine |
//! | `testing` | `grantor::testing`: a test server, a clock to move, seeded randomness, a wrapper that fails or changes calls of a storage, and the contract of a storage as a suite |
//!
//! A host that implements a trait or names a time also depends on `async-trait` 0.1 and `time` 0.3, and one that attaches data to
//! grants or members to responses on `serde_json` 1.
//!
//! Rust 1.88 is enough, but for `postgres` and `sqlite`, which need 1.94 because sqlx 0.9 does.
//!
//! # Secrets
//! Tokens, codes, passwords and client secrets are [`Secret`]s: redacted in `Debug`, without `PartialEq`, overwritten when
//! dropped. None is ever part of an error text, an event or a stored record. (Requests overwrite what they hold, too; a
//! decoded form and the bytes of a response pass through ordinary memory.)
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "actix-web")]
#[cfg_attr(docsrs, doc(cfg(feature = "actix-web")))]
pub mod actix;
mod api_context;
mod authenticator;
pub mod authorize;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
mod bearer;
mod build_error;
pub mod capability;
pub mod client;
#[cfg(any(feature = "actix-web", feature = "axum"))]
mod completion;
mod connections;
mod cors;
pub mod customizer;
mod details;
mod env;
pub mod error;
pub mod event;
pub mod grant_type;
mod http;
#[cfg(feature = "http")]
mod http_types;
mod introspect;
mod introspected;
mod issue;
#[cfg(feature = "jwt")]
pub mod jose;
#[cfg(feature = "jwt")]
mod jwks;
#[cfg(feature = "jwt")]
mod jwt_access_token;
mod limiter;
pub mod lint;
mod lookup;
mod mac;
pub mod manual;
mod metadata;
#[cfg(feature = "jwt")]
mod observed_keys;
mod params;
mod pkce;
pub mod policy;
mod protected_resource;
pub mod record;
pub mod resource_server;
mod revoke;
#[cfg(feature = "jwt")]
mod rotating_keys;
mod scope;
pub mod secret;
mod server;
mod server_context;
mod server_key;
mod signed_format;
#[cfg(feature = "jwt")]
mod single_flight;
mod span;
pub mod storage;
mod subject_status;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod text_form;
mod token;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub mod tracing;
mod web_url;

#[doc(inline)]
pub use crate::authenticator::{
    Authenticator, ClientAttempt, ClientSecrets, ResourceOwnerAttempt, SubjectStatus, Verdict,
};
#[doc(inline)]
pub use crate::authorize::{
    Approval, AuthorizationError, AuthorizationOutcome, AuthorizationRequest, AuthorizationResponse, Consent,
    ConsentForm, Interaction, Login, PendingAuthorization, Proceed, SelectAccount, UserSession,
};
#[doc(inline)]
pub use crate::bearer::{Access, Bearer, BearerError, BearerRequest};
#[doc(inline)]
pub use crate::build_error::BuildError;
#[doc(inline)]
pub use crate::capability::Capability;
#[doc(inline)]
pub use crate::client::{Client, ClientCredential, auth::AuthenticatedClient};
#[doc(inline)]
pub use crate::connections::{Connection, Connections};
#[doc(inline)]
pub use crate::customizer::TokenCustomizer;
#[doc(inline)]
pub use crate::env::{Clock, Entropy, SystemClock, SystemEntropy};
#[doc(inline)]
pub use crate::error::{AuthenticatorError, EntropyError, Error, ErrorCode, Refusal, SigningError, StorageError};
#[doc(inline)]
pub use crate::event::{Event, EventKind, Observer};
#[doc(inline)]
pub use crate::http::{Languages, Request, RequestContext, Response, ResponseError};
#[doc(inline)]
pub use crate::introspect::{ActiveToken, Introspection, IntrospectionRequest};
#[cfg(feature = "jwt")]
#[doc(inline)]
pub use crate::jwks::SigningKeys;
#[doc(inline)]
pub use crate::limiter::Limiter;
#[doc(inline)]
pub use crate::metadata::EndpointUrls;
#[doc(inline)]
pub use crate::params::Params;
#[doc(inline)]
pub use crate::pkce::{ChallengeMethod, CodeChallenge};
#[doc(inline)]
pub use crate::policy::Policy;
#[doc(inline)]
pub use crate::protected_resource::ProtectedResource;
#[doc(inline)]
pub use crate::record::{ClientId, Grant, GrantId, GrantType, StoredToken, Subject};
#[doc(inline)]
pub use crate::resource_server::ResourceServer;
#[doc(inline)]
pub use crate::revoke::RevocationRequest;
#[cfg(feature = "jwt")]
#[doc(inline)]
pub use crate::rotating_keys::RotatingKeys;
#[doc(inline)]
pub use crate::scope::{DescribedScope, Scope, ScopeError};
#[doc(inline)]
pub use crate::secret::{AccessToken, AuthorizationCode, ClientSecret, CodeVerifier, Password, RefreshToken, Secret};
#[doc(inline)]
pub use crate::server::{AuthorizationServer, Builder, NeedsStorage, Route, ServedBy};
#[cfg(any(feature = "actix-web", feature = "axum"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "actix-web", feature = "axum"))))]
#[doc(inline)]
pub use crate::server::{BearerCheck, MissingRequire};
#[doc(inline)]
pub use crate::storage::{ClientRegistry, ClientStore, EphemeralStore, MemoryStorage, Storage};
#[doc(inline)]
pub use crate::token::{TokenRequest, TokenResponse};
