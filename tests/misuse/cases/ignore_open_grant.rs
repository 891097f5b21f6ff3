// refused: unused_must_use
//! An order that nobody gets opens no grant.
#![deny(unused_must_use)]

fn decide(scope: grantor::Scope) {
    grantor::grants::OpenGrant::new(scope).refreshable();
}

fn main() {}
