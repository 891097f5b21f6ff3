//! The call of the token customizer, and the checks of its changes.

use serde_json::{Map, Value};
use time::Duration;

use crate::customizer::{Issuance, IssuanceKind, TokenChanges, check_members, drop_members};
use crate::error::Error;
use crate::event::EventKind;
use crate::record::GrantType;
use crate::scope::Scope;
use crate::server_context::ServerContext;

/// The values for the new tokens after the customizer's changes.
pub(super) struct Customized {
    pub(super) scope: Scope,
    pub(super) access_token_lifetime: Duration,
    /// Members to add to the response. None has the name of an existing member.
    pub(super) members: Map<String, Value>,
    /// Claims to add to a signed access token.
    pub(super) claims: Map<String, Value>,
}

/// Calls the customizer, if there is one. `taken` are the members that the response already has.
pub(super) async fn customize(
    server: &ServerContext,
    issuance: &Issuance<'_>,
    taken: &Map<String, Value>,
) -> Result<Customized, Error> {
    let Some(customizer) = &server.customizer else {
        let (scope, access_token_lifetime) = (issuance.scope.clone(), issuance.access_token_lifetime);
        return Ok(Customized { scope, access_token_lifetime, members: Map::new(), claims: Map::new() });
    };
    let changes = customizer.issuance(issuance).await?;
    let TokenChanges { scope, access_token_lifetime, response_members: mut members, mut claims } = changes;
    let resource = issuance.resource.and_then(|identifier| server.resources.find(identifier));
    if server.format_of_new_tokens(resource.map(|resource| &**resource)).is_none() {
        claims.clear();
    }
    let scope = scope.unwrap_or_else(|| issuance.scope.clone());
    if !scope.is_subset(issuance.scope) {
        return Err(Error::Misuse("a token customizer widened the scope: it may only narrow it"));
    }
    let access_token_lifetime = access_token_lifetime.unwrap_or(issuance.access_token_lifetime);
    if access_token_lifetime > issuance.access_token_lifetime {
        return Err(Error::Misuse("a token customizer lengthened the access token lifetime: it may only shorten it"));
    }
    if access_token_lifetime < Duration::SECOND {
        return Err(Error::Misuse(
            "a token customizer set an access token lifetime below one second: set a longer one",
        ));
    }
    let client_id = issuance.client.id();
    // The token of a machine must not look like that of a user (RFC 9700 §4.15), and introspection returns the claims.
    let is_machine = issuance.subject().is_none();
    let dropped = [
        drop_members(&mut members, |name| taken.contains_key(name)),
        drop_members(&mut claims, |name| is_machine && name == "username"),
    ];
    for member in dropped.iter().flatten() {
        server.observe_from(issuance.peer, issuance.now, EventKind::CustomizerMemberDropped { client_id, member });
    }
    check_members(&members)?;
    check_members(&claims)?;
    Ok(Customized { scope, access_token_lifetime, members, claims })
}

/// Returns the kind of issuance for the first tokens of a grant.
pub(super) fn kind_of(grant_type: &GrantType) -> IssuanceKind {
    match grant_type.as_str() {
        GrantType::CLIENT_CREDENTIALS => IssuanceKind::ClientCredentials,
        GrantType::PASSWORD => IssuanceKind::Password,
        GrantType::IMPLICIT => IssuanceKind::Implicit,
        _ => IssuanceKind::Extension,
    }
}
