//! The manual: what the library defends against, and how; where records are kept.

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

#[doc = include_str!("threats.md")]
pub mod threats {}
