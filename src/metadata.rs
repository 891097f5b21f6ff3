//! Authorization server metadata (RFC 8414): a document that is derived from the settings of the server.

use serde_json::{Map, Value, json};
use url::Url;

use crate::client::AuthenticationMethod;
use crate::error::{Error, Refusal};
use crate::http::{Request, Response};
use crate::record::GrantType;
use crate::server_context::ServerContext;
use crate::token::refuse;

/// The URLs of the endpoints for clients. A query in a URL is kept (RFC 6749 §3.1).
///
/// # Defaults
/// The issuer, followed by the [prefix](crate::Builder::endpoint_prefix) if there is one, followed by `/authorize`,
/// `/token`, `/revoke` and `/introspect`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointUrls {
    /// The authorization endpoint, or `None` on a server for machines without users. Such a server has no route for the
    /// endpoint, does not support the grant types that need it, and does not mention it in its metadata (RFC 8414 §2).
    pub authorization: Option<String>,
    /// The token endpoint.
    pub token: String,
    /// The revocation endpoint (RFC 7009), or `None` if the server has none.
    pub revocation: Option<String>,
    /// The introspection endpoint (RFC 7662), or `None` if the server has none.
    pub introspection: Option<String>,
}

impl EndpointUrls {
    /// Returns the defaults. The prefix is empty or begins with a slash.
    pub(crate) fn under(issuer: &str, prefix: &str) -> Self {
        let at = |path: &str| format!("{}{prefix}{path}", issuer.trim_end_matches('/'));
        Self {
            authorization: Some(at("/authorize")),
            token: at("/token"),
            revocation: Some(at("/revoke")),
            introspection: Some(at("/introspect")),
        }
    }

    /// Returns all URLs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &String> {
        [&self.token].into_iter().chain(&self.authorization).chain(&self.revocation).chain(&self.introspection)
    }
}

/// Returns the path of an endpoint. The builder has checked every URL.
pub(crate) fn path_of(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "/".to_owned(), |url| url.path().to_owned())
}

/// A public JSON document at a well-known path.
#[derive(Debug)]
pub(crate) struct Document {
    target: Box<str>,
    members: Map<String, Value>,
    json: Vec<u8>,
}

impl Document {
    /// Adds the members of the host app to those of the library. `Err` names a member that the host app may not set.
    pub(crate) fn new(
        target: String,
        mut members: Map<String, Value>,
        reserved: &[&str],
        extra: Map<String, Value>,
    ) -> Result<Self, String> {
        add(&mut members, reserved, extra)?;
        let json = Value::Object(members.clone()).to_string().into_bytes();
        Ok(Self { target: target.into(), members, json })
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    pub(crate) const fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// Answers an HTTP request. The path must be that of the identifier (RFC 8414 §3.2). If the identifier has a query,
    /// the query must be the same, too.
    pub(crate) fn respond(&self, server: &ServerContext, request: &Request) -> Response {
        let asked = if self.target.contains('?') { request.target() } else { request.path() };
        if asked != &*self.target {
            return Response::new(404);
        }
        match request.method() {
            "GET" | "HEAD" => Response::public_json(self.json.clone()),
            _ => refuse(&Error::from(Refusal::MethodNotAllowed("GET, HEAD")), &server.issuer),
        }
    }
}

/// Adds members. `Err` names a member that exists already or is reserved.
fn add(members: &mut Map<String, Value>, reserved: &[&str], more: Map<String, Value>) -> Result<(), String> {
    for (name, value) in more {
        if reserved.contains(&name.as_str()) || members.contains_key(&name) {
            return Err(name);
        }
        // An empty list must be left out (RFC 8414 §3.2, RFC 9728 §3.2).
        if !value.is_null() && value.as_array().is_none_or(|values| !values.is_empty()) {
            members.insert(name, value);
        }
    }
    Ok(())
}

/// Returns the document that describes a server. It has the members of the server, of its capabilities, and of the host
/// app. `Err` names a member that is set twice or reserved.
pub(crate) fn document(
    server: &ServerContext,
    mut members: Map<String, Value>,
    of_capabilities: Map<String, Value>,
    extra: Map<String, Value>,
) -> Result<Document, String> {
    add(&mut members, &RESERVED, of_capabilities)?;
    let target = well_known_target("oauth-authorization-server", &server.issuer);
    Document::new(target, members, &RESERVED, extra)
}

/// Members that the host app can't set, because their absence has a meaning.
const RESERVED: [&str; 19] = [
    // Absent on a server without these endpoints.
    "authorization_endpoint",
    "response_types_supported",
    "response_modes_supported",
    "code_challenge_methods_supported",
    "authorization_response_iss_parameter_supported",
    "request_parameter_supported",
    "request_uri_parameter_supported",
    "revocation_endpoint",
    "revocation_endpoint_auth_methods_supported",
    "introspection_endpoint",
    "introspection_endpoint_auth_methods_supported",
    // Absent on a server without `ClientSignatures`.
    "token_endpoint_auth_signing_alg_values_supported",
    "revocation_endpoint_auth_signing_alg_values_supported",
    "introspection_endpoint_auth_signing_alg_values_supported",
    // The document is not signed.
    "signed_metadata",
    // Absent on a server that accepts no request objects or does not demand them. None are encrypted.
    "request_object_signing_alg_values_supported",
    "request_object_encryption_alg_values_supported",
    "request_object_encryption_enc_values_supported",
    "require_signed_request_object",
];

/// Returns the members that describe the server.
pub(crate) fn describe<'a>(
    server: &ServerContext,
    grant_types: impl Iterator<Item = &'a GrantType>,
    urls: &EndpointUrls,
) -> Map<String, Value> {
    let dangers = server.policy.allowed_dangers();
    let mut grant_types: Vec<&str> = grant_types.map(GrantType::as_str).collect();
    let (mut response_types, mut challenge_methods) = (vec!["code"], vec!["S256"]);
    if dangers.allow_implicit_grant && urls.authorization.is_some() {
        grant_types.push(GrantType::IMPLICIT);
        response_types.push("token");
    }
    if dangers.allow_plain_pkce {
        challenge_methods.push("plain");
    }
    let accepted = AuthenticationMethod::ALL.into_iter().filter(|method| server.accepts(*method));
    let all_methods: Vec<_> = accepted.map(AuthenticationMethod::as_str).collect();
    let with_proof: Vec<_> = all_methods.iter().filter(|name| **name != "none").collect();

    let mut document = Map::new();
    let mut insert = |name: &str, value: Value| document.insert(name.to_owned(), value);
    insert("issuer", json!(&*server.issuer));
    // Without the endpoint, the required list of response types would be empty, and must be left out (RFC 8414 §3.2).
    if let Some(url) = &urls.authorization {
        insert("authorization_endpoint", json!(url));
        insert("response_types_supported", json!(response_types));
        insert("response_modes_supported", json!(["query", "fragment"]));
        insert("code_challenge_methods_supported", json!(challenge_methods));
        insert("authorization_response_iss_parameter_supported", json!(true));
        insert("request_parameter_supported", json!(server.accepts_request_objects()));
        // The default of OpenID Connect Discovery §3 is true.
        insert("request_uri_parameter_supported", json!(false));
        #[cfg(feature = "jwt")]
        if let Some(signatures) = server.request_objects() {
            insert("request_object_signing_alg_values_supported", json!(signatures.accepted()));
        }
        if server.policy.require_signed_request_object {
            insert("require_signed_request_object", json!(true));
        }
    }
    insert("token_endpoint", json!(urls.token));
    insert("scopes_supported", server.scopes.all().iter().collect());
    insert("grant_types_supported", json!(grant_types));
    insert("token_endpoint_auth_methods_supported", json!(all_methods));
    if let Some(url) = &urls.revocation {
        insert("revocation_endpoint", json!(url));
        insert("revocation_endpoint_auth_methods_supported", json!(all_methods));
    }
    if let Some(url) = &urls.introspection {
        insert("introspection_endpoint", json!(url));
        insert("introspection_endpoint_auth_methods_supported", json!(with_proof));
    }
    #[cfg(feature = "jwt")]
    if let Some(signatures) = &server.client_signatures {
        for (endpoint, is_served) in [
            ("token", true),
            ("revocation", urls.revocation.is_some()),
            ("introspection", urls.introspection.is_some()),
        ] {
            if is_served {
                let name = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
                insert(&name, json!(signatures.accepted()));
            }
        }
    }
    let resources: Vec<&str> = server.resources.all().iter().map(|own| &*own.identifier).collect();
    if !resources.is_empty() {
        insert("protected_resources", json!(resources));
    }
    document
}

/// Returns the well-known path of a document, followed by the path and query of the identifier (RFC 8414 §3.1, RFC 9728
/// §3.1).
pub(crate) fn well_known_target(name: &str, identifier: &str) -> String {
    let own = Url::parse(identifier).map(|url| {
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", url.path().strip_suffix('/').unwrap_or(url.path()))
    });
    format!("/.well-known/{name}{}", own.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: MD-02 (RFC 8414 §3.1), MD-03, RM-01 (RFC 9728 §3.1)
    #[test]
    fn well_known_path_is_between_host_and_path() {
        for (identifier, target) in [
            ("https://id.example", "/.well-known/x"),
            ("https://id.example/", "/.well-known/x"),
            ("https://id.example/t1", "/.well-known/x/t1"),
            ("https://id.example/t1/", "/.well-known/x/t1"),
            ("https://id.example/a/b", "/.well-known/x/a/b"),
            ("https://id.example?k=v", "/.well-known/x?k=v"),
            ("https://id.example/?k=v/", "/.well-known/x?k=v/"),
            ("https://id.example/a?k=v", "/.well-known/x/a?k=v"),
        ] {
            assert_eq!(well_known_target("x", identifier), target);
        }
    }
}
