// refused: E0308
//! An access token does not refresh.

fn refresh(token: &grantor::AccessToken) -> grantor::TokenRequest<'_> {
    grantor::TokenRequest::refresh_token(token)
}

fn main() {}
