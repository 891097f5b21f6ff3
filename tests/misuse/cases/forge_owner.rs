// refused: E0423
//! That a token is the client's own is not for a handler to say.

use grantor::grants::{Owned, Presented};
use grantor::secret::kind::RefreshToken;

fn own(presented: Presented<RefreshToken>) -> Owned<RefreshToken> {
    Owned(presented)
}

fn main() {}
