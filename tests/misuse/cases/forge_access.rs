// refused: E0451
//! What an access token gives access to is not taken apart and put together anew.

fn take(access: grantor::Access) {
    let grantor::Access { grant, .. } = access;
    drop(grant);
}

fn main() {}
