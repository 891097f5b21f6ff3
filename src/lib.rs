//! An OAuth 2.0 authorization server as a library. Your users log in at your app and let other applications use your
//! API in their name. You keep your web framework, users, sessions and pages.
//!
//! The library needs no web framework and no async runtime. It has adapters for axum 0.8 and actix-web 4, and storages
//! for PostgreSQL, SQLite and memory. An application learns who the user is from your API, such as `/me` below. OpenID
//! Connect is [not included yet](manual::non_features). This is version 0.1, so the API may still change.
//!
//! # Login, consent and code exchange with axum
//! `your_app` stands for your own sessions and pages. `form_secret` is a random value of the session. `user` looks the
//! session up when it is called, so call it after the body was read. [The manual](manual::with_axum) has a complete
//! program to paste.
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # mod example {
//! # mod your_app {
//! #     use axum::extract::FromRequestParts;
//! #     use axum::http::request::Parts;
//! #     use axum::response::Response;
//! #     pub struct Session;
//! #     impl Session {
//! #         pub fn user(&self) -> Option<&grantor::UserSession> { None }
//! #         pub fn form_secret(&self) -> &[u8] { b"random" }
//! #     }
//! #     impl<S: Send + Sync> FromRequestParts<S> for Session {
//! #         type Rejection = std::convert::Infallible;
//! #         async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Self::Rejection> { Ok(Self) }
//! #     }
//! #     pub fn login_page(_return_target: &str) -> Response { Response::default() }
//! #     pub fn consent_page(_: &grantor::Consent, _form_token: &str) -> Response { Response::default() }
//! # }
//! use axum::Router;
//! use axum::extract::State;
//! use axum::response::{IntoResponse, Response};
//! use axum::routing::{any, get, post};
//! use grantor::axum::{require, routes, run_to_completion};
//! use grantor::{Access, Approval, AuthorizationServer, BearerError, Interaction, Request};
//! use grantor::{Client, ClientRegistry, MemoryStorage};
//!
//! use your_app::{Session, consent_page, login_page};
//!
//! pub async fn app(storage: MemoryStorage) -> Result<Router, Box<dyn std::error::Error>> {
//!     let client = Client::native("demo")
//!         .authorization_code(["http://127.0.0.1/callback"])
//!         .scope("user:read user:write");
//!     storage.register(client.build()?).await?;
//!     // The issuer: your public address.
//!     let oauth = AuthorizationServer::builder("https://id.example.com")
//!         .storage(storage) // or SqliteStorage, PostgresStorage, your own
//!         .scope("user:read", "Read your profile")
//!         .scope("user:write", "Change your profile")
//!         .build()
//!         .await?;
//!     Ok(Router::new()
//!         .route("/authorize", any(authorize))
//!         .route("/consent", post(decide))
//!         .route("/me", get(me).layer(require(&oauth, ["user:read"])))
//!         .merge(routes(&oauth)) // token, revocation, introspection, metadata
//!         .with_state(oauth))
//! }
//!
//! async fn authorize(
//!     State(oauth): State<AuthorizationServer>,
//!     session: Session,
//!     request: Request,
//! ) -> Response {
//!     match oauth.interaction(&request, session.user()).await {
//!         // The browser must return to this address.
//!         Interaction::Login(login) => login_page(&login.return_target()),
//!         Interaction::SelectAccount(accounts) => login_page(&accounts.return_target()),
//!         Interaction::Consent(consent) => {
//!             consent_page(&consent, &consent.form_token(session.form_secret()))
//!         }
//!         Interaction::Proceed(proceed) => {
//!             run_to_completion(proceed.approve()).await.into_response()
//!         }
//!         // An error, for the browser or for the client.
//!         Interaction::Respond(response) => response.into_response(),
//!     }
//! }
//!
//! async fn decide(
//!     State(oauth): State<AuthorizationServer>,
//!     session: Session,
//!     request: Request,
//! ) -> Response {
//!     match (oauth.resume_form(&request, session.form_secret()).await, session.user()) {
//!         // A page: the form is forged, changed or too old.
//!         (Err(error), _) => error.into_response(),
//!         (Ok((consent, form)), Some(user)) if form.approved => {
//!             run_to_completion(consent.approve(Approval::by(user).scope(form.scope)))
//!                 .await
//!                 .into_response()
//!         }
//!         (Ok((consent, _)), _) => run_to_completion(consent.deny()).await.into_response(),
//!     }
//! }
//!
//! async fn me(access: Access) -> Result<String, BearerError> {
//!     Ok(format!("You are {}.", access.user()?)) // a token without a user gets 403
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! A client sends the browser to `/authorize`. The browser returns to the client with a code. The client then redeems
//! the code at `/token`, one of the `routes`: it exchanges the code for an access token and a refresh token.
//!
//! # Examples
//! These files are in the repository and in the package of the crate.
//!
//! | example | shows |
//! |---|---|
//! | `examples/axum.rs`, `examples/actix.rs` | a provider in 120 lines, with login and consent |
//! | `examples/server` | a complete provider: registration, connected applications, a protected API and a client |
//! | `examples/separate_api.rs` | an API in another process |
//! | `examples/custom_http.rs` | a server on plain hyper |
//! | `examples/custom_storage.rs` | your own storage |
//!
//! # The manual
//! [`manual`] begins with tasks: [offer login with your axum app](manual::with_axum), [do the same
//! with another framework](manual::with_your_stack), [protect an API](manual::separate_api), [test your
//! flows](manual::testing), [choose a storage](manual::storage), [run it in production](manual::operators). Reference
//! pages follow: [defaults](manual::defaults), [threats](manual::threats), [what is missing](manual::non_features).
//!
//! # Items by task
//! ## Build a server
//! | item | purpose |
//! |---|---|
//! | [`AuthorizationServer`] | The server. Cheap to clone; all its endpoints are methods. |
//! | [`Builder`] | Sets storage, scopes, authenticator, keys and more, and checks the settings. |
//! | [`Policy`] | Every switch and lifetime, with safe defaults. [`policy::Dangerous`] has the unsafe switches. |
//! | [`Client`], [`ClientCredential`] | A registered application and its secrets (RFC 6749 §2). See [`client`]. |
//! | [`lint`] | Finds settings and clients that need attention. |
//!
//! ## Serve the authorization endpoint
//! RFC 6749 §3.1; see [`authorize`].
//!
//! | item | purpose |
//! |---|---|
//! | [`AuthorizationServer::interaction`] | Returns the next step for a request and a user: an [`Interaction`]. |
//! | [`UserSession`] | The user who is logged in, and since when. |
//! | [`Consent`], [`ConsentForm`] | The contents of a consent page, and the form that the page sends. |
//! | [`Approval`] | The approval of a user, for all or a part of the requested scope. |
//! | [`AuthorizationServer::authorize`], [`PendingAuthorization`] | A lower-level form of the same endpoint. Your code decides the next step. |
//!
//! ## Serve the other endpoints
//! | item | purpose |
//! |---|---|
//! | [`AuthorizationServer::routes`], [`handle`](AuthorizationServer::handle) | List all endpoints; answer a request to any of them. |
//! | [`AuthorizationServer::token`] | The token endpoint (RFC 6749 §3.2). [`grant_type`] has the grant types, and the trait for your own grant type. |
//! | [`AuthorizationServer::revoke`], [`introspect`](AuthorizationServer::introspect), [`metadata`](AuthorizationServer::metadata) | Revocation, introspection and metadata (RFC 7009, 7662, 8414). |
//! | [`Capability`] | Adds your own endpoint to the server. |
//! | [`Request`], [`Response`] | Plain data that every web stack can fill in and send. |
//!
//! ## Protect an API
//! | item | purpose |
//! |---|---|
//! | [`AuthorizationServer::bearer`], [`Bearer`] | Checks an access token (RFC 6750). |
//! | [`Access`] | The user and client of a request whose token has the required scopes. |
//! | [`ResourceServer`] | Checks tokens in another process, by introspection. |
//! | [`ProtectedResource`] | Metadata from which clients learn the authorization server of an API (RFC 9728). |
//!
//! ## Manage access
//! | item | purpose |
//! |---|---|
//! | [`AuthorizationServer::connections`] | Lists the applications that a user connected. |
//! | [`AuthorizationServer::revoke_grants`] | Revokes grants of a user, a client or both. |
//! | [`ClientRegistry`] | Registers, changes and removes clients. |
//! | [`Authenticator::subject_status`] | Stops tokens of users who are suspended or gone. |
//! | [`TokenCustomizer`] | Refuses, narrows or extends tokens. See [`customizer`]. |
//! | [`Observer`], [`Event`] | The audit log. |
//! | [`AuthorizationServer::purge`] | Deletes records that are no longer needed. |
//!
//! ## Terms
//! | term | meaning |
//! |---|---|
//! | [`Grant`] | One authorization of a client: user, client, scope and end time. Revoking a grant is one write, which revokes all its tokens. |
//! | token | An [`AuthorizationCode`], [`AccessToken`] or [`RefreshToken`]. It belongs to one grant, and is stored only as its SHA-256 digest. |
//! | [`Scope`] | A set of scope tokens (RFC 6749 §3.3). |
//! | [`Subject`] | The identifier of a user. |
//! | [`Error`], [`Refusal`] | The error that a client receives, and the precise reason that only the observer receives. |
//!
//! # Two forms of each endpoint
//! The HTTP form takes the [`Request`] that your web stack received. The typed form takes a request that you build from
//! values, and returns a `Result` of values. The HTTP form reads its request, calls the typed form and renders the
//! result.
//!
//! | endpoint | HTTP form | typed form | typed result |
//! |---|---|---|---|
//! | token | [`token`](AuthorizationServer::token) | [`token_request`](AuthorizationServer::token_request) | [`TokenResponse`] or [`Error`] |
//! | revocation | [`revoke`](AuthorizationServer::revoke) | [`revocation_request`](AuthorizationServer::revocation_request) | `()` or [`Error`] |
//! | introspection | [`introspect`](AuthorizationServer::introspect) | [`introspection_request`](AuthorizationServer::introspection_request) | [`Introspection`] or [`Error`] |
//! | authorization | [`authorize`](AuthorizationServer::authorize) | [`authorization_request`](AuthorizationServer::authorization_request) | [`PendingAuthorization`] or [`AuthorizationError`] |
//! | your API | [`bearer`](AuthorizationServer::bearer) | [`bearer_request`](AuthorizationServer::bearer_request) | [`Bearer`] or [`BearerError`] |
//!
//! The first three HTTP forms return the [`Response`] to send. `authorize` returns an [`AuthorizationOutcome`], because
//! login and consent belong to your app. `bearer` returns a `Result`. Call `into` to turn an [`AuthorizationError`] or
//! a [`BearerError`] into a [`Response`], and [`AuthorizationServer::refuse`] to turn an [`Error`] into a `Response`.
//!
//! With the typed forms, a machine gets a token and uses it:
//!
//! ```
//! use grantor::{AuthorizationServer, BearerRequest, MemoryStorage, TokenRequest};
//! use grantor::{Client, ClientCredential, ClientRegistry, ClientSecret};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let storage = MemoryStorage::new();
//! let secret = ClientSecret::random()?; // show it once
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
//! # Traits that you can implement
//! You need none of them if you use an included storage and your users log in at your pages. Implement
//! [`Authenticator`] if you check client secrets yourself, or if tokens of suspended users must stop working.
//!
//! | trait | supplies | without it |
//! |---|---|---|
//! | [`Storage`], [`ClientStore`], [`EphemeralStore`] | records; their methods keep [a contract](storage) | an included storage, such as [`MemoryStorage`] |
//! | [`Authenticator`] | checks of secrets, and the status of users | client secrets are compared by digest; all users are active |
//! | [`TokenCustomizer`] | changes to tokens | tokens are as the grant handlers decide |
//! | [`GrantHandler`](grant_type::GrantHandler) | more grant types | the five grant types of RFC 6749 |
//! | [`PageTemplates`](authorize::PageTemplates) | the pages of the library, in the user's [`Languages`] | plain pages |
//! | [`Observer`] | an audit log | events are dropped |
//! | [`Clock`], [`Entropy`] | time and randomness | the time and randomness of the operating system |
//!
//! Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`. These are the
//! signatures to copy. You can leave out methods that have a default:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use grantor::customizer::{Inspection, Issuance, TokenChanges};
//! use grantor::secret::TokenHash;
//! use grantor::storage::{
//!     Found, GrantPage, GrantSelector, IssuerError, Opened, RedeemOutcome, Redemption,
//! };
//! use grantor::{
//!     Authenticator, AuthenticatorError, Client, ClientAttempt, ClientStore, Error, Grant,
//!     ResourceOwnerAttempt,
//! };
//! use grantor::{
//!     Storage, StorageError, StoredToken, Subject, SubjectStatus, TokenCustomizer, Verdict,
//! };
//! use serde_json::{Map, Value};
//! use time::OffsetDateTime;
//!
//! struct Mine;
//!
//! #[async_trait]
//! impl Authenticator for Mine {
//!     // Each method has a default.
//!     async fn authenticate_client(
//!         &self,
//!         attempt: &ClientAttempt<'_>,
//!     ) -> Result<Verdict<()>, AuthenticatorError> {
//!         todo!()
//!     }
//!
//!     async fn authenticate_resource_owner(
//!         &self,
//!         attempt: &ResourceOwnerAttempt<'_>,
//!     ) -> Result<Verdict<Subject>, AuthenticatorError> {
//!         todo!()
//!     }
//!
//!     async fn subject_status(
//!         &self,
//!         subject: &Subject,
//!     ) -> Result<SubjectStatus, AuthenticatorError> {
//!         todo!()
//!     }
//! }
//!
//! #[async_trait]
//! impl TokenCustomizer for Mine {
//!     // Each method has a default.
//!     async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
//!         todo!()
//!     }
//!
//!     async fn introspection(
//!         &self,
//!         inspection: &Inspection<'_>,
//!     ) -> Result<Option<Map<String, Value>>, Error> {
//!         todo!()
//!     }
//! }
//!
//! #[async_trait]
//! impl ClientStore for Mine {
//!     async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
//!         todo!()
//!     }
//! }
//!
//! #[async_trait]
//! impl Storage for Mine {
//!     async fn open_grant(
//!         &self,
//!         grant: &Arc<Grant>,
//!         tokens: &[StoredToken],
//!     ) -> Result<Opened, StorageError> {
//!         todo!()
//!     }
//!
//!     async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
//!         todo!()
//!     }
//!
//!     async fn redeem(
//!         &self,
//!         redemption: &Redemption,
//!         successors: &[StoredToken],
//!     ) -> Result<RedeemOutcome, StorageError> {
//!         todo!()
//!     }
//!
//!     async fn revoke_access_token(
//!         &self,
//!         token: &TokenHash,
//!         at: OffsetDateTime,
//!     ) -> Result<(), StorageError> {
//!         todo!()
//!     }
//!
//!     async fn revoke_grants(
//!         &self,
//!         which: &GrantSelector,
//!         at: OffsetDateTime,
//!     ) -> Result<u64, StorageError> {
//!         todo!()
//!     }
//!
//!     async fn list_grants(
//!         &self,
//!         which: &GrantSelector,
//!         now: OffsetDateTime,
//!         page: &GrantPage,
//!     ) -> Result<Vec<Arc<Grant>>, StorageError> {
//!         todo!()
//!     }
//!
//!     async fn purge_expired(
//!         &self,
//!         before: OffsetDateTime,
//!         limit: usize,
//!     ) -> Result<usize, StorageError> {
//!         todo!()
//!     }
//!
//!     async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError> {
//!         todo!()
//!     }
//!
//!     async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError> {
//!         todo!()
//!     }
//! }
//! ```
//!
//! The documentation of [`EphemeralStore`], [`GrantHandler`](grant_type::GrantHandler), [`Capability`] and
//! [`Introspector`](resource_server::Introspector) shows the signatures of their methods.
//!
//! # How a request is processed
//! ```text
//! your framework ─► Request ─► parameters (decoded once, strictly)
//!   /authorize ─► client ─► redirect target (from here on an error may redirect)
//!              ─► ordered checks ─► PendingAuthorization
//!              ─► Interaction ─► your login and consent ─► approve | deny ─► Response
//!   /token     ─► client authentication ─► grant handler decides
//!              ─► issue ─► TokenResponse ─► Response
//!   API        ─► bearer check ─► require(scope) ─► Access
//! ```
//! Each step is a type that can only be constructed from the type of the previous step.
//!
//! # Features
//! No feature is on by default. A feature only adds items. It never changes how existing items behave.
//!
//! | feature | adds |
//! |---|---|
//! | `axum` | `grantor::axum`, for axum 0.8: the endpoints as a router, extractors and responses; includes `http` |
//! | `actix-web` | `grantor::actix`, for actix-web 4: the endpoints as routes of an actix-web app, extractors and responses |
//! | `http` | conversions of [`Request`] and [`Response`] from and to the types of the crate `http`, which hyper and others use |
//! | `http-client` | `http_client::GuardedHttpClient`, an HTTP client that connects only to public hosts |
//! | `jwt` | `grantor::jose`: keys, signed access tokens and signed introspection responses; see [`manual::signing_keys`] |
//! | `postgres` | [`storage::PostgresStorage`](storage): clients, grants and tokens in PostgreSQL, for one node or many |
//! | `sqlite` | [`storage::SqliteStorage`](storage): clients, grants and tokens in an SQLite file, for one machine |
//! | `testing` | `grantor::testing`: a test server with a clock that you move, a storage that fails when you want, and a test suite for your own storage |
//! | `tracing` | `grantor::tracing`: audit events, and a span for each endpoint |
//!
//! If you implement a trait or handle times, also depend on `async-trait` 0.1 and `time` 0.3. If you attach data to
//! grants or add members to responses, depend on `serde_json` 1.
//!
//! The crate needs Rust 1.88, and 1.94 with `postgres` or `sqlite`, because sqlx 0.9 requires it.
//!
//! # Secrets
//! Tokens, codes, passwords and client secrets are [`Secret`]s: redacted in `Debug`, without `PartialEq`, and
//! overwritten when dropped. None of them appears in an error text, an event or a stored record. A [`Request`]
//! overwrites its contents when dropped, too. A decoded form and the bytes of a response are not overwritten.
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
#[cfg(feature = "jwt")]
mod client_signatures;
#[cfg(any(feature = "actix-web", feature = "axum"))]
mod completion;
mod connections;
mod cors;
pub mod customizer;
mod details;
mod env;
pub mod error;
pub mod event;
mod fetcher;
pub mod grant_type;
mod http;
pub mod http_client;
#[cfg(feature = "http")]
mod http_types;
mod identifier;
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
#[cfg(feature = "jwt")]
mod published_keys;
pub mod record;
#[cfg(feature = "jwt")]
mod request_object;
mod resource;
pub mod resource_server;
mod revoke;
#[cfg(feature = "jwt")]
mod rotating_keys;
mod scope;
pub mod secret;
mod server;
mod server_context;
mod server_key;
mod shared_call;
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
#[cfg(feature = "jwt")]
#[doc(inline)]
pub use crate::client_signatures::ClientSignatures;
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
pub use crate::http_client::HttpClient;
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
pub use crate::server::{AuthorizationServer, Builder, NeedsStorage, Resource, Route, ServedBy};
#[cfg(any(feature = "actix-web", feature = "axum"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "actix-web", feature = "axum"))))]
#[doc(inline)]
pub use crate::server::{BearerCheck, MissingRequire};
#[doc(inline)]
pub use crate::storage::{ClientRegistry, ClientStore, EphemeralStore, MemoryStorage, Storage};
#[doc(inline)]
pub use crate::token::{TokenRequest, TokenResponse};
