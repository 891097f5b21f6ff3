//! [`ClientVersion`]: the version of a registration, for updates by compare and swap.

use std::fmt;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::Client;
use crate::record::InvalidId;
use crate::text_form::from_text;

/// The version of a [`Client`], an opaque value. Two registrations have equal versions exactly if all their members are
/// equal.
///
/// [`ClientRegistry::update`](crate::ClientRegistry::update) takes the version that the caller has read, and changes
/// nothing if the client has another version. Its text has 43 characters of base64url, so it fits into a form field or
/// an `ETag`. It is not secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientVersion([u8; 32]);

impl Client {
    /// Computes the version of this registration.
    #[must_use]
    pub fn version(&self) -> ClientVersion {
        // Every value of a registration can be serialized.
        let registration = serde_json::to_value(self.parts()).unwrap_or_default();
        let mut members: Vec<_> = registration.as_object().into_iter().flatten().collect();
        // The order of members is irrelevant, and a newer version may write them in another order.
        members.sort_unstable_by_key(|(name, _)| *name);
        let mut digest = Sha256::new();
        for (name, value) in members {
            for text in [name, &value.to_string()] {
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
        }
        ClientVersion(digest.finalize().into())
    }
}

impl fmt::Display for ClientVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &URL_SAFE_NO_PAD).fmt(f)
    }
}

impl fmt::Debug for ClientVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientVersion({self})")
    }
}

impl ClientVersion {
    fn parse(text: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(InvalidId),
        }
    }
}

from_text!(ClientVersion, InvalidId, ClientVersion::parse);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::{ClientCredential, ClientParts};
    use crate::secret::{ClientSecret, SecretDigest};

    fn read(members: &serde_json::Value) -> Client {
        Client::from_parts(ClientParts::from_stored(&members.to_string()).unwrap()).unwrap()
    }

    #[test]
    fn client_version_changes_with_any_member() {
        let secret = ClientCredential::secret(&ClientSecret::new("s3cr3t"));
        let client = Client::confidential("app", secret).client_credentials().build().unwrap();
        assert_eq!(client.version(), client.clone().version());
        let stored = serde_json::to_value(&client).unwrap();
        assert_eq!(read(&stored).version(), client.version(), "what was stored is the same client");
        for (name, value) in [
            ("name", json!("App")),
            ("resource_server", json!(true)),
            ("credentials", json!([{ "type": "secret", "digest": SecretDigest::from_bytes([7; 32]) }])),
            ("later", json!(1)),
            ("crit", json!(["scope"])),
        ] {
            let mut changed = stored.clone();
            changed[name] = value;
            assert_ne!(read(&changed).version(), client.version(), "{name}");
        }
    }

    #[test]
    fn client_version_survives_its_text_form() {
        let version = Client::public("app").authorization_code(["https://app.example/cb"]).build().unwrap().version();
        assert_eq!((version.to_string().len(), version.to_string().parse()), (43, Ok(version)));
        for text in ["", "x", &format!("{version}A"), &format!("{version}=")] {
            assert_eq!(text.parse::<ClientVersion>(), Err(InvalidId), "{text}");
        }
    }
}
