// refused: E0277
//! The kinds of token are those that a storage tells apart.

use grantor::secret::{Token, TokenKind};

struct IdToken;

impl Token for IdToken {
    const KIND: TokenKind = TokenKind::AccessToken;
}

fn main() {}
