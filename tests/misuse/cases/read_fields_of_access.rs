// refused: E0616
//! The owner of a resource is asked for by user(), which refuses the token of a machine.

fn owner(access: &grantor::Access) -> bool {
    access.grant.subject.is_some()
}

fn main() {}
