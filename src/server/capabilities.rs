//! The capabilities of a server: builder methods to add them, and checks that they do not conflict.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Builder;
use super::checks::check_endpoint;
use crate::build_error::BuildError;
use crate::capability::{BuildView, Capability, Endpoint};

impl Builder {
    /// Adds a [`Capability`]: an optional part that adds endpoints, metadata and authorization parameters. Default:
    /// none.
    pub fn capability(mut self, capability: impl Capability + 'static) -> Self {
        self.capabilities.push(Arc::new(capability));
        self
    }
}

#[cfg(feature = "jwt")]
impl Builder {
    /// Sets the signing keys: see [`SigningKeys`](crate::SigningKeys). Default: none; the server signs nothing.
    pub fn signing_keys(mut self, keys: crate::jwks::SigningKeys) -> Self {
        self.signing_keys = Some(keys.clone());
        self.capability(keys)
    }

    /// Accepts what clients sign: see [`ClientSignatures`](crate::ClientSignatures). Default: nothing; clients
    /// authenticate with secrets only.
    pub fn client_signatures(mut self, signatures: crate::client_signatures::ClientSignatures) -> Self {
        self.client_signatures = Some(signatures);
        self
    }
}

/// The endpoints, metadata and parameters that all capabilities together add to a server.
pub(super) struct Additions {
    pub(super) endpoints: Vec<(Endpoint, Arc<dyn Capability>)>,
    pub(super) metadata: Map<String, Value>,
    pub(super) authorization_parameters: Vec<&'static str>,
}

/// Sorts capabilities by name, so that the order of the builder calls does not matter. Rejects duplicates.
pub(super) fn sort(capabilities: &mut [Arc<dyn Capability>]) -> Result<(), BuildError> {
    capabilities.sort_by_key(Capability::name);
    match capabilities.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
        Some(pair) => Err(BuildError::capability(pair[0].name(), "it was added twice: add it once")),
        None => Ok(()),
    }
}

/// Lets each capability check itself, and collects their additions.
pub(super) fn collect(capabilities: &[Arc<dyn Capability>], build: &BuildView<'_>) -> Result<Additions, BuildError> {
    capabilities.iter().try_for_each(|capability| capability.check(build))?;
    let mut additions = Additions { endpoints: Vec::new(), metadata: Map::new(), authorization_parameters: Vec::new() };
    for capability in capabilities {
        for endpoint in capability.endpoints(build) {
            check_endpoint(&endpoint.url)?;
            if !endpoint.methods.is_none_or(are_methods) {
                let problem =
                    format!("the methods of its endpoint {} are invalid: use a list like \"GET, POST\"", endpoint.name);
                return Err(BuildError::capability(capability.name(), problem));
            }
            additions.endpoints.push((endpoint, Arc::clone(capability)));
        }
        additions.authorization_parameters.extend(capability.authorization_parameters(build));
        for (name, value) in capability.metadata(build) {
            if additions.metadata.contains_key(&name) {
                return Err(BuildError::MetadataMember(name));
            }
            additions.metadata.insert(name, value);
        }
    }
    Ok(additions)
}

/// Checks that a text is a valid [`Endpoint::methods`]. It accepts upper case only, like all registered methods
/// (RFC 9110 §16.1.1).
fn are_methods(allow: &str) -> bool {
    let is_method = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    allow.split(", ").all(is_method)
}
