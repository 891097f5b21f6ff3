// refused: unused_must_use
//! That a token is the client's own does not make it valid.
#![deny(unused_must_use)]

use grantor::grants::GrantContext;

async fn decide(context: &GrantContext<'_>, token: grantor::RefreshToken) -> Result<(), grantor::Error> {
    let found = context.find(token).await?;
    found.must_belong_to(context.client())?;
    Ok(())
}

fn main() {}
