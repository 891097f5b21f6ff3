// refused: E0308
//! The token of a machine has no user.

fn owner(access: &grantor::Access) -> &grantor::Subject {
    access.subject()
}

fn main() {}
