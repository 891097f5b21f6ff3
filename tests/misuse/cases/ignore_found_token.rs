// refused: unused_must_use
//! A token that was found may be spent, expired, revoked, and another client's.
#![deny(unused_must_use)]

use grantor::grants::GrantContext;

async fn decide(context: &GrantContext<'_>, token: grantor::RefreshToken) -> Result<(), grantor::Error> {
    context.find(token).await?;
    Ok(())
}

fn main() {}
