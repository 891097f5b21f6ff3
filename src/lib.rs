//! WIP
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod authenticator;
pub mod authorize;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
mod bearer;
pub mod client;
pub mod env;
pub mod error;
pub mod event;
pub mod grants;
mod host;
mod http;
mod issue;
mod lookup;
mod mac;
mod params;
mod pkce;
pub mod policy;
pub mod record;
mod scope;
pub mod secret;
mod server;
pub mod storage;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod token;

pub use crate::authenticator::{Authenticator, ClientAttempt, ClientSecrets, ResourceOwnerAttempt, Verdict};
pub use crate::authorize::{
    Approval, AuthorizationRequest, AuthorizationResponse, Authorize, ConsentForm, PendingAuthorization, RequestedScope,
};
pub use crate::bearer::{Access, Bearer, BearerError};
pub use crate::client::{Client, ClientCredential, auth::AuthenticatedClient};
pub use crate::env::{Clock, Entropy, SystemClock, SystemEntropy};
pub use crate::error::{AuthenticatorError, EntropyError, Error, ErrorCode, Refusal, StorageError};
pub use crate::event::{Event, EventKind, Observer};
pub use crate::http::{Request, Response};
pub use crate::params::Params;
pub use crate::pkce::{ChallengeMethod, CodeChallenge};
pub use crate::policy::Policy;
pub use crate::record::{ClientId, Grant, GrantId, GrantType, StoredToken, Subject};
pub use crate::scope::{Scope, ScopeError};
pub use crate::secret::{AccessToken, AuthorizationCode, ClientSecret, CodeVerifier, Password, RefreshToken, Secret};
pub use crate::server::{AuthorizationServer, BuildError, Builder, NeedsStorage};
pub use crate::storage::{ClientRegistry, ClientStore, MemoryStorage, Storage};
pub use crate::token::{TokenRequest, TokenResponse};
