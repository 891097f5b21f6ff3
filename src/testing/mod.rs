//! Tests of a host: the real server over memory storage, with a clock to move and randomness that repeats.
//!
//! ```
//! use grantor::testing::TestServer;
//! use time::Duration;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let t = TestServer::new();
//! let app = t.public_client("https://app.example/cb").await;
//! let tokens = t.authorize(&app).scope("user:read").approve_as("alice").await.redeem().await.unwrap();
//! assert!(t.bearer(&tokens.access_token).await.is_ok());
//! t.clock.advance(Duration::hours(2));
//! assert_eq!(t.bearer(&tokens.access_token).await.unwrap_err().code().unwrap(), "invalid_token");
//! # });
//! ```
//!
//! Functions here panic where a test would want to stop; nothing else in the crate does.
#![expect(clippy::missing_panics_doc, reason = "test support: the module says that its functions panic")]
#![expect(clippy::expect_used, reason = "test support")]

mod contract;
mod env;
mod faults;
mod flow;
mod intercepted;
mod server;
#[cfg(feature = "jwt")]
mod signer;

pub use self::contract::{
    BrokenContract, Clause, ContractReport, EphemeralContract, StorageContract, Task, Violation,
    ephemeral_contract_worker, storage_contract, storage_contract_worker,
};
pub use self::env::{RecordedEvent, RecordingObserver, SeededEntropy, TestClock};
pub use self::faults::{Fault, Faults};
pub use self::flow::{ApprovedFlow, Flow, approve, ask};
pub use self::intercepted::{Call, Intercepted, Interceptor, Next, Reply};
pub use self::server::{ISSUER, TestClient, TestServer, TestUsers};
#[cfg(feature = "jwt")]
pub use self::signer::check_signer;
