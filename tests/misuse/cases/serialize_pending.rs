// refused: E0277
//! A request that waits is not put into a hidden field as it is: there is a sealed form token for that.

fn hidden_field(pending: &grantor::PendingAuthorization) -> String {
    serde_json::to_string(pending).unwrap_or_default()
}

fn main() {}
