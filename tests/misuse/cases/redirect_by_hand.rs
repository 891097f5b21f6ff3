// refused: E0624
//! Only the library redirects, and only to a redirect URI of the client.

fn redirect(request: &grantor::Request) -> grantor::Response {
    grantor::Response::see_other(request.query().to_owned())
}

fn main() {}
