//! Which scopes a client may have: with a user's consent, and on its own authority.

use super::{Client, RegisteredBy};
use crate::scope::Scope;

/// The scopes that users can consent to for a client.
///
/// It is judged at each request, by what the server offers then. A grant keeps the scope that its user agreed to, but each token that
/// is issued later has only what is still allowed. For a client that
/// [no administrator registered](RegisteredBy), each is cut to [`Policy::self_service_scope`](crate::Policy::self_service_scope), if the
/// policy has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "every decision about a client's scope must be taken for all of them")]
pub enum AllowedScope<'a> {
    /// The scopes of this list that the server offers.
    Listed(&'a Scope),
    /// The server's [default scope](crate::Builder::default_scope), and nothing if it has none.
    Default,
    /// All scopes that the server offers, later ones included. For a client that no administrator registered, the scopes
    /// of `self_service_scope`, or else the server's default scope: scopes that are declared later are not among them.
    AllOffered,
}

impl Client {
    /// Returns the scopes that users can consent to for it. A scope that is taken away is in no token that is issued later, at a
    /// refresh neither. Access tokens that it has keep the scope until they expire: to end those too, revoke its grants.
    #[must_use]
    pub const fn allowed_scope(&self) -> AllowedScope<'_> {
        match &self.parts().scope {
            Some(scope) => AllowedScope::Listed(scope),
            None if self.parts().all_offered_scopes => AllowedScope::AllOffered,
            None => AllowedScope::Default,
        }
    }

    /// Returns the list of scopes that it can have on its own authority, without a user: by the client credentials grant (RFC 6749
    /// §4.4), or by an extension grant that asks for it.
    ///
    /// `None` means a list that depends on who registered the client. A client that an administrator registered can have the scopes
    /// that are [listed](AllowedScope::Listed) for consent, or else the server's default scope, also with
    /// [`AllOffered`](AllowedScope::AllOffered): no user is asked, so scopes that are declared later are not among them. Any other client
    /// can have none.
    #[must_use]
    pub const fn own_scope(&self) -> Option<&Scope> {
        self.parts().own_scope.as_ref()
    }

    /// Whether an administrator registered it. Every other party is untrusted.
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
        // Both readers know it, and write it again once.
        for read in
            [serde_json::from_value(stored.clone()).unwrap(), ClientParts::from_stored(&stored.to_string()).unwrap()]
        {
            assert_eq!((read.unenforced_member(), read.unknown_members().count()), (None, 0));
            assert_eq!(serde_json::to_value(&read).unwrap(), stored);
            let without = ClientParts { own_scope: None, ..read };
            assert_eq!(serde_json::to_value(without).unwrap().get("crit"), None);
        }
        // A newer version's names stay beside it.
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
