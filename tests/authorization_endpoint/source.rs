//! The source of the parameters of a request: the query or the body. `tests/signed_requests` runs the same tests with
//! request objects.

pub(crate) use grantor::testing::TestServer;

pub(crate) use crate::common::{confidential, public};

/// Whether requests are signed.
pub(crate) const IS_SIGNED: bool = false;

/// The encoded parameters. `raw` is appended without escapes.
pub(crate) fn encoded(pairs: &[(&str, &str)], raw: &str) -> String {
    crate::common::form(pairs) + raw
}
