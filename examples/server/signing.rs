//! The keys that the server signs with: kept in its storage, and changed by the library.

use std::sync::Arc;

use grantor::jose::{Algorithm, WrappingKey};
use grantor::storage::AnyStorage;
use grantor::{Builder, RotatingKeys, SigningKeys};

use crate::flags::{AccessTokenFormat, Flags};
use crate::session::random_bytes;
use crate::{StartError, storage};

/// Gives the server its keys, unless `--without signing-keys` was given.
pub(crate) fn add(
    builder: Builder,
    flags: &Flags,
    store: Arc<dyn AnyStorage>,
    secret: &[u8],
) -> Result<Builder, StartError> {
    if flags.is_without(crate::flags::Capability::SigningKeys) {
        return Ok(builder);
    }
    let keys = SigningKeys::new(keys(flags, store, secret)?);
    Ok(builder.signing_keys(match flags.access_token_format {
        AccessTokenFormat::Opaque => keys,
        AccessTokenFormat::Jwt => keys.sign_access_tokens(),
    }))
}

/// Takes a key out of the storage. A server that uses the storage makes the next one.
pub(crate) async fn remove(flags: &Flags, id: &str) -> Result<(), StartError> {
    let opened = storage::open(flags.storage.as_deref()).await?;
    let Some(place) = opened.place else {
        return Err("--remove-key needs a storage that lasts: --storage memory has no keys of before".into());
    };
    // No key is decrypted or made, so any secret does.
    let was_there = keys(flags, opened.storage, &random_bytes())?.remove(id).await;
    if !was_there.map_err(|error| format!("the key {id:?} could not be removed from {place}: {error}"))? {
        return Err(format!("{place} has no key {id:?}: give the `kid` of a key at /jwks").into());
    }
    println!(
        "the key {id:?} is removed from {place}. Servers that run follow within five minutes; restart them to be sure"
    );
    Ok(())
}

fn keys(flags: &Flags, store: Arc<dyn AnyStorage>, secret: &[u8]) -> Result<RotatingKeys, StartError> {
    let algorithm = match flags.signing_algorithm.as_deref() {
        None => Algorithm::Rs256,
        Some(name) => Algorithm::from_name(name).ok_or_else(|| {
            let names = Algorithm::ALL.map(Algorithm::name).join(", ");
            format!("--signing-algorithm takes one of {names}, not {name:?}")
        })?,
    };
    Ok(RotatingKeys::new(store, WrappingKey::new(secret, &[])?, [algorithm]))
}
