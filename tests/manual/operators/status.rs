use async_trait::async_trait;
use grantor::error::AuthenticatorError;
use grantor::{Authenticator, Subject, SubjectStatus};

struct Directory {
    // a pool of connections to your users
}

#[async_trait]
impl Authenticator for Directory {
    async fn subject_status(&self, subject: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        match self.account(subject.as_str()).await.map_err(AuthenticatorError::new)? {
            Some(account) if account.locked => Ok(SubjectStatus::Suspended),
            Some(_) => Ok(SubjectStatus::Active),
            None => Ok(SubjectStatus::Gone),
        }
    }
}
