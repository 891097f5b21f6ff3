//! The resources of a server: the APIs that its access tokens are for (RFC 8707).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use time::Duration;

use crate::api_context::ApiContext;
use crate::error::Refusal;
use crate::record::{ClientId, Grant};
use crate::scope::Scope;

/// A declared resource.
pub(crate) struct DeclaredResource {
    /// The resource identifier, exactly as the host app set it. It is the audience of the resource's tokens.
    pub(crate) identifier: Arc<str>,
    /// Its earlier identifiers.
    pub(crate) former: Vec<Box<str>>,
    /// The scopes that its tokens may have. `None` means all of them.
    pub(crate) scope: Option<Scope>,
    /// The scopes that its metadata document lists.
    pub(crate) listed: Vec<Box<str>>,
    /// Whether its tokens are signed, if that differs from the setting of the server.
    pub(crate) signed: Option<bool>,
    /// The maximum lifetime of its tokens.
    pub(crate) access_token_lifetime: Option<Duration>,
    /// The resource servers that may introspect its tokens. If it is empty, all of them may, unless the server has
    /// other resources.
    pub(crate) introspected_by: BTreeSet<ClientId>,
    /// The context of its bearer check.
    pub(crate) api: Arc<ApiContext>,
}

/// The declared resources of a server.
pub(crate) struct Resources {
    all: Vec<Arc<DeclaredResource>>,
    /// The resource of grants whose request names none.
    default: Option<Arc<DeclaredResource>>,
}

impl Resources {
    /// The default resource is one of `all`.
    pub(crate) fn new(all: Vec<Arc<DeclaredResource>>, default: Option<Arc<DeclaredResource>>) -> Self {
        Self { all, default }
    }

    pub(crate) fn all(&self) -> &[Arc<DeclaredResource>] {
        &self.all
    }

    pub(crate) const fn default(&self) -> Option<&Arc<DeclaredResource>> {
        self.default.as_ref()
    }

    pub(crate) fn find(&self, identifier: &str) -> Option<&Arc<DeclaredResource>> {
        self.all.iter().find(|own| own.is_named(identifier))
    }

    /// Returns whether a resource server may introspect the tokens of a resource.
    pub(crate) fn may_introspect(&self, caller: &ClientId, resource: &DeclaredResource) -> bool {
        resource.introspected_by.contains(caller) || resource.introspected_by.is_empty() && self.all.len() == 1
    }

    /// Returns the resources of a new grant: those that the request names, or the default. Empty if the server has no
    /// resources; it then ignores the parameter (RFC 8707 §2).
    pub(crate) fn for_grant(&self, named: &[&str]) -> Result<Vec<Arc<DeclaredResource>>, Refusal> {
        if self.all.is_empty() {
            return Ok(Vec::new());
        }
        if named.is_empty() {
            return Ok(vec![Arc::clone(self.default().ok_or(Refusal::MissingResource)?)]);
        }
        let mut found: Vec<Arc<DeclaredResource>> = Vec::with_capacity(named.len().min(self.all.len()));
        for name in named {
            let resource = self.find(name).ok_or(Refusal::UnknownResource)?;
            if !found.iter().any(|own| Arc::ptr_eq(own, resource)) {
                found.push(Arc::clone(resource));
            }
        }
        Ok(found)
    }

    /// Returns the resources of a grant that a token request opens.
    pub(crate) fn for_named(
        &self,
        named: Option<&Arc<DeclaredResource>>,
    ) -> Result<Vec<Arc<DeclaredResource>>, Refusal> {
        named.map_or_else(|| self.for_grant(&[]), |named| Ok(vec![Arc::clone(named)]))
    }

    /// Returns the resource that a token request names. A token has one audience, so it may name one.
    pub(crate) fn named(&self, named: &[&str]) -> Result<Option<Arc<DeclaredResource>>, Refusal> {
        if named.is_empty() {
            return Ok(None);
        }
        let mut found = self.for_grant(named)?.into_iter();
        match (found.next(), found.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(Refusal::SeveralResources),
        }
    }

    /// Returns the resource of a new token of a grant: the named one, which must be one of the grant (RFC 8707 §2.2),
    /// or the first of the grant that the server still has. Never the default, so that a token gives access only to
    /// what the grant is for. If nothing is left of the grant, no request helps, so the client must get a new grant.
    pub(crate) fn of_grant(
        &self,
        grant: &Grant,
        named: Option<&Arc<DeclaredResource>>,
    ) -> Result<Option<Arc<DeclaredResource>>, Refusal> {
        if self.all.is_empty() && grant.details.resources.is_empty() {
            return Ok(None);
        }
        let first = self.left_of(grant).next().ok_or(Refusal::NoResourceLeft)?;
        match named {
            Some(named) if !grant.details.resources.iter().any(|own| named.is_named(own)) => {
                Err(Refusal::ResourceNotGranted)
            }
            named => Ok(Some(Arc::clone(named.unwrap_or(first)))),
        }
    }

    /// Returns the resources of a grant that the server still has.
    pub(crate) fn left_of<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = &'a Arc<DeclaredResource>> {
        grant.details.resources.iter().filter_map(|own| self.find(own))
    }
}

impl DeclaredResource {
    /// Returns whether this is an identifier of the resource, or an earlier one.
    pub(crate) fn is_named(&self, identifier: &str) -> bool {
        is_same(&self.identifier, identifier) || self.former.iter().any(|own| is_same(own, identifier))
    }

    /// Returns the part of a scope that the tokens of this resource may have.
    pub(crate) fn cut(&self, scope: &Scope) -> Result<Scope, Refusal> {
        match &self.scope {
            None => Ok(scope.clone()),
            Some(own) => scope.intersection(own).ok_or(Refusal::NoScopeForResource),
        }
    }
}

/// Returns the part of a scope that is of use at one of the resources, or that no resource declares, such as
/// `offline_access`. Fails if no token with any scope could be issued.
pub(crate) fn usable_scope(
    resources: &Resources,
    of_grant: &[Arc<DeclaredResource>],
    scope: Scope,
) -> Result<Scope, Refusal> {
    if of_grant.iter().any(|own| own.scope.is_none()) || of_grant.is_empty() {
        return Ok(scope);
    }
    let declares = |own: &Arc<DeclaredResource>, token: &str| own.scope.as_ref().is_some_and(|own| own.contains(token));
    if !scope.iter().any(|token| of_grant.iter().any(|own| declares(own, token))) {
        return Err(Refusal::NoScopeForResource);
    }
    let is_of_no_resource =
        |token: &str| token == "offline_access" || !resources.all().iter().any(|own| declares(own, token));
    let is_usable = |token: &str| of_grant.iter().any(|own| declares(own, token)) || is_of_no_resource(token);
    scope.retain(is_usable).ok_or(Refusal::NoScopeForResource)
}

/// Returns whether two resource identifiers are equal. `https://host` and `https://host/` are; everything else is
/// compared character by character.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    without_root(one) == without_root(other)
}

/// Removes the slash of an empty path.
fn without_root(identifier: &str) -> &str {
    let without = identifier.strip_suffix('/');
    let authority = without.and_then(|rest| rest.split_once("://")).map(|(_, authority)| authority);
    let is_root = authority.is_some_and(|authority| !authority.is_empty() && !authority.contains(['/', '?', '#']));
    without.filter(|_| is_root).unwrap_or(identifier)
}

impl fmt::Debug for DeclaredResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeclaredResource({:?})", self.identifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: RI-10 (RFC 8707 §2, RFC 3986 §6.2.3)
    #[test]
    fn only_the_slash_of_an_empty_path_is_ignored() {
        for (one, other) in [
            ("https://api.example", "https://api.example/"),
            ("https://api.example:8443/", "https://api.example:8443"),
            ("http://[::1]:1", "http://[::1]:1/"),
            ("https://api.example/a/", "https://api.example/a/"),
        ] {
            assert!(is_same(one, other) && is_same(other, one), "{one}");
        }
        for (one, other) in [
            ("https://api.example/a", "https://api.example/a/"),
            ("https://api.example", "https://API.example"),
            ("https://api.example", "https://api.example:443"),
            ("https://api.example?", "https://api.example?/"),
            ("https://api.example", "https://api.example//"),
            ("https://", "https:///"),
            ("https://api.example", "http://api.example"),
        ] {
            assert!(!is_same(one, other) && !is_same(other, one), "{one}");
        }
    }
}
