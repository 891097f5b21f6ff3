// refused: E0599
//! A server without a storage is not built.

fn serve() {
    let _server = grantor::AuthorizationServer::builder("https://id.example").build();
}

fn main() {}
