// refused: unused_must_use
//! What a handler decided is carried out by the server.
#![deny(unused_must_use)]

use grantor::grants::{Decision, OpenGrant};

fn decide(scope: grantor::Scope) {
    Decision::Open(OpenGrant::new(scope));
}

fn main() {}
