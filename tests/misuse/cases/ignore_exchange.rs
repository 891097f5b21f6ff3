// refused: unused_must_use
//! Whether a token was spent is what an exchange is for.
#![deny(unused_must_use)]

use grantor::storage::{Spend, Storage};

async fn spend(storage: &dyn Storage, spend: &Spend) -> Result<(), grantor::StorageError> {
    storage.exchange(spend, &[]).await?;
    Ok(())
}

fn main() {}
