//! The users of this server: their passwords, and what the API knows about them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use grantor::{Authenticator, AuthenticatorError, Password, ResourceOwnerAttempt, Subject, Verdict};

use crate::StartError;
use crate::session::random_text;

/// Everybody who can log in. A name is its own subject.
#[derive(Debug)]
pub(crate) struct Users {
    hashes: HashMap<String, String>,
    /// What an unknown user's password is compared with, so that it takes as long as a known one's.
    nobody: String,
    attempts: Attempts,
    display_names: Mutex<HashMap<Subject, String>>,
}

impl Users {
    pub(crate) fn new(users: &[(String, String)]) -> Result<Arc<Self>, StartError> {
        let mut hashes = HashMap::with_capacity(users.len());
        for (name, password) in users {
            Subject::new(name).map_err(|_| format!("{name:?} is not fit to be a user name"))?;
            if hashes.insert(name.clone(), hash(password)?).is_some() {
                return Err(format!("the user {name:?} is there twice").into());
            }
        }
        let nobody = hash(&random_text())?;
        Ok(Arc::new(Self { hashes, nobody, attempts: Attempts::default(), display_names: Mutex::default() }))
    }

    /// Whose user name and password these are. A wrong password and an unknown user look and cost the same.
    pub(crate) async fn check(
        &self,
        username: &str,
        password: Password,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        if let Some(retry_after) = self.attempts.count(username) {
            return Ok(Verdict::Throttled { retry_after });
        }
        let known = self.hashes.get(username);
        let hash = known.unwrap_or(&self.nobody).clone();
        let matches =
            move || argon2().is_ok_and(|argon2| argon2.verify_password(password.expose().as_bytes(), &*hash).is_ok());
        // Slow by intention, so not on a thread that serves others.
        let matches = tokio::task::spawn_blocking(matches).await.map_err(AuthenticatorError::new)?;
        if !matches || known.is_none() {
            return Ok(Verdict::Rejected);
        }
        self.attempts.forget(username);
        Subject::new(username).map(Verdict::Accepted).map_err(AuthenticatorError::new)
    }

    pub(crate) fn display_name(&self, user: &Subject) -> Option<String> {
        lock(&self.display_names).get(user).cloned()
    }

    pub(crate) fn set_display_name(&self, user: Subject, name: String) {
        lock(&self.display_names).insert(user, name);
    }
}

/// How often each name was tried since when.
#[derive(Debug, Default)]
struct Attempts(Mutex<HashMap<String, (u32, Instant)>>);

impl Attempts {
    /// After so many failures for a name within a minute, passwords are not looked at any more.
    const LIMIT: u32 = 10;
    const PERIOD: Duration = Duration::from_secs(60);
    /// So many names are remembered, so that making names up does not fill the memory.
    const NAMES: usize = 10_000;

    /// Counts an attempt before it is made, so that many at once count, too. `Some` if it may not be made.
    fn count(&self, username: &str) -> Option<time::Duration> {
        let mut attempts = lock(&self.0);
        if attempts.len() >= Self::NAMES {
            attempts.retain(|_, (_, since)| since.elapsed() < Self::PERIOD);
        }
        let is_full = attempts.len() >= Self::NAMES && !attempts.contains_key(username);
        if is_full || username.len() > 255 {
            return Some(time::Duration::MINUTE);
        }
        let (count, since) = attempts.entry(username.to_owned()).or_insert_with(|| (0, Instant::now()));
        if since.elapsed() >= Self::PERIOD {
            (*count, *since) = (0, Instant::now());
        }
        *count = count.saturating_add(1);
        (*count > Self::LIMIT).then_some(time::Duration::MINUTE)
    }

    /// The right password was given.
    fn forget(&self, username: &str) {
        lock(&self.0).remove(username);
    }
}

fn hash(password: &str) -> Result<String, StartError> {
    Ok(argon2()?.hash_password(password.as_bytes())?.to_string())
}

/// Light, so that the example starts fast even where it was compiled without optimisation. In production take
/// `Argon2::default()`.
fn argon2() -> Result<Argon2<'static>, StartError> {
    let params = Params::new(1_024, 2, 1, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// No step under these locks can leave a map half changed, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the password grant check the same passwords as the login page; client secrets are checked as by default.
#[derive(Debug, Clone)]
pub(crate) struct MyUsers(pub(crate) Arc<Users>);

#[async_trait]
impl Authenticator for MyUsers {
    async fn resource_owner(&self, attempt: &ResourceOwnerAttempt<'_>) -> Result<Verdict<Subject>, AuthenticatorError> {
        self.0.check(attempt.username, Password::new(attempt.password.expose())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_was_tried_too_often_is_not_looked_at_for_a_while() {
        let users = Users::new(&[("alice".to_owned(), "wonderland".to_owned())]).unwrap();
        for _ in 0..Attempts::LIMIT {
            assert_eq!(users.check("alice", Password::new("wrong")).await.unwrap(), Verdict::Rejected);
        }
        let right = users.check("alice", Password::new("wonderland")).await.unwrap();
        assert_eq!(right, Verdict::Throttled { retry_after: time::Duration::MINUTE });
        assert_eq!(users.check("bob", Password::new("wonderland")).await.unwrap(), Verdict::Rejected);
    }

    #[tokio::test]
    async fn the_right_password_ends_the_count() {
        let users = Users::new(&[("alice".to_owned(), "wonderland".to_owned())]).unwrap();
        for _ in 0..2 * Attempts::LIMIT {
            let verdict = users.check("alice", Password::new("wonderland")).await.unwrap();
            assert_eq!(verdict, Verdict::Accepted(Subject::new("alice").unwrap()));
        }
    }
}
