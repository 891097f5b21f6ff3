// refused: E0382
//! One proof of ownership is good for one decision.

use grantor::grants::{ExchangeToken, Owned};
use grantor::secret::kind::RefreshToken;

fn spend(token: Owned<RefreshToken>, scope: grantor::Scope) -> [ExchangeToken; 2] {
    [ExchangeToken::new(token, scope.clone()), ExchangeToken::new(token, scope)]
}

fn main() {}
