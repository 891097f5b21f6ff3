// refused: E0599
//! There is no way to revoke everything by mistake.

fn everything() -> grantor::storage::GrantSelector {
    grantor::storage::GrantSelector::All
}

fn main() {}
