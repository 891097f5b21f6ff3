// refused: E0004
//! Whoever spends a token handles all that can have become of it.

use grantor::storage::Exchange;

fn tell(exchange: Exchange) -> &'static str {
    match exchange {
        Exchange::Done => "tokens",
        Exchange::Dead => "invalid_grant",
    }
}

fn main() {}
