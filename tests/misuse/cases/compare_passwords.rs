// refused: E0369
//! A password is compared by a slow hash.

fn same(attempt: &grantor::Password, own: &str) -> bool {
    *attempt == own
}

fn main() {}
