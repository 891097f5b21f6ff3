//! Signatures: the signing keys of the server, which are in its storage and which the library rotates, and the
//! signatures of clients.

use std::sync::Arc;

use grantor::jose::{Algorithm, WrappingKey};
use grantor::storage::AnyStorage;
use grantor::{Builder, ClientSignatures, RotatingKeys, SigningKeys};

use crate::flags::{AccessTokenFormat, Flags};
use crate::session::random_bytes;
use crate::{StartError, storage};

/// Lets clients authenticate by signatures, and sign their authorization requests, unless `--without
/// client-signatures` was given.
pub(crate) fn accept(builder: Builder, flags: &Flags) -> Builder {
    if flags.is_without(crate::flags::Capability::ClientSignatures) {
        return builder;
    }
    builder.client_signatures(ClientSignatures::new().request_objects())
}

/// Adds signing keys to the server, unless `--without signing-keys` was given.
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

/// Removes a key from the storage. A server with the same storage generates the next one.
pub(crate) async fn remove(flags: &Flags, id: &str) -> Result<(), StartError> {
    let opened = storage::open(flags.storage.as_deref()).await?;
    let Some(place) = opened.place else {
        return Err("--remove-key needs a database: --storage memory has no keys of an earlier start".into());
    };
    // No key is decrypted or generated, so the secret does not matter.
    let was_there = keys(flags, opened.storage, &random_bytes())?.remove(id).await;
    if !was_there.map_err(|error| format!("the key {id:?} could not be removed from {place}: {error}"))? {
        return Err(format!("{place} has no key {id:?}: give the `kid` of a key at /jwks").into());
    }
    println!(
        "removed the key {id:?} from {place}. Running servers follow within five minutes; restart them to be sure"
    );
    Ok(())
}

fn keys(flags: &Flags, store: Arc<dyn AnyStorage>, secret: &[u8]) -> Result<RotatingKeys, StartError> {
    let algorithm = match flags.signing_algorithm.as_deref() {
        None => Algorithm::Rs256,
        Some(name) => Algorithm::from_name(name).ok_or_else(|| {
            let names = Algorithm::ALL.map(Algorithm::name).join(", ");
            format!("the value {name:?} of --signing-algorithm is invalid: use one of {names}")
        })?,
    };
    Ok(RotatingKeys::new(store, WrappingKey::new(secret, &[])?, [algorithm]))
}
