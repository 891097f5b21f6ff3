// refused: unused_must_use
//! The client is to learn of a denial.
#![deny(unused_must_use)]

fn deny(pending: grantor::PendingAuthorization) {
    pending.deny();
}

fn main() {}
