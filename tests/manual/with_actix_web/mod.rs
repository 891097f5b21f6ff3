//! Compiles the code of the page about actix-web, and runs the parts that need no session.
#![allow(
    clippy::unused_async,
    clippy::unused_self,
    dead_code,
    unreachable_pub,
    reason = "the page shows `pub` items of a separate app"
)]

mod behind_a_proxy;
mod own_errors;

mod app {
    include!("app.rs");

    /// Placeholders for the sessions and pages of the host app.
    mod your_app {
        use std::future::{Ready, ready};

        use actix_web::{FromRequest, HttpRequest, HttpResponse, dev::Payload};

        pub struct Session;

        impl Session {
            pub fn user(&self) -> Option<&grantor::UserSession> {
                None
            }

            pub fn form_secret(&self) -> &[u8] {
                b"random"
            }
        }

        impl FromRequest for Session {
            type Error = actix_web::Error;
            type Future = Ready<Result<Self, Self::Error>>;

            fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(Ok(Self))
            }
        }

        pub fn login_page(_come_back_to: &str) -> HttpResponse {
            HttpResponse::Ok().finish()
        }

        pub fn consent_page(_: &grantor::Consent, _: &str) -> String {
            String::new()
        }

        pub fn login_succeeds(_: &grantor::Request) -> bool {
            true
        }

        pub fn field(_: &grantor::Request, _: &str) -> String {
            String::new()
        }
    }
}

use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_and_read_body, init_service};
use actix_web::{App, web};
use grantor::testing::TestServer;

#[tokio::test(flavor = "local")]
async fn actix_proxy_middleware_sets_peer() {
    async fn peer(request: grantor::Request) -> String {
        format!("{:?}", request.peer())
    }

    let t = TestServer::new();
    let app = App::new().configure(grantor::actix::routes(&t.server)).route("/", web::get().to(peer));
    let app = init_service(app.wrap(from_fn(behind_a_proxy::peer_from_proxy))).await;
    let request = TestRequest::get().uri("/").insert_header(("x-real-ip", "192.0.2.7")).to_request();
    assert_eq!(&call_and_read_body(&app, request).await[..], b"Some(192.0.2.7)");
}
