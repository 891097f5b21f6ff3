//! The form of a consent page. It accepts one decision.

use time::{Duration, OffsetDateTime};

use super::codec::{Reader, put};
use crate::env::in_microseconds;
use crate::error::{Error, Refusal};
use crate::server_context::ServerContext;
use crate::storage::ephemeral::{EphemeralKey, Inserted, Namespace};

/// The namespace of the forms in the ephemeral store.
const NAMESPACE: Namespace = Namespace::from_static("consent_form");

/// How long a used form is remembered after its end, because the clocks of nodes differ.
const CLOCK_DIFFERENCE: Duration = Duration::hours(1);

/// The identity of a form. Two forms differ even if their requests are equal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    id: [u8; 16],
    /// The end of its lifetime. It does not change when the host app shows the form again, so that a used form is
    /// remembered for as long as it can be submitted.
    good_until: OffsetDateTime,
}

impl Form {
    /// Returns a new form, with a lifetime that begins now.
    pub(super) fn new(server: &ServerContext) -> Result<Self, Error> {
        let good_until = server.now().saturating_add(server.policy.consent_lifetime);
        Ok(Self { id: *server.random()?, good_until })
    }

    /// Returns whether the form can still be submitted. The last second counts in full.
    pub(super) const fn is_good(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() <= self.good_until.unix_timestamp()
    }

    /// Records that the user decides with this form. Only the first call for a form succeeds. If the store fails, the
    /// call fails.
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
