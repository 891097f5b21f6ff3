// refused: E0308
//! A replay that another client sends ends nobody's grant.

use grantor::grants::{Decision, Presented, Replayed};
use grantor::secret::kind::AuthorizationCode;

fn replayed(presented: &Presented<AuthorizationCode>) -> Decision {
    Decision::Replayed(Replayed::new(presented))
}

fn main() {}
