// refused: unused_must_use
//! A verdict that nobody reads lets everybody in.
#![deny(unused_must_use)]

use grantor::{Authenticator, ClientAttempt};

async fn check(users: &dyn Authenticator, attempt: &ClientAttempt<'_>) -> Result<(), grantor::error::AuthenticatorError> {
    users.client(attempt).await?;
    Ok(())
}

fn main() {}
