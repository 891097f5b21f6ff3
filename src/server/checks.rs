//! The checks of settings that need only these settings.

use std::sync::Arc;

use url::Url;

use crate::authorize::is_known_parameter;
use crate::build_error::BuildError;
use crate::client::auth::PARAMETERS_ABOUT_A_TOKEN;
use crate::grant_type::GrantHandler;
use crate::metadata::{EndpointUrls, path_of};
use crate::params::is_parameter_name;
use crate::policy::Policy;
use crate::record::GrantType;
use crate::scope::{Catalogue, Scope};
use crate::server_context::ServerContext;
use crate::token::TokenEndpoint;
use crate::web_url::{WebUrl, is_served_securely};

pub(super) fn check_issuer(issuer: &str) -> Result<(), BuildError> {
    let fits = is_served_securely(issuer) && !issuer.contains('?');
    if fits { Ok(()) } else { Err(BuildError::Issuer(issuer.to_owned())) }
}

pub(super) fn check_fetches(policy: &Policy, issuer: &str) -> Result<(), BuildError> {
    let is_on_loopback = |url: WebUrl<'_>| url.is_loopback_address() || url.is_localhost();
    let fits = !policy.fetch.allow_loopback_for_development || WebUrl::parse(issuer).is_ok_and(is_on_loopback);
    if fits { Ok(()) } else { Err(BuildError::LoopbackFetches) }
}

/// Allows only characters that need no percent-encoding: the prefix is compared with request lines byte by byte.
pub(super) fn check_prefix(prefix: &str) -> Result<(), BuildError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    let fits = match prefix.strip_prefix('/') {
        Some(path) => path.split('/').all(is_segment) && path.split('/').next() != Some(".well-known"),
        None => prefix.is_empty(),
    };
    if fits { Ok(()) } else { Err(BuildError::EndpointPrefix(prefix.to_owned())) }
}

pub(super) fn check_endpoint(url: &str) -> Result<(), BuildError> {
    // A browser would read a return target that begins with two slashes as a URL of another host.
    let is_path = !path_of(url).starts_with("//");
    if is_served_securely(url) && is_path { Ok(()) } else { Err(BuildError::Endpoint(url.to_owned())) }
}

pub(super) fn check_request_objects(server: &ServerContext) -> Result<(), BuildError> {
    let fits = !server.policy.require_signed_request_object || server.accepts_request_objects();
    if fits { Ok(()) } else { Err(BuildError::RequestObjectsNotAccepted) }
}

/// Rejects endpoint URLs whose query has a parameter of the endpoint's requests, because every request would be refused
/// for it (RFC 6749 §3.1, §3.2). `declared` lists the additional authorization parameters.
pub(super) fn check_queries(
    urls: &EndpointUrls,
    token: &TokenEndpoint,
    declared: &[&'static str],
) -> Result<(), BuildError> {
    let has = |url: &String, is_taken: &dyn Fn(&str) -> bool| {
        Url::parse(url).is_ok_and(|url| url.query_pairs().any(|(name, _)| is_taken(&name)))
    };
    let of_token = |name: &str| token.knows(name) || PARAMETERS_ABOUT_A_TOKEN.contains(&name);
    let of_authorization = |name: &str| is_known_parameter(name) || declared.contains(&name);
    let mut with_form = [&urls.token].into_iter().chain(&urls.revocation).chain(&urls.introspection);
    let wrong = with_form.find(|url| has(url, &of_token));
    match wrong.or_else(|| urls.authorization.as_ref().filter(|url| has(url, &of_authorization))) {
        Some(url) => Err(BuildError::EndpointQuery(url.clone())),
        None => Ok(()),
    }
}

pub(super) fn catalogue(declared: &[(String, Arc<str>)], default: Option<&str>) -> Result<Catalogue, BuildError> {
    let mut entries: Vec<(Scope, Arc<str>)> = Vec::with_capacity(declared.len());
    for (token, description) in declared {
        let scope = Scope::parse(token).ok().filter(|_| !token.contains(' '));
        let scope = scope.ok_or_else(|| BuildError::ScopeToken(token.clone()))?;
        if entries.iter().any(|(other, _)| *other == scope) {
            return Err(BuildError::RepeatedScope(token.clone()));
        }
        entries.push((scope, Arc::clone(description)));
    }
    let wrong_default = || BuildError::DefaultScope(default.unwrap_or_default().to_owned());
    let default_scope = default.map(Scope::parse).transpose().map_err(|_| wrong_default())?;
    let catalogue = Catalogue::new(entries, default_scope).ok_or(BuildError::NoScope)?;
    match catalogue.default_scope() {
        Some(scope) if !scope.is_subset(catalogue.all()) => Err(wrong_default()),
        _ => Ok(catalogue),
    }
}

pub(super) fn with_includes(catalogue: Catalogue, includes: &[(String, String)]) -> Result<Catalogue, BuildError> {
    let declared = |token: &String| {
        let scope = Scope::parse(token).ok().filter(|scope| !token.contains(' ') && scope.is_subset(catalogue.all()));
        scope.ok_or_else(|| BuildError::IncludedScope(token.clone()))
    };
    let pair = |(broader, narrower): &(String, String)| Ok((declared(broader)?, declared(narrower)?));
    let pairs = includes.iter().map(pair).collect::<Result<Vec<_>, BuildError>>()?;
    catalogue.with_includes(&pairs).map_err(|token| BuildError::ScopeCycle(token.as_str().to_owned()))
}

pub(super) fn check_extensions(extensions: &[Box<dyn GrantHandler>]) -> Result<(), BuildError> {
    let mut seen: Vec<&GrantType> = Vec::with_capacity(extensions.len());
    for handler in extensions {
        let name = handler.grant_type();
        if name.is_built_in() || seen.contains(&name) {
            return Err(BuildError::Extension(name.to_string()));
        }
        seen.push(name);
        if let Some(wrong) = handler.parameters().iter().find(|name| !is_parameter_name(name)) {
            return Err(BuildError::ParameterName(wrong));
        }
    }
    Ok(())
}

pub(super) fn check_parameters(declared: &[&'static str]) -> Result<(), BuildError> {
    for (at, name) in declared.iter().enumerate() {
        if !is_parameter_name(name) {
            return Err(BuildError::ParameterName(name));
        }
        if is_known_parameter(name) || declared[..at].contains(name) {
            return Err(BuildError::KnownParameter(name));
        }
    }
    Ok(())
}
