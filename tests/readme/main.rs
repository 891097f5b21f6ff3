//! The Rust code of the README is a file of this test. The test compiles and runs the file, and compares it with the
//! README word for word.
#![allow(unreachable_pub, reason = "the README shows `pub` items of a separate app")]

mod host;
mod your_app;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use grantor::MemoryStorage;
use serde_json::Value;
use tower::ServiceExt;

const README: &str = include_str!("../../README.md");

#[test]
fn readme_code_is_the_code_compiled_here() {
    let block = include_str!("host.rs");
    assert!(README.contains(&format!("```rust\n{block}```")), "README.md does not show tests/readme/host.rs");
    assert_eq!(README.matches("```rust").count(), 1, "no test compiles this Rust block of the README");
}

// covers: BC-05 (RFC 9700 §3)
#[test]
fn threat_model_answers_every_attacker_of_rfc_9700() {
    let manual = include_str!("../../src/manual/threats.md");
    for attacker in ["A1", "A2", "A3", "A4", "A5"] {
        let section =
            manual.split(&format!("\n# {attacker}: ")).nth(1).unwrap_or_else(|| panic!("{attacker} is missing"));
        let section = section.split("\n# ").next().unwrap();
        let answers = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack |"));
        assert!(answers.count() > 0, "{attacker} has no answer");
    }
}

#[tokio::test]
async fn readme_host_serves_flow_from_authorization_to_api() {
    let app = host::app(MemoryStorage::new()).await.unwrap();
    let send = async |request: Request<Body>| app.clone().oneshot(request).await.unwrap();

    let target = "/authorize?response_type=code&client_id=demo&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback&state=s\
                  &scope=user%3Aread+user%3Awrite&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
                  &code_challenge_method=S256";
    let page = text(send(Request::get(target).body(Body::empty()).unwrap()).await).await;
    assert!(page.starts_with("log in"), "{page}");

    let page = text(send(Request::get(target).header("x-user", "alice").body(Body::empty()).unwrap()).await).await;
    assert!(page.contains("Read your profile, Change your profile"), "{page}");
    let form_token = page.split("form_token=").nth(1).unwrap();

    let form = |body: String| {
        Request::post("/x").header("content-type", "application/x-www-form-urlencoded").body(Body::from(body)).unwrap()
    };
    let mut decision = form(format!("form_token={form_token}&decision=approve&scope=user%3Aread"));
    *decision.uri_mut() = "/consent".parse().unwrap();
    decision.headers_mut().insert("x-user", "alice".parse().unwrap());
    let answer = send(decision).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let location = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    let code = location.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();

    let mut redemption = form(format!(
        "grant_type=authorization_code&client_id=demo&code={code}&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback\
         &code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    ));
    *redemption.uri_mut() = "/token".parse().unwrap();
    let tokens: Value = serde_json::from_str(&text(send(redemption).await).await).unwrap();
    assert_eq!(tokens["scope"], "user:read", "the user left user:write unchecked");

    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let me = send(Request::get("/me").header("authorization", bearer).body(Body::empty()).unwrap()).await;
    assert_eq!(text(me).await, "You are alice.");
    let stranger = send(Request::get("/me").body(Body::empty()).unwrap()).await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
}

async fn text(response: Response<Body>) -> String {
    let body = to_bytes(response.into_body(), 1_000_000).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}
