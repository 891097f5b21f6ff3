// refused: E0616
//! What was asked for is not widened on the way.

fn widen(mut pending: grantor::PendingAuthorization, everything: grantor::Scope) -> grantor::PendingAuthorization {
    pending.scope = everything;
    pending
}

fn main() {}
