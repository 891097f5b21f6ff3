//! A server has a storage that keeps everything, and a policy that is weakened only by name.

use grantor::policy::Dangerous;
use grantor::storage::{Exchange, GrantSelector};
use grantor::{AuthorizationServer, Policy, Storage, StoredToken, Subject};

// refused: E0599
/// A server has a storage.
fn build_without_storage() {
    let _server = AuthorizationServer::builder("https://id.example").build();
}

// refused: E0277
/// A storage that cannot find clients is not enough for a server.
fn storage_without_clients(storage: impl Storage + 'static) {
    let _server = AuthorizationServer::builder("https://id.example").storage(storage);
}

// refused: E0616
/// A search for `dangerous()` finds everything that weakens a server.
fn dangers_without_the_word(policy: &mut Policy) {
    policy.dangerous.allow_password_grant = true;
}

// refused: E0639
/// Dangers are switched on one by one.
fn dangers_literal(default: Dangerous) -> Dangerous {
    Dangerous { allow_plain_pkce: true, ..default }
}

// refused: E0063
/// A storage names every field of a record, or a binding would be lost.
fn storage_that_forgets_a_column(other: StoredToken) -> StoredToken {
    StoredToken {
        hash: other.hash,
        kind: other.kind,
        grant_id: other.grant_id,
        scope: other.scope,
        issued_at: other.issued_at,
        expires_at: other.expires_at,
        parent: other.parent,
        spent: other.spent,
        revoked_at: other.revoked_at,
    }
}

// refused: E0004
/// A caller of `exchange` handles every outcome.
fn storage_that_forgets_an_outcome(exchange: Exchange) -> &'static str {
    match exchange {
        Exchange::Done => "tokens",
        Exchange::Dead => "invalid_grant",
    }
}

// refused: E0308
/// A selector by subject cannot mean the grants that have none.
fn select_by_no_subject(user: Option<Subject>) -> GrantSelector {
    GrantSelector::Subject(user)
}

fn main() {}
