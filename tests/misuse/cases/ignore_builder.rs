// refused: unused_must_use
//! A server exists only when build() was called.
#![deny(unused_must_use)]

fn serve() {
    grantor::AuthorizationServer::builder("https://id.example").storage(grantor::MemoryStorage::new());
}

fn main() {}
