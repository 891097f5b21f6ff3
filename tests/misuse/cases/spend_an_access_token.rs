// refused: E0277
//! An access token is used, not spent.

use grantor::grants::{Decision, ExchangeToken, Owned};
use grantor::secret::kind::AccessToken;

fn spend(token: Owned<AccessToken>, scope: grantor::Scope) -> Decision {
    Decision::Exchange(ExchangeToken::new(token, scope))
}

fn main() {}
