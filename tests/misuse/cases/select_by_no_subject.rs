// refused: E0308
//! A selector by subject can't mean the grants that have none.

fn of_user(user: Option<grantor::Subject>) -> grantor::storage::GrantSelector {
    grantor::storage::GrantSelector::Subject(user)
}

fn main() {}
