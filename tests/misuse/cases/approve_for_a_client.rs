// refused: E0308
//! A client is not a resource owner.

fn approve(client: &grantor::Client) -> grantor::Approval {
    grantor::Approval::by(client.id().clone())
}

fn main() {}
