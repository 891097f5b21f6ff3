//! Checks the passwords of users.

use std::net::IpAddr;
use std::sync::Arc;

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use grantor::error::BoxError;
use grantor::{Authenticator, AuthenticatorError, Password, ResourceOwnerAttempt, Subject, Verdict};
use time::Duration;

use crate::StartError;
use crate::accounts::Accounts;
use crate::attempts::Attempts;
use crate::hashing::{Hasher, authenticator_error};
use crate::session::random_text;

/// The users, whose names are also their subjects.
pub(crate) struct Users {
    accounts: Arc<dyn Accounts>,
    attempts: Arc<Attempts>,
    hasher: Hasher,
    /// The hash for unknown users, so that their passwords take as long to check as those of known ones.
    dummy_hash: String,
}

impl Users {
    pub(crate) fn new(accounts: Arc<dyn Accounts>, attempts: Arc<Attempts>) -> Result<Arc<Self>, StartError> {
        Ok(Arc::new(Self { accounts, attempts, hasher: Hasher::new(), dummy_hash: hash(&random_text())? }))
    }

    /// Checks a user name and a password, unless the peer has tried too often. The verdict and the time are the same
    /// for a wrong password and for an unknown user.
    ///
    /// # Errors
    /// If the password could not be checked.
    pub(crate) async fn check(
        &self,
        username: &str,
        password: Password,
        peer: Option<IpAddr>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        if peer.is_some_and(|peer| !self.attempts.begin(peer)) {
            return Ok(Verdict::Throttled { retry_after: Duration::SECOND });
        }
        let user = self.find(username, password).await.map_err(authenticator_error)?;
        Ok(user.map_or(Verdict::Rejected, Verdict::Accepted))
    }

    async fn find(&self, username: &str, password: Password) -> Result<Option<Subject>, BoxError> {
        // Not every database accepts a name that is no valid subject, so it is not asked for one.
        let user = Subject::new(username).ok();
        let known = match &user {
            Some(user) => self.accounts.password_hash(user).await?,
            None => None,
        };
        let user = user.filter(|_| known.is_some());
        let hash = known.unwrap_or_else(|| self.dummy_hash.clone());
        let matches = self.hasher.run(move || matches(&password, &hash)).await??;
        Ok(user.filter(|_| matches))
    }
}

pub(crate) fn matches(password: &Password, hash: &str) -> Result<bool, StartError> {
    match argon2()?.verify_password(password.expose().as_bytes(), hash) {
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

pub(crate) fn hash(password: &str) -> Result<String, StartError> {
    Ok(argon2()?.hash_password(password.as_bytes())?.to_string())
}

/// Returns a cheap configuration, which is fast in debug builds, too. In production, use `Argon2::default()`.
fn argon2() -> Result<Argon2<'static>, StartError> {
    let params = Params::new(1_024, 2, 1, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Checks passwords for the password grant. Client secrets are checked by the default method.
#[async_trait]
impl Authenticator for Users {
    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        self.check(attempt.username, Password::new(attempt.password.expose()), attempt.peer).await
    }
}

#[cfg(test)]
mod tests {
    use grantor::MemoryStorage;

    use super::*;
    use crate::accounts::MemoryAccounts;

    #[tokio::test]
    async fn unreadable_hash_is_an_error_not_a_wrong_password() {
        let accounts = MemoryAccounts::new(MemoryStorage::new());
        accounts.put_user(&Subject::new("alice").unwrap(), "spoilt").await.unwrap();
        let users = Users::new(Arc::new(accounts), Arc::new(Attempts::new())).unwrap();
        assert!(users.check("alice", Password::new("wonderland"), None).await.is_err());
    }
}
