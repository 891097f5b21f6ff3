// refused: E0616
//! An answer goes to the redirect URI that was checked.

fn elsewhere(mut answer: grantor::AuthorizationResponse) -> grantor::Response {
    answer.route.target = "https://evil.example/";
    answer.into()
}

fn main() {}
