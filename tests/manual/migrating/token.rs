use grantor::storage::Opened;
use grantor::{Grant, RefreshToken, Storage, StoredToken};
use serde_json::json;

/// A row of the old database.
pub struct OldToken<'a> {
    pub text: &'a str,
    pub client: &'a str,
    pub user: &'a str,
    pub opened: &'a str, // as in "2025-12-24T00:00:00Z"
    pub ends: &'a str,
}

/// `grant`: 16 random bytes in base64url.
pub fn with_its_grant(old: &OldToken<'_>, grant: &str) -> serde_json::Result<(Grant, StoredToken)> {
    let token = json!({
        "hash": RefreshToken::new(old.text).hash(), "kind": "refresh_token", "grant_id": grant,
        "scope": "user:read", "issued_at": old.opened, "expires_at": old.ends, "details": {},
    });
    let grant = json!({
        "id": grant, "client_id": old.client, "subject": old.user, "scope": "user:read",
        "grant_type": "authorization_code", "details": {},
        "opened_at": old.opened, "last_used_at": old.opened, "expires_at": old.ends,
    });
    Ok((serde_json::from_value(grant)?, serde_json::from_value(token)?))
}

/// Stores the token. Its client can refresh it from then on.
pub async fn import(storage: &impl Storage, old: &OldToken<'_>, grant: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (grant, token) = with_its_grant(old, grant)?;
    match storage.open_grant(&grant.into(), &[token]).await? {
        Opened::Done => Ok(()),
        Opened::Taken | Opened::ParentDead | Opened::ConsentDead => Err("the grant was not stored".into()),
    }
}
