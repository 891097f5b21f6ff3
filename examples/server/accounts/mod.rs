//! What this server keeps beside the library's records: its users, and who registered which application.
//!
//! In a database that is two tables of the example's own, `example_users` and `example_applications`, beside the library's
//! and reached through the same pool.

mod memory;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;

use std::sync::Arc;

use async_trait::async_trait;
use grantor::error::BoxError;
use grantor::{Client, ClientId, Subject};

pub(crate) use self::memory::MemoryAccounts;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use self::sql::SqlAccounts;

/// A database that fails is answered with 503, whatever the reason.
pub(crate) type Result<T> = std::result::Result<T, BoxError>;

/// Users by their names, and applications by who registered them.
#[async_trait]
pub(crate) trait Accounts: Send + Sync {
    /// The hash of a user's password, if there is such a user.
    async fn password_hash(&self, user: &Subject) -> Result<Option<String>>;

    /// Adds a user, unless there is one of this name; whether there was none.
    async fn add_user(&self, user: &Subject, password_hash: &str) -> Result<bool>;

    /// Adds a user. One who is there gets the new password and stays as he is otherwise.
    async fn put_user(&self, user: &Subject, password_hash: &str) -> Result<()>;

    /// What a user wants to be called, if he has said so.
    async fn display_name(&self, user: &Subject) -> Result<Option<String>>;

    async fn set_display_name(&self, user: &Subject, name: &str) -> Result<()>;

    /// Notes down whose an application is, unless its owner has `most` already; whether it was noted. However many ask at
    /// once, nobody gets past the limit.
    async fn add_application(&self, owner: &Subject, id: &ClientId, most: u32) -> Result<bool>;

    /// Whether a user has registered an application.
    async fn is_owner(&self, user: &Subject, id: &ClientId) -> Result<bool>;

    /// Forgets whose an application is, which makes room for another one. Does nothing if it is not this owner's.
    async fn remove_application(&self, owner: &Subject, id: &ClientId) -> Result<()>;

    /// The applications that a user has registered, in that order.
    async fn applications(&self, owner: &Subject) -> Result<Vec<Arc<Client>>>;
}
