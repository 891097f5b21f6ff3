// refused: E0277
//! What can't find clients is no storage for a server on its own.

fn serve(storage: impl grantor::Storage + 'static) {
    let _server = grantor::AuthorizationServer::builder("https://id.example").storage(storage);
}

fn main() {}
