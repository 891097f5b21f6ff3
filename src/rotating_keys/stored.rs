//! The stored form of the keys: public halves in the clear, private halves encrypted.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::jose::{Algorithm, PublicKey, SigningKey, WrappingKey};

/// The version of the stored form.
const FORMAT: u32 = 1;

const MALFORMED: &str = "the stored keys are malformed";

/// One key.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) public: PublicKey,
    pub(super) algorithm: Algorithm,
    /// The time when the key begins to sign.
    pub(super) signs_from: OffsetDateTime,
    /// The time when the server stopped using the algorithm, if it did.
    pub(super) unused_since: Option<OffsetDateTime>,
    /// The private half. It is dropped some time after the last signature.
    pub(super) private: Option<Private>,
}

#[derive(Clone)]
pub(super) struct Private {
    pub(super) wrapped: Vec<u8>,
    pub(super) key: Arc<SigningKey>,
}

/// The stored form of all keys.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) format: u32,
    pub(super) keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredKey {
    pub(super) public: Value,
    /// In seconds since 1970, like all times in this form.
    pub(super) signs_from: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unused_since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wrapped: Option<String>,
}

impl StoredKey {
    pub(super) fn id(&self) -> Option<&str> {
        self.public.get("kid")?.as_str()
    }
}

/// Generates a key that signs from this time on.
pub(super) fn generate(wrapping: &WrappingKey, algorithm: Algorithm, signs_from: OffsetDateTime) -> Option<Entry> {
    let key = Arc::new(SigningKey::generate(algorithm).ok()?);
    let public = key.public_key().clone();
    let wrapped = wrapping.wrap(&key.to_pkcs8().ok()?, context(&public).as_bytes())?;
    Some(Entry { public, algorithm, signs_from, unused_since: None, private: Some(Private { wrapped, key }) })
}

/// Reads the stored form. Does not decrypt keys that are in `known`.
pub(super) fn read(wrapping: &WrappingKey, value: &[u8], known: &[Entry]) -> Result<Vec<Entry>, Cow<'static, str>> {
    let stored = parse(value)?;
    let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| MALFORMED);
    let read = |stored: StoredKey| {
        let public = PublicKey::from_jwk(&stored.public.to_string()).map_err(|_| MALFORMED)?;
        let algorithm = public.algorithm().ok_or(MALFORMED)?;
        let private = match stored.wrapped {
            None => None,
            Some(wrapped) => {
                let wrapped = STANDARD.decode(wrapped).map_err(|_| MALFORMED)?;
                Some(private(wrapping, known, &public, algorithm, wrapped)?)
            }
        };
        let unused_since = stored.unused_since.map(time).transpose()?;
        Ok(Entry { algorithm, signs_from: time(stored.signs_from)?, unused_since, private, public })
    };
    stored.keys.into_iter().map(read).collect()
}

/// Decrypts a private key, unless this node has it in decrypted form already.
fn private(
    wrapping: &WrappingKey,
    known: &[Entry],
    public: &PublicKey,
    algorithm: Algorithm,
    wrapped: Vec<u8>,
) -> Result<Private, String> {
    let known = known.iter().find(|key| key.public == *public).and_then(|key| key.private.as_ref());
    if let Some(known) = known.filter(|known| known.wrapped == wrapped) {
        return Ok(known.clone());
    }
    let id = public.id().unwrap_or_default();
    let der = wrapping.unwrap(&wrapped, context(public).as_bytes());
    let der = der.ok_or_else(|| {
        format!(
            "the stored key {id:?} can't be decrypted: give the wrapping secret that it was stored under, as the current or a \
             previous one, or remove the key"
        )
    })?;
    let key = SigningKey::from_der(algorithm, &der).map_err(|_| format!("the stored key {id:?} can't be read"))?;
    let key = key.with_id(id);
    if key.public_key() != public {
        return Err(format!("the stored key {id:?} does not belong to its public half: remove the key"));
    }
    Ok(Private { wrapped, key: Arc::new(key) })
}

/// Reads the stored form without decrypting a key.
pub(super) fn parse(value: &[u8]) -> Result<Stored, &'static str> {
    let stored: Stored = serde_json::from_slice(value).map_err(|_| MALFORMED)?;
    if stored.format == FORMAT {
        Ok(stored)
    } else {
        Err("the stored keys have the format of another version: upgrade this node")
    }
}

/// Returns the context that a wrapped key is bound to, so that it can't replace another stored key. The context is not
/// JSON, because the order of members depends on the features of `serde_json`.
fn context(public: &PublicKey) -> String {
    let algorithm = public.algorithm().map_or("", Algorithm::name);
    format!("{} {algorithm} {}", public.thumbprint(), public.id().unwrap_or_default())
}

pub(super) fn write(keys: &[Entry]) -> serde_json::Result<Vec<u8>> {
    let stored = |key: &Entry| StoredKey {
        public: key.public.to_jwk(),
        signs_from: key.signs_from.unix_timestamp(),
        unused_since: key.unused_since.map(OffsetDateTime::unix_timestamp),
        wrapped: key.private.as_ref().map(|private| STANDARD.encode(&private.wrapped)),
    };
    let stored = Stored { format: FORMAT, keys: keys.iter().map(stored).collect() };
    serde_json::to_vec(&stored)
}
