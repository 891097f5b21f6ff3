// refused: E0308
//! A token is spent only for the client it was issued to.

use grantor::grants::{Decision, ExchangeToken, Presented};
use grantor::secret::kind::RefreshToken;

fn spend(presented: Presented<RefreshToken>, scope: grantor::Scope) -> Decision {
    Decision::Exchange(ExchangeToken::new(presented, scope))
}

fn main() {}
