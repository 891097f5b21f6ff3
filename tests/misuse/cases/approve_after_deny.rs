// refused: E0382
//! One request gets one decision.

async fn decide(pending: grantor::PendingAuthorization, approval: grantor::Approval) -> grantor::Response {
    let _denied = pending.deny();
    pending.approve(approval).await.into()
}

fn main() {}
