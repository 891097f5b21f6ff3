//! A server has a storage, and a policy that can be weakened only by `dangerous()`.

use grantor::{AuthorizationServer, Policy};

// refused: E0599
/// A server must have a storage.
fn build_without_storage() {
    let _server = AuthorizationServer::builder("https://id.example").build();
}

// refused: E0616
/// A search for `dangerous()` finds everything that weakens a server.
fn dangers_without_the_word(policy: &mut Policy) {
    policy.dangerous.allow_password_grant = true;
}

fn main() {}
