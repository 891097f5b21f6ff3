//! The pages that the library shows by itself, served as it answers them.

use std::convert::Infallible;

use grantor::client::RegisteredBy;
use grantor::testing::{Fault, TestClient, TestServer};
use grantor::{Approval, Client, Consent, Interaction, Request, Response, Subject};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use time::Duration;
use tokio::net::TcpListener;

type Answer = hyper::Response<Vec<u8>>;

/// Serves answers under the paths `/0`, `/1` and so on; returns the address without a slash at its end.
pub(crate) async fn serve(answers: Vec<Answer>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answers = answers.clone();
            let answer = service_fn(move |request: hyper::Request<_>| {
                let place = request.uri().path().trim_start_matches('/').parse::<usize>().ok();
                let answer = place.and_then(|place| answers.get(place)).cloned();
                async move { Ok::<_, Infallible>(answer.unwrap_or_default().map(Bytes::from).map(Full::new)) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

/// One answer for each of the library's pages and for each cause of an error, by name.
pub(crate) async fn all() -> Vec<(&'static str, Answer)> {
    let server = TestServer::with_policy(|policy| policy.dangerous().allow_out_of_band_redirect = true);
    let app = server.public_client("https://app.example/cb").await;
    let tool = Client::native("tool").authorization_code(["urn:ietf:wg:oauth:2.0:oob"]).scope("user:read");
    let tool = server.register(tool.build(), None).await;
    let guest = Client::public("guest").authorization_code(["https://guest.example/cb"]).scope("user:read");
    let guest = server.register(guest.registered_by(RegisteredBy::SelfService).build(), None).await;

    let unknown = refused(&server, "/authorize?client_id=nobody&response_type=code").await;
    let elsewhere = server.authorize(&app).target().replace("app.example", "evil.example");
    let elsewhere = refused(&server, &elsewhere).await;
    let luring =
        refused(&server, &server.authorize(&guest).target().replace("response_type=code", "response_type=x")).await;
    server.faults.fail(1, Fault::Unavailable);
    let unavailable = refused(&server, &server.authorize(&app).target()).await;

    let consent = consent(&server, &app).await;
    let form = format!("decision=approve&form_token={}", consent.form_token("ada's session"));
    let form = Request::post_form("/consent", form);
    let of_another_session = server.resume_form(&form, "bob's session").await.unwrap_err().to_response();
    let (consent, _) = server.resume_form(&form, "ada's session").await.unwrap();
    let (again, _) = server.resume_form(&form, "ada's session").await.unwrap();
    drop(consent.approve(ada()).await);
    let answered = again.approve(ada()).await;
    server.clock.advance(Duration::DAY);
    let expired = server.resume_form(&form, "ada's session").await.unwrap_err().to_response();

    let code = self::consent(&server, &tool).await.approve(ada()).await;
    let denied = self::consent(&server, &tool).await.deny().await;
    vec![
        ("unknown application", unknown.into()),
        ("unknown redirect URI", elsewhere.into()),
        ("faulty request of an unchecked application", luring.into()),
        ("storage out of reach", unavailable.into()),
        ("form of another session", of_another_session.into()),
        ("form that was answered", answered.into()),
        ("form that has expired", expired.into()),
        ("code to copy", code.into()),
        ("access denied", denied.into()),
    ]
}

fn ada() -> Approval {
    Approval::by(Subject::new("ada").unwrap())
}

async fn refused(server: &TestServer, target: &str) -> Response {
    match server.interaction(&Request::get(target), None).await {
        Interaction::Respond(response) => response,
        other => panic!("{other:?}"),
    }
}

async fn consent(server: &TestServer, client: &TestClient) -> Consent {
    let user = Subject::new("ada").unwrap().into();
    match server.interaction(&Request::get(server.authorize(client).target()), Some(&user)).await {
        Interaction::Consent(consent) => consent,
        other => panic!("{other:?}"),
    }
}
