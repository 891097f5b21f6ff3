//! The scopes that a client may have, with the consent of a user and without a user.

use super::{Client, RegisteredBy};
use crate::scope::Scope;

/// The scopes that users can consent to for a client.
///
/// It is evaluated at each request against the scopes that the server then offers. A grant keeps the scope that its
/// user agreed to, but each later token has only the scopes that are still allowed. If [no administrator
/// registered](RegisteredBy) the client, [`Policy::self_service_scope`](crate::Policy::self_service_scope) limits each
/// variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "every decision about a client's scope must be taken for all of them")]
pub enum AllowedScope<'a> {
    /// The scopes from this list that the server offers.
    Listed(&'a Scope),
    /// The [default scope](crate::Builder::default_scope) of the server, or no scope if it has none.
    Default,
    /// All scopes that the server offers, including those that are declared later. For a client that no administrator
    /// registered: the scopes of `self_service_scope`, or the default scope of the server if the policy has none.
    AllOffered,
}

impl Client {
    /// Returns the scopes that users can consent to for the client. If you remove a scope, later tokens do not contain
    /// it, not even after a refresh. Existing access tokens keep it until they expire. To end them at once, revoke the
    /// grants of the client.
    #[must_use]
    pub const fn allowed_scope(&self) -> AllowedScope<'_> {
        match &self.parts().scope {
            Some(scope) => AllowedScope::Listed(scope),
            None if self.parts().all_offered_scopes => AllowedScope::AllOffered,
            None => AllowedScope::Default,
        }
    }

    /// Returns the list of scopes that the client can get without a user: by the client credentials grant (RFC 6749
    /// §4.4), or by an extension grant that asks for it.
    ///
    /// With `None`, the scopes depend on who registered the client. If an administrator did, the client can get the
    /// scopes that are [listed](AllowedScope::Listed) for consent. If there is no list, it can get the default scope of
    /// the server, also with [`AllOffered`](AllowedScope::AllOffered): scopes that are declared later are not included,
    /// because no user is asked. Any other client can get no scope.
    #[must_use]
    pub const fn own_scope(&self) -> Option<&Scope> {
        self.parts().own_scope.as_ref()
    }

    /// Returns whether an administrator registered the client. Any other party is untrusted.
    pub(crate) fn is_registered_by_administrator(&self) -> bool {
        self.registered_by() == RegisteredBy::Administrator
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::{ClientCredential, ClientParts};

    fn machine() -> ClientParts {
        let client = Client::confidential("m", ClientCredential::opaque()).client_credentials().own_scope("jobs");
        client.build().unwrap().into_parts()
    }

    #[test]
    fn own_scope_is_critical_while_present() {
        let stored = serde_json::to_value(machine()).unwrap();
        assert_eq!((&stored["own_scope"], &stored["crit"]), (&json!("jobs"), &json!(["own_scope"])));
        // Both readers know the member, and write it once.
        for read in
            [serde_json::from_value(stored.clone()).unwrap(), ClientParts::from_stored(&stored.to_string()).unwrap()]
        {
            assert_eq!((read.unenforced_member(), read.unknown_members().count()), (None, 0));
            assert_eq!(serde_json::to_value(&read).unwrap(), stored);
            let without = ClientParts { own_scope: None, ..read };
            assert_eq!(serde_json::to_value(without).unwrap().get("crit"), None);
        }
        // Critical members of a newer version are kept.
        let mut newer = stored;
        newer["crit"] = json!(["dpop_bound", "own_scope"]);
        newer["dpop_bound"] = json!(true);
        let read = ClientParts::from_stored(&newer.to_string()).unwrap();
        assert_eq!(read.unenforced_member(), Some("dpop_bound"));
        assert_eq!(serde_json::to_value(&read).unwrap()["crit"], json!(["dpop_bound", "own_scope"]));
    }

    #[test]
    fn stored_client_without_new_members_still_reads() {
        let old = json!({ "client_id": "a", "client_type": "public", "grant_types": ["refresh_token"], "scope": null });
        let read = Client::from_parts(ClientParts::from_stored(&old.to_string()).unwrap()).unwrap();
        assert_eq!((read.allowed_scope(), read.own_scope()), (AllowedScope::Default, None));
    }
}
