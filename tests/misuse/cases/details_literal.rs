// refused: E0639
//! Bindings that a later version adds are not dropped by a struct literal.

fn details() -> grantor::record::TokenDetails {
    grantor::record::TokenDetails { code: None }
}

fn main() {}
