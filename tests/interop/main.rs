//! Clients that others wrote, against the example server.

#[path = "../common/example.rs"]
mod example;

mod rust_oauth2;
