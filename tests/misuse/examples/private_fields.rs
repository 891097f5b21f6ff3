//! Types that prove something have private fields. The compiler looks at this only in programs without other mistakes.

use grantor::client::RedirectUri;
use grantor::{Access, Client, PendingAuthorization, Scope};

// refused: E0451
/// Only the authorization endpoint makes a pending request.
fn forge_pending(pending: PendingAuthorization, scope: Scope) -> PendingAuthorization {
    PendingAuthorization { scope, ..pending }
}

// refused: E0451
/// A redirect URI is registered only after it was checked.
fn redirect_uri_unchecked(checked: RedirectUri, text: &str) -> RedirectUri {
    RedirectUri { text: text.into(), ..checked }
}

// refused: E0451
/// A client exists only with a registration that makes sense.
fn forge_client(parts: grantor::client::ClientParts) -> Client {
    Client { parts }
}

// refused: E0451
/// The access that a token gives cannot be taken apart.
fn forge_access(access: Access) {
    let Access { grant, .. } = access;
    drop(grant);
}

fn main() {}
