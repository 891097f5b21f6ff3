// refused: E0382
//! One consent opens one grant.

async fn decide(pending: grantor::PendingAuthorization, mine: grantor::Approval, yours: grantor::Approval) {
    let _first = pending.approve(mine).await;
    let _second = pending.approve(yours).await;
}

fn main() {}
