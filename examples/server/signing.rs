//! The keys that the server signs with: kept in its storage, and changed by the library.

use std::sync::Arc;

use grantor::jose::{Algorithm, WrappingKey};
use grantor::storage::AnyStorage;
use grantor::{Builder, RotatingKeys, SigningKeys};

use crate::StartError;
use crate::flags::{AccessTokenFormat, Flags};

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
    let algorithm = match flags.signing_algorithm.as_deref() {
        None => Algorithm::Rs256,
        Some(name) => Algorithm::from_name(name).ok_or_else(|| {
            let names = Algorithm::ALL.map(Algorithm::name).join(", ");
            format!("--signing-algorithm takes one of {names}, not {name:?}")
        })?,
    };
    let keys = RotatingKeys::new(store, WrappingKey::new(secret, &[])?, [algorithm]);
    let keys = SigningKeys::new(keys);
    Ok(builder.signing_keys(match flags.access_token_format {
        AccessTokenFormat::Opaque => keys,
        AccessTokenFormat::Jwt => keys.sign_access_tokens(),
    }))
}
