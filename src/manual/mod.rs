//! The manual: guides, reasons and the threat model. Every Rust block in it is compiled, and where it says what
//! happens, run.
//!
//! | to | read |
//! |---|---|
//! | put a server into an app | [`with_axum`], [`with_actix_web`], [`with_your_stack`] |
//! | build a server for machines only | [`machines`] |
//! | check tokens in another process | [`separate_api`] |
//! | sign tokens, and keep the keys | [`signing_keys`] |
//! | set up Auth.js, python-social-auth, or Apache in front of an API | [`client_libraries`] |
//! | come from another library | [`migrating`] |
//! | test your flows | [`testing`] |
//! | choose a storage, or write one | [`storage`]; [`tables`] for what the SQL storages make |
//! | run it | [`operators`] |
//! | judge it | [`threats`], [`defaults`], [`non_features`] |

#[doc = include_str!("with_axum.md")]
pub mod with_axum {}

#[doc = include_str!("with_actix_web.md")]
pub mod with_actix_web {}

#[doc = include_str!("with_your_stack.md")]
pub mod with_your_stack {}

#[doc = include_str!("machines.md")]
pub mod machines {}

#[doc = include_str!("separate_api.md")]
pub mod separate_api {}

// Its links lead to items that exist with the feature alone.
#[cfg_attr(not(feature = "jwt"), allow(rustdoc::broken_intra_doc_links))]
#[doc = include_str!("signing_keys.md")]
pub mod signing_keys {}

#[doc = include_str!("client_libraries.md")]
pub mod client_libraries {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("storage.md")]
pub mod storage {}

#[doc = include_str!("tables.md")]
/// # PostgreSQL
/// ```sql
#[doc = include_str!("../../migrations/postgres/0001_clients_grants_tokens.sql")]
/// ```
///
/// # SQLite
/// ```sql
#[doc = include_str!("../../migrations/sqlite/0001_clients_grants_tokens.sql")]
/// ```
pub mod tables {}

#[doc = include_str!("operators.md")]
pub mod operators {}

#[doc = include_str!("threats.md")]
pub mod threats {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("non_features.md")]
pub mod non_features {}
