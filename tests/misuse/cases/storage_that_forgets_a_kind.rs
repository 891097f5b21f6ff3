// refused: E0004
//! A storage tells every kind of token apart.

use grantor::secret::TokenKind;

fn column(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::AccessToken => "access",
        TokenKind::RefreshToken => "refresh",
    }
}

fn main() {}
