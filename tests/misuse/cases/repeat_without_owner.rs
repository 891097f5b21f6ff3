// refused: E0308
//! The answer to a refresh is repeated only to the client that had it.

use grantor::grants::{Decision, Presented, RepeatRefresh};
use grantor::secret::kind::RefreshToken;

fn repeat(presented: Presented<RefreshToken>, scope: grantor::Scope) -> Decision {
    Decision::Repeat(RepeatRefresh::new(presented, scope))
}

fn main() {}
