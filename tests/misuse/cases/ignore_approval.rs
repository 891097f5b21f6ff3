// refused: unused_must_use
//! An approval is given to the request that it approves.
#![deny(unused_must_use)]

fn approve(user: grantor::Subject) {
    grantor::Approval::by(user).scope(["user:read"]);
}

fn main() {}
