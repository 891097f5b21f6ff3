// refused: E0308
//! A token is owned by a client that was authenticated, not by one that was looked up.

use grantor::grants::{Owned, Presented};
use grantor::secret::kind::RefreshToken;

fn own(token: Presented<RefreshToken>, client: &grantor::Client) -> Result<Owned<RefreshToken>, grantor::Refusal> {
    token.must_belong_to(client)
}

fn main() {}
