// refused: unused_must_use
//! The client is to get its code.
#![deny(unused_must_use)]

async fn approve(pending: grantor::PendingAuthorization, approval: grantor::Approval) {
    pending.approve(approval).await;
}

fn main() {}
