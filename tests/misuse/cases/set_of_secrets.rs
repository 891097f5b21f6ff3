// refused: E0277
//! A set of secrets compares them, too.

fn seen(secret: grantor::ClientSecret) {
    let _ = std::collections::BTreeSet::from([secret]);
}

fn main() {}
