// refused: E0004
//! Reasons may grow; a host that matches on them says what it does with new ones.

fn tell(error: grantor::Error) -> &'static str {
    use grantor::Error;
    match error {
        Error::Refused(_) => "refused",
        Error::Throttled { .. } => "later",
        Error::Storage(_) | Error::Authenticator(_) | Error::Entropy(_) | Error::Extension(_) => "failed",
    }
}

fn main() {}
