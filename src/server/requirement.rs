//! What routes of the host's own API require: the part of the adapters' `require` that is the same in each web framework.

use std::sync::Arc;

use super::AuthorizationServer;
use crate::bearer::{self, Access, BearerError};
use crate::cors::{PREFLIGHT, is_preflight, preflight};
use crate::http::{Request, Response};
use crate::resource_server::ResourceServer;
use crate::scope::Scope;

/// The checker of the tokens of an API: an [`AuthorizationServer`] in the same process, or a [`ResourceServer`], which asks one in another
/// process. `require` of an adapter takes a reference to either.
#[derive(Debug, Clone)]
pub struct BearerCheck(Checker);

#[derive(Debug, Clone)]
enum Checker {
    Own(AuthorizationServer),
    Separate(ResourceServer),
}

impl From<&AuthorizationServer> for BearerCheck {
    fn from(server: &AuthorizationServer) -> Self {
        Self(Checker::Own(server.clone()))
    }
}

impl From<&ResourceServer> for BearerCheck {
    fn from(api: &ResourceServer) -> Self {
        Self(Checker::Separate(api.clone()))
    }
}

/// A scope that requests must have, and whether scripts of any origin may send them.
#[derive(Debug, Clone)]
pub(crate) struct Requirement {
    /// Behind one pointer, because each request gets a copy, which makes its future larger.
    required: Arc<(Checker, Scope)>,
    pub(crate) any_origin: bool,
}

impl Requirement {
    /// # Panics
    /// See the `require` of an adapter.
    #[expect(clippy::panic, reason = "a router with such a mistake is not to be served")]
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
            panic!("`require` needs one or more scopes, and {required:?} is not a list of scopes");
        };
        if let Checker::Own(server) = &check {
            let declared = server.inner.server.scopes.all();
            if let Some(unknown) = scope.iter().find(|token| !declared.contains(token)) {
                panic!(
                    "`require` names the scope {unknown:?}, which the server does not offer: declare it by `Builder::scope`"
                );
            }
        }
        Self { required: Arc::new((check, scope)), any_origin: false }
    }

    /// Whether it reads a header of this name, which is in lower case.
    pub(crate) fn reads_header(name: &str) -> bool {
        bearer::reads_header(name) || PREFLIGHT.contains(&name)
    }

    /// Answers a preflight, if scripts of any origin may use the routes.
    pub(crate) fn preflight(&self, request: &Request) -> Option<Response> {
        (self.any_origin && is_preflight(request)).then(|| preflight("*"))
    }

    /// Opens the token of a request. `outer` is what requirements around this one require: the challenge then names all of it,
    /// because clients ask for the scope of the last challenge and nothing else.
    pub(crate) async fn check(&self, request: &Request, outer: Option<Scope>) -> Result<Access, BearerError> {
        let (check, scope) = &*self.required;
        let checked = match check {
            Checker::Own(server) => server.bearer(request).await,
            // In a box, so that it does not make the future of the other arm larger.
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

/// The mistake of a handler that extracts an [`Access`] on a route without `require`. The request is refused by 500, because nothing has checked it.
///
/// With the feature `tracing` it is also logged as an error.
#[derive(Debug, thiserror::Error)]
#[error("a handler extracts an Access, but no `require` is around its route: nothing has checked the access token")]
#[non_exhaustive]
pub struct MissingRequire;

impl MissingRequire {
    pub(crate) fn of(path: &str) -> Self {
        crate::span::log_mistake(&Self, path);
        Self
    }
}
