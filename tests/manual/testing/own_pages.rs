//! Runs the code of the page about tests that sends requests to pages.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use grantor::testing::TestServer;
use tower::ServiceExt; // oneshot
use your_app::router;

#[tokio::test]
async fn consent_page_leads_to_a_code_and_the_api() {
    let t = TestServer::new();
    let app = router(&t.server);
    let client = t.public_client("https://app.example/cb").await;
    let flow = t.authorize(&client).state("xyz");

    let request = Request::get(flow.target()).body(Body::empty()).unwrap();
    let page = app.clone().oneshot(request).await.unwrap().into_body();
    let page = String::from_utf8(to_bytes(page, 100_000).await.unwrap().to_vec()).unwrap();
    let form_token = page.split("value=\"").nth(1).unwrap().split('"').next().unwrap();

    let request = Request::post("/consent").header("content-type", "application/x-www-form-urlencoded");
    let form = format!("form_token={form_token}&decision=approve");
    let response = app.clone().oneshot(request.body(Body::from(form)).unwrap()).await.unwrap();
    let location = response.headers()["location"].to_str().unwrap();
    let tokens = flow.redeem_location(location).await.unwrap();

    let bearer = format!("Bearer {}", tokens.access_token.expose());
    let request = Request::get("/me").header("authorization", bearer).body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 200);
}

/// The app of the reader, as small as this test needs it.
mod your_app {
    use axum::extract::State;
    use axum::response::{IntoResponse, Response};
    use axum::{Router, routing::get, routing::post};
    use grantor::{Approval, AuthorizationServer, Bearer, BearerError, Interaction, Request, Subject, UserSession};

    pub(super) fn router(oauth: &AuthorizationServer) -> Router {
        let own =
            Router::new().route("/authorize", get(authorize)).route("/consent", post(decide)).route("/me", get(me));
        own.merge(grantor::axum::routes(oauth)).with_state(oauth.clone())
    }

    fn alice() -> UserSession {
        Subject::new("alice").unwrap().into()
    }

    async fn authorize(State(oauth): State<AuthorizationServer>, request: Request) -> Response {
        match oauth.interaction(&request, Some(&alice())).await {
            Interaction::Consent(consent) => {
                let token = consent.form_token("session");
                grantor::Response::page(200, format!("<input name=\"form_token\" value=\"{token}\">")).into_response()
            }
            Interaction::Respond(response) => response.into_response(),
            _ => panic!("alice is logged in"),
        }
    }

    async fn decide(State(oauth): State<AuthorizationServer>, request: Request) -> Response {
        match oauth.resume_form(&request, "session").await {
            Ok((consent, form)) if form.approved => consent.approve(Approval::by(alice())).await.into_response(),
            Ok((consent, _)) => consent.deny().await.into_response(),
            Err(page) => page.into_response(),
        }
    }

    async fn me(token: Bearer) -> Result<String, BearerError> {
        Ok(token.require("user:read")?.user()?.to_string())
    }
}
