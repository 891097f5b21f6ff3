//! Errors of the library wrapped in an error type of the host.

use actix_web::ResponseError;
use actix_web::web::{self, Data, ServiceConfig};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get as on_get, post as on_post};
use grantor::testing::{Fault, TestServer};
use grantor::{AuthorizationError, AuthorizationResponse, AuthorizationServer, Bearer, BearerError, Request, Subject};

use crate::{Answer, REDIRECT_URI, Web, With, get, machine, post, token_of, with_actix, with_axum};

const SESSION: &str = "a-random-session-identifier";

#[derive(Debug, thiserror::Error)]
enum HostError {
    #[error(transparent)]
    Token(#[from] BearerError),
    #[error(transparent)]
    Form(#[from] AuthorizationError),
}

impl IntoResponse for HostError {
    fn into_response(self) -> axum::response::Response {
        match self {
            Self::Token(error) => error.into_response(),
            Self::Form(error) => error.into_response(),
        }
    }
}

impl ResponseError for HostError {
    fn error_response(&self) -> actix_web::HttpResponse {
        match self {
            Self::Token(error) => error.error_response(),
            Self::Form(error) => error.error_response(),
        }
    }
}

fn me(token: Bearer) -> Result<String, HostError> {
    Ok(token.require("user:read")?.user()?.to_string())
}

async fn decide(oauth: &AuthorizationServer, request: &Request) -> Result<AuthorizationResponse, HostError> {
    let (consent, _) = oauth.resume_form(request, SESSION).await?;
    Ok(consent.deny().await)
}

async fn send(web: Web, server: &AuthorizationServer, request: HttpRequest<Body>) -> Answer {
    match web {
        Web::Axum => {
            let router = axum::Router::new()
                .route("/me", on_get(async |token: Bearer| me(token)))
                .route(
                    "/consent",
                    on_post(async |State(oauth): State<AuthorizationServer>, request: Request| {
                        decide(&oauth, &request).await
                    }),
                )
                .route(
                    "/plain",
                    on_post(async |State(oauth): State<AuthorizationServer>, request: Request| {
                        oauth.resume_form(&request, SESSION).await.map(|_| StatusCode::OK)
                    }),
                );
            with_axum::send_to(&router.with_state(server.clone()), request).await
        }
        Web::Actix => {
            let app = |config: &mut ServiceConfig| {
                config.configure(grantor::actix::routes(server));
                config.route("/me", web::get().to(async |token: Bearer| me(token)));
                let consent = async |oauth: Data<AuthorizationServer>, request: Request| decide(&oauth, &request).await;
                config.route("/consent", web::post().to(consent));
                let plain = async |oauth: Data<AuthorizationServer>, request: Request| {
                    drop(oauth.resume_form(&request, SESSION).await?);
                    Ok::<_, actix_web::Error>(actix_web::HttpResponse::Ok())
                };
                config.route("/plain", web::post().to(plain));
            };
            with_actix::send_to(app, request).await
        }
    }
}

#[tokio::test(flavor = "local")]
async fn bearer_error_in_a_host_error_keeps_its_challenge() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let answer = send(web, &t.server, get("/me").with("authorization", "Bearer unknown")).await;
        assert_eq!(answer.status, 401);
        answer.assert_is(
            t.server
                .bearer(&Request::get("/me").with_header("authorization", "Bearer unknown"))
                .await
                .unwrap_err()
                .into(),
        );
        let token = token_of(&t, &machine).await;
        let answer =
            send(web, &t.server, get("/me").with("authorization", &format!("Bearer {}", token.expose()))).await;
        assert_eq!(answer.status, 403, "a machine is no user");
        assert!(answer.header("www-authenticate").unwrap().contains("insufficient_scope"));
    }
}

#[tokio::test(flavor = "local")]
async fn authorization_error_in_a_host_error_is_its_page() {
    for web in Web::each() {
        let t = TestServer::new();
        let app = t.public_client(REDIRECT_URI).await;
        let form = "form_token=forged&decision=approve";
        let expected =
            || async { t.server.resume_form(&Request::post_form("/consent", form), SESSION).await.unwrap_err() };
        for path in ["/consent", "/plain"] {
            let answer = send(web, &t.server, post(path, form)).await;
            assert_eq!(answer.status, 400, "{path}");
            answer.assert_is(expected().await.to_response());
            answer.assert_is(expected().await.into());
        }
        let error = expected().await;
        assert_eq!(error.error().refusal(), Some(&grantor::Refusal::InvalidFormToken));
        let reason = std::error::Error::source(&error).expect("a reason").to_string();
        assert!(reason.contains("does not belong to your current session"), "{reason}");

        let alice = Subject::new("alice").unwrap();
        let asked = grantor::testing::ask(t.authorize(&app).pending().await, alice).await;
        let form = format!("form_token={}&decision=deny", asked.form_token(SESSION));
        t.faults.fail(1, Fault::Unavailable);
        assert_eq!(send(web, &t.server, post("/consent", form.clone())).await.status, 503);
        let answer = send(web, &t.server, post("/consent", form)).await;
        assert_eq!(answer.status, 303);
        assert!(answer.header("location").unwrap().contains("error=access_denied"));
    }
}
