// refused: E0451
//! Access is what a bearer check gives.

fn swap(access: grantor::Access, token: grantor::StoredToken) -> grantor::Access {
    grantor::Access { token, ..access }
}

fn main() {}
