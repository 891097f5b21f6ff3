//! The form of a consent page, which decides once.

use time::{Duration, OffsetDateTime};

use super::codec::{Reader, put};
use crate::env::in_microseconds;
use crate::error::{Error, Refusal};
use crate::server_context::ServerContext;
use crate::storage::ephemeral::{EphemeralKey, Inserted, Namespace};

/// The use of the ephemeral store that the forms belong to.
const NAMESPACE: Namespace = Namespace::from_static("consent_form");

/// A used form is remembered so much longer than it can be submitted, because the clocks of nodes differ.
const CLOCK_DIFFERENCE: Duration = Duration::hours(1);

/// Tells a form from any other, of equal requests too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    id: [u8; 16],
    /// It keeps its end when the application shows it again, so that a used form is remembered for as long as it can come back.
    good_until: OffsetDateTime,
}

impl Form {
    /// A form that can be submitted from now on.
    pub(super) fn new(server: &ServerContext) -> Result<Self, Error> {
        let good_until = server.now().saturating_add(server.policy.consent_lifetime);
        Ok(Self { id: *server.random()?, good_until })
    }

    /// Whether it can still be submitted. Its last second counts whole.
    pub(super) const fn is_good(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() <= self.good_until.unix_timestamp()
    }

    /// Takes note that the user decides by this form. Of many decisions one gets through, and none if the store fails.
    pub(super) async fn use_up(&self, server: &ServerContext, now: OffsetDateTime) -> Result<(), Error> {
        let key = EphemeralKey::new(&server.issuer, NAMESPACE, &self.id);
        let expires_at = in_microseconds(self.good_until.max(now).saturating_add(CLOCK_DIFFERENCE));
        match server.ephemeral.insert(&key, &[], expires_at, now).await? {
            Inserted::New(_) => Ok(()),
            Inserted::Taken => Err(Refusal::UsedFormToken.into()),
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        put(bytes, &self.id);
        put(bytes, &self.good_until.unix_timestamp().to_be_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let id = reader.array()?;
        let good_until = OffsetDateTime::from_unix_timestamp(i64::from_be_bytes(reader.array()?)).ok()?;
        Some(Self { id, good_until })
    }
}
