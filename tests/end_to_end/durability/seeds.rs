//! Grants with one code each, written directly into a storage, as approvals would leave them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::record::{CodeBinding, GrantDetails, TokenDetails, TokenKind};
use grantor::{ClientId, CodeChallenge, CodeVerifier, Grant, GrantId, GrantType, Scope, Storage, StoredToken, Subject};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use time::{Duration, OffsetDateTime};

use crate::caller::{CLIENT, Held, REDIRECT_URI, VERIFIER};
use crate::place::ISSUER;

/// Now, in the whole microseconds that a storage keeps.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.microsecond() * 1_000).unwrap()
}

/// The subject of a seeded grant. Each grant has a different one.
pub(crate) fn subject_of(grant: GrantId) -> Subject {
    Subject::new(format!("user-{grant}")).unwrap()
}

/// Opens a grant and returns its code.
pub(crate) async fn code(storage: &dyn Storage, random: &mut StdRng) -> Held {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    let code = Held {
        kind: TokenKind::AuthorizationCode,
        text: URL_SAFE_NO_PAD.encode(bytes),
        grant: GrantId::from_bytes(random.random()),
    };
    let (now, scope) = (now(), Scope::parse("user:read user:write").unwrap());
    // Long enough for the longest run; the servers would give a code one minute.
    let expires_at = now + Duration::HOUR;
    let mut details = GrantDetails::default();
    // The API of the example server.
    details.resources = vec![format!("{ISSUER}/api").into()];
    let grant = Grant {
        id: code.grant,
        client_id: ClientId::new(CLIENT).unwrap(),
        subject: Some(subject_of(code.grant)),
        grant_type: GrantType::new(GrantType::AUTHORIZATION_CODE).unwrap(),
        scope: scope.clone(),
        opened_at: now,
        last_used_at: now,
        expires_at,
        revoked_at: None,
        parent_grant: None,
        session: None,
        host_data: None,
        details,
    };
    let challenge = CodeChallenge::s256(&CodeVerifier::new(VERIFIER));
    let mut details = TokenDetails::default();
    details.code = Some(CodeBinding::new(REDIRECT_URI, true, Some(challenge)));
    let token = StoredToken {
        hash: code.hash(),
        kind: TokenKind::AuthorizationCode,
        grant_id: code.grant,
        scope,
        issued_at: now,
        expires_at,
        parent: None,
        spent: None,
        revoked_at: None,
        details,
    };
    assert_eq!(storage.open_grant(&Arc::new(grant), &[token]).await.unwrap(), grantor::storage::Opened::Done);
    code
}

/// Opens many grants.
pub(crate) async fn codes(storage: &dyn Storage, random: &mut StdRng, count: usize) -> Vec<Held> {
    let mut codes = Vec::with_capacity(count);
    for _ in 0..count {
        codes.push(code(storage, random).await);
    }
    codes
}
