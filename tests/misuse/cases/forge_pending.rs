// refused: E0451
//! Nobody but the authorization endpoint says that a request is in order.

fn widen(pending: grantor::PendingAuthorization, scope: grantor::Scope) -> grantor::PendingAuthorization {
    grantor::PendingAuthorization { scope, ..pending }
}

fn main() {}
