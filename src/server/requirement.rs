//! The scope requirements of API routes: the part of `require` that all web framework adapters share.

use std::sync::Arc;

use super::{AuthorizationServer, Resource};
use crate::bearer::{self, Access, Api, BearerError};
use crate::cors::{PREFLIGHT, is_preflight, preflight};
use crate::http::{Request, Response};
use crate::resource_server::ResourceServer;
use crate::scope::Scope;

/// The checker of an API's access tokens, which `require` of an adapter takes. It is made from a reference to an
/// [`AuthorizationServer`] in the same process, to one of its [resources](Resource), or to a [`ResourceServer`], which
/// asks a server in another process.
#[derive(Debug, Clone)]
pub struct BearerCheck(Checker);

#[derive(Debug, Clone)]
enum Checker {
    Own(AuthorizationServer),
    Resource(Resource),
    Separate(ResourceServer),
}

impl From<&AuthorizationServer> for BearerCheck {
    fn from(server: &AuthorizationServer) -> Self {
        Self(Checker::Own(server.clone()))
    }
}

impl From<&Resource> for BearerCheck {
    fn from(resource: &Resource) -> Self {
        Self(Checker::Resource(resource.clone()))
    }
}

impl From<&ResourceServer> for BearerCheck {
    fn from(api: &ResourceServer) -> Self {
        Self(Checker::Separate(api.clone()))
    }
}

/// The scope that requests need, and whether scripts of any origin may send them.
#[derive(Debug, Clone)]
pub(crate) struct Requirement {
    /// Shared, because each request gets a copy in its future.
    required: Arc<(Checker, Scope)>,
    pub(crate) any_origin: bool,
}

impl Requirement {
    /// # Panics
    /// See the `require` of an adapter.
    #[expect(clippy::panic, reason = "a router with this mistake must not start")]
    pub(crate) fn new<T: AsRef<str>>(check: impl Into<BearerCheck>, scopes: impl IntoIterator<Item = T>) -> Self {
        let BearerCheck(check) = check.into();
        let mut required = String::new();
        for scope in scopes {
            if !required.is_empty() {
                required.push(' ');
            }
            required.push_str(scope.as_ref());
        }
        let Ok(scope) = Scope::parse(&required) else {
            panic!("`require` needs one or more scopes, but {required:?} is not a list of scopes");
        };
        let api = match &check {
            Checker::Own(server) => Some((server, Api::default_of(&server.inner.server))),
            Checker::Resource(resource) => Some((resource.server(), resource.api())),
            Checker::Separate(_) => None,
        };
        if let Some((server, api)) = api {
            assert!(
                api.can_have_tokens(),
                "`require` has the server, which has resources but no default one: give it one of the resources"
            );
            let declared = server.inner.server.scopes.all();
            if let Some(unknown) = scope.iter().find(|token| !declared.contains(token)) {
                panic!(
                    "`require` names the scope {unknown:?}, which the server does not offer: declare it with \
                     `Builder::scope`"
                );
            }
            let of_resource = api.resource().and_then(|resource| resource.scope.as_ref());
            if let Some(foreign) = scope.iter().find(|token| of_resource.is_some_and(|own| !own.contains(token))) {
                panic!(
                    "`require` names the scope {foreign:?}, which the resource does not declare: add it to \
                     `ProtectedResource::scope`"
                );
            }
        }
        Self { required: Arc::new((check, scope)), any_origin: false }
    }

    /// Returns whether the check reads the header of this name. `name` is in lower case.
    pub(crate) fn reads_header(name: &str) -> bool {
        bearer::reads_header(name) || PREFLIGHT.contains(&name)
    }

    /// Answers a preflight request if scripts of any origin may use the routes.
    pub(crate) fn preflight(&self, request: &Request) -> Option<Response> {
        (self.any_origin && is_preflight(request)).then(|| preflight("*"))
    }

    /// Checks the access token of a request. `outer` is the scope that outer `require` layers need. The challenge names
    /// both scopes together, because clients request exactly the scope of the last challenge.
    pub(crate) async fn check(&self, request: &Request, outer: Option<Scope>) -> Result<Access, BearerError> {
        let (check, scope) = &*self.required;
        let checked = match check {
            Checker::Own(server) => server.bearer(request).await,
            Checker::Resource(resource) => resource.bearer(request).await,
            // Boxed to keep the future of the common case small.
            Checker::Separate(api) => Box::pin(api.bearer(request)).await,
        };
        let opened = checked.and_then(|token| token.require(scope.as_str()));
        let all = outer.map_or_else(|| scope.clone(), |outer| outer.union(scope));
        match opened {
            Ok(access) => Ok(access.with_required(all)),
            Err(error) => Err(error.with_required(all)),
        }
    }
}

/// The error of a handler that extracts an [`Access`] on a route without `require`. No token was checked, so the
/// request gets 500.
///
/// With the feature `tracing`, the error is also logged.
#[derive(Debug, thiserror::Error)]
#[error("a handler extracts an Access on a route without `require`: add `require` to the route to check access tokens")]
#[non_exhaustive]
pub struct MissingRequire;

impl MissingRequire {
    pub(crate) fn of(path: &str) -> Self {
        crate::span::log_mistake(&Self, path);
        Self
    }
}
