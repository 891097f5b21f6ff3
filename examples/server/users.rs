//! The users of this server: their passwords, and what the API knows about them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
        Ok(Arc::new(Self { hashes, nobody, display_names: Mutex::default() }))
    }

    /// Whose user name and password these are, if they are right. A wrong password and an unknown user look and cost the same.
    pub(crate) async fn check(
        &self,
        username: &str,
        password: Password,
    ) -> Result<Option<Subject>, AuthenticatorError> {
        let known = self.hashes.get(username);
        let hash = known.unwrap_or(&self.nobody).clone();
        let matches =
            move || argon2().is_ok_and(|argon2| argon2.verify_password(password.expose().as_bytes(), &*hash).is_ok());
        // Slow by intention, so not on a thread that serves others.
        let matches = tokio::task::spawn_blocking(matches).await.map_err(AuthenticatorError::new)?;
        if !matches || known.is_none() {
            return Ok(None);
        }
        Subject::new(username).map(Some).map_err(AuthenticatorError::new)
    }

    pub(crate) fn display_name(&self, user: &Subject) -> Option<String> {
        lock(&self.display_names).get(user).cloned()
    }

    pub(crate) fn set_display_name(&self, user: Subject, name: String) {
        lock(&self.display_names).insert(user, name);
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
        let user = self.0.check(attempt.username, Password::new(attempt.password.expose())).await?;
        Ok(user.map_or(Verdict::Rejected, Verdict::Accepted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_names_a_subject() {
        let users = Users::new(&[("alice".to_owned(), "wonderland".to_owned())]).unwrap();
        for (username, password, expected) in [
            ("alice", "wonderland", Some("alice")),
            ("alice", "Wonderland", None),
            ("alice", "", None),
            ("bob", "wonderland", None),
            ("", "", None),
        ] {
            let subject = users.check(username, Password::new(password)).await.unwrap();
            assert_eq!(subject.as_ref().map(Subject::as_str), expected, "{username} {password}");
        }
    }
}
