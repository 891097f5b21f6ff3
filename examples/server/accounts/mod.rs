//! Stores users, and the owners of registered applications.
//!
//! In a database, the tables `example_users` and `example_applications` are beside those of the library and use the
//! same pool.

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

/// An error means that the database failed. Handlers respond with 503.
pub(crate) type Result<T> = std::result::Result<T, BoxError>;

/// Users, and the applications that they registered.
#[async_trait]
pub(crate) trait Accounts: Send + Sync {
    /// Returns the password hash of a user. `None` if there is no such user.
    async fn password_hash(&self, user: &Subject) -> Result<Option<String>>;

    /// Adds a user unless one with this name exists. Returns whether the user was added.
    async fn add_user(&self, user: &Subject, password_hash: &str) -> Result<bool>;

    /// Adds a user, or changes the password of an existing user.
    async fn put_user(&self, user: &Subject, password_hash: &str) -> Result<()>;

    /// Returns the name that a user set by `PUT /api/me`.
    async fn display_name(&self, user: &Subject) -> Result<Option<String>>;

    async fn set_display_name(&self, user: &Subject, name: &str) -> Result<()>;

    /// Stores the owner of an application, unless the owner has `most` applications already. Returns whether it was
    /// stored. Concurrent calls can't exceed the limit.
    async fn add_application(&self, owner: &Subject, id: &ClientId, most: u32) -> Result<bool>;

    /// Returns whether a user owns an application.
    async fn is_owner(&self, user: &Subject, id: &ClientId) -> Result<bool>;

    /// Removes the owner of an application, which makes room for another one. Does nothing if it belongs to another
    /// owner.
    async fn remove_application(&self, owner: &Subject, id: &ClientId) -> Result<()>;

    /// Returns the applications of a user, oldest first.
    async fn applications(&self, owner: &Subject) -> Result<Vec<Arc<Client>>>;
}
