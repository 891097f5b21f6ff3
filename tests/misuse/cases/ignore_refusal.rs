// refused: unused_must_use
//! A check whose result is thrown away is no check.
#![deny(unused_must_use)]

use grantor::grants::{GrantContext, Owned};
use grantor::secret::kind::RefreshToken;

fn decide(context: &GrantContext<'_>, token: &Owned<RefreshToken>) {
    token.must_have_a_live_grant(context.now());
}

fn main() {}
