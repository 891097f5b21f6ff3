// refused: unused_must_use
//! A replay that nobody is told of ends no grant.
#![deny(unused_must_use)]

use grantor::grants::{Owned, Replayed};
use grantor::secret::kind::AuthorizationCode;

fn decide(code: &Owned<AuthorizationCode>) {
    Replayed::new(code);
}

fn main() {}
