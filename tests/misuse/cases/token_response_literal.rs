// refused: E0639
//! A token response is what the server issued.

fn widen(issued: grantor::TokenResponse, scope: grantor::Scope) -> grantor::TokenResponse {
    grantor::TokenResponse { scope, ..issued }
}

fn main() {}
