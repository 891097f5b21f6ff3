//! A test kit for host apps: the real server with memory storage, a clock that tests can move, and reproducible
//! randomness.
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
//! Functions of this module panic if a test makes a mistake or an expectation is not met.
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
