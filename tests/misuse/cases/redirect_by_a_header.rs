// refused: E0624
//! Nor can a page be made into a redirect.

fn redirect(uri: String) -> grantor::Response {
    grantor::Response::page(302, "").with_header("location", uri)
}

fn main() {}
