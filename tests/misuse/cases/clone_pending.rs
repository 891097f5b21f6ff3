// refused: E0599
//! A request that waits for its decision can't be doubled, so that each gets one decision.

fn keep(pending: grantor::PendingAuthorization) -> grantor::PendingAuthorization {
    pending.clone()
}

fn main() {}
