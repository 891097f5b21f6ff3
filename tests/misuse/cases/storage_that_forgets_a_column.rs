// refused: E0063
//! A storage names every field of a record, or a binding would be lost.

use grantor::StoredToken;

fn from_row(other: StoredToken) -> StoredToken {
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

fn main() {}
