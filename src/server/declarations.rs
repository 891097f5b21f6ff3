//! The checks of all resources that a builder was given.

use std::sync::Arc;

use url::{Position, Url};

use super::OwnResource;
use crate::api_context::ApiContext;
use crate::build_error::BuildError;
use crate::protected_resource::ProtectedResource;
use crate::resource::{DeclaredResource, Resources, is_same};
use crate::scope::Catalogue;
use crate::server_context::ServerContext;
use crate::web_url::is_served_securely;

/// The declared resources, ordered by their identifiers, so that the order of builder calls does not matter.
pub(super) struct Declarations(Vec<Declaration>);

struct Declaration {
    resource: ProtectedResource,
    is_default: bool,
}

impl Declarations {
    /// Checks the identifiers.
    pub(super) fn new(default: Option<ProtectedResource>, others: Vec<ProtectedResource>) -> Result<Self, BuildError> {
        let mut all: Vec<Declaration> =
            default.into_iter().map(|resource| Declaration { resource, is_default: true }).collect();
        all.extend(others.into_iter().map(|resource| Declaration { resource, is_default: false }));
        all.sort_by(|one, other| one.resource.identifier().cmp(other.resource.identifier()));
        let identifiers: Vec<&str> = all.iter().flat_map(|own| own.resource.identifiers()).collect();
        for (at, identifier) in identifiers.iter().enumerate() {
            if !is_served_securely(identifier) {
                return Err(BuildError::Resource((*identifier).to_owned()));
            }
            if identifiers[..at].iter().any(|other| is_same(other, identifier)) {
                return Err(BuildError::RepeatedResource((*identifier).to_owned()));
            }
        }
        Ok(Self(all))
    }

    #[cfg(feature = "jwt")]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the settings. `can_sign` says whether the server can sign access tokens.
    pub(super) fn declare(
        &self,
        scopes: &Catalogue,
        api: &ApiContext,
        can_sign: bool,
    ) -> Result<Resources, BuildError> {
        let mut found: Vec<Arc<DeclaredResource>> = Vec::with_capacity(self.0.len());
        for Declaration { resource, .. } in &self.0 {
            let declared = resource.declare(scopes, api)?;
            let problem = |problem| {
                let identifier = declared.identifier.to_string();
                Err(BuildError::ResourceSetting { identifier, problem })
            };
            if declared.signed == Some(true) && !can_sign {
                return problem("has signed tokens, but the server has no signing keys: call signing_keys");
            }
            // `/a` and `/a/`, or `/a` and `/a?b`.
            if found.iter().any(|other| document_path(other) == document_path(&declared)) {
                return problem("has its metadata document at the path of another resource: give it another path");
            }
            found.push(Arc::new(declared));
        }
        let default = self.0.iter().zip(&found).find(|(own, _)| own.is_default).map(|(_, own)| Arc::clone(own));
        Ok(Resources::new(found, default))
    }

    /// Makes the metadata documents of the resources of this server, which [`declare`](Self::declare) returned.
    pub(super) fn documents(self, server: &ServerContext) -> Result<Vec<Arc<OwnResource>>, BuildError> {
        let all = self.0.into_iter().zip(server.resources.all()).map(|(own, declared)| {
            let document = own.resource.document(declared, server).map_err(BuildError::MetadataMember)?;
            Ok(Arc::new(OwnResource { declared: Arc::clone(declared), document }))
        });
        all.collect()
    }
}

/// Returns the URL of the document without its query.
fn document_path(resource: &DeclaredResource) -> Option<String> {
    let url = Url::parse(resource.api.resource_metadata.as_deref()?).ok()?;
    Some(url[..Position::AfterPath].to_owned())
}
