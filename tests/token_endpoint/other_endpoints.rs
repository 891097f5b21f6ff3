//! Client authentication at an endpoint of the host, compared with the token endpoint.

use grantor::client::ClientParts;
use grantor::testing::{Fault, TestClient, TestServer};
use grantor::{Client, ClientRegistry, ClientStore, Clock, Error, Request, Response};
use serde_json::json;
use time::Duration;

use crate::common::{basic, form, text};
use crate::support::{confidential, public};

/// An endpoint of the host that returns its client.
async fn host_endpoint(t: &TestServer, request: &Request) -> Response {
    match t.server.authenticate_client(request).await {
        Ok(client) => Response::json(200, json!({ "client_id": client.id().as_str() }).to_string()),
        Err(error) => t.server.refuse(&error),
    }
}

fn secret_of(app: &TestClient) -> &str {
    app.secret.as_ref().expect("a confidential client").expose()
}

// covers: CA-13 (RFC 6749 §5.2), CA-14 (RFC 6749 §5.2)
#[tokio::test]
async fn host_endpoint_refuses_as_the_token_endpoint() {
    let (t, app) = confidential().await;
    let open = t.public_client("https://app.example/cb").await;
    let (id, secret) = (("client_id", &*app.id), secret_of(&app));
    let jwt = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    for (pairs, header) in [
        (vec![], None),
        (vec![], Some(basic(&app.id, "not-the-secret"))),
        (vec![], Some(basic("nobody-we-know", secret))),
        (vec![], Some(basic("\u{e9}", secret))),
        (vec![], Some(basic(&app.id, ""))),
        (vec![], Some(basic(&open.id, ""))),
        (vec![], Some("Basic ???".to_owned())),
        (vec![], Some("Bearer x".to_owned())),
        (vec![id], None),
        (vec![("client_id", "nobody-we-know")], None),
        (vec![id, ("client_secret", "not-the-secret")], None),
        (vec![("client_secret", secret)], None),
        (vec![id, ("client_secret", secret)], Some(basic(&app.id, secret))),
        (vec![("client_id", &*open.id)], Some(basic(&app.id, secret))),
        (vec![("client_assertion", "header.payload.signature"), jwt], None),
        (vec![id, id], None),
    ] {
        let pairs = [&[("grant_type", "client_credentials")], &pairs[..]].concat();
        let request = Request::post_form("/notes", form(&pairs)).with_peer([192, 0, 2, 7].into());
        let request = header.iter().fold(request, |request, value| request.with_header("authorization", value.clone()));
        assert_same_refusal(&t, &request).await;
    }
    let large = "x".repeat(t.server.policy().max_body);
    for request in [
        Request::get("/notes"),
        Request::new("POST", "/notes").with_header("content-type", "application/json").with_body("{}"),
        Request::post_form("/notes", "grant_type=client_credentials&client_id=%ZZ"),
        Request::post_form("/notes", format!("grant_type=client_credentials&x={large}")),
        Request::post_form("/notes", "grant_type=client_credentials").with_broken_body(),
        Request::post_form("/notes?client_id=a", "grant_type=client_credentials"),
    ] {
        assert_same_refusal(&t, &request).await;
    }
    for fault in [Fault::Failed, Fault::Unavailable] {
        let request = || Request::post_form("/notes", form(&[("grant_type", "client_credentials"), id]));
        t.faults.fail(1, fault);
        let expected = t.server.token(&request()).await.into_parts();
        t.faults.fail(1, fault);
        assert_eq!(host_endpoint(&t, &request()).await.into_parts(), expected);
    }
}

/// Sends a request to both endpoints, and asserts that they give the same status, headers, body and event.
async fn assert_same_refusal(t: &TestServer, request: &Request) {
    let answer = host_endpoint(t, request).await;
    let expected = t.server.token(request).await;
    assert!(answer.status() >= 400, "{request:?}");
    assert_eq!(answer.into_parts(), expected.into_parts(), "{request:?}");
    let events = t.events.events();
    let [own, of_token] = &events[events.len() - 2..] else { panic!("two events") };
    assert_eq!((own.name, &own.text), ("token_refused", &of_token.text), "{request:?}");
}

// covers: CA-03 (RFC 6749 §2.3.1)
#[tokio::test]
async fn host_endpoint_accepts_each_authentication_method() {
    let (t, app) = confidential().await;
    let open = t.public_client("https://app.example/cb").await;
    let note = ("note", "a");
    let in_body = [note, note, ("client_id", &*app.id), ("client_secret", secret_of(&app))];
    for (request, id) in [
        (
            Request::post_form("/notes?v=1", "note=a").with_header("authorization", basic(&app.id, secret_of(&app))),
            &app.id,
        ),
        (Request::post_form("/notes", form(&in_body)), &app.id),
        (Request::post_form("/notes", form(&[("client_id", &open.id)])), &open.id),
    ] {
        let answer = host_endpoint(&t, &request).await;
        assert_eq!((answer.status(), text(&answer)), (200, &*json!({ "client_id": id }).to_string()));
    }
    assert!(t.events.events().is_empty(), "a success causes no event");
}

/// The unknown member may restrict the client.
#[tokio::test]
async fn host_endpoint_refuses_a_client_of_a_newer_version() {
    let (t, app) = public().await;
    let mut stored = serde_json::to_value(t.storage.find_client(&app.id).await.unwrap().unwrap().parts()).unwrap();
    stored["client_id"] = json!("newer");
    stored["dpop_bound"] = json!(true);
    stored["crit"] = json!(["dpop_bound"]);
    let newer = Client::from_parts(ClientParts::from_stored(&stored.to_string()).unwrap()).unwrap();
    t.storage.register(newer).await.unwrap();
    let request = Request::post_form("/notes", "client_id=newer");
    let error = t.server.authenticate_client(&request).await.unwrap_err();
    assert!(matches!(&error, Error::Unenforced { member } if **member == *"dpop_bound"), "{error:?}");
    let answer = t.server.refuse(&error);
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("60")));
    let last = t.events.events().pop().unwrap();
    assert_eq!(last.name, "token_refused");
    assert!(last.text.contains("client_id: Some(ClientId(\"newer\")), presented_client_id: None"), "{}", last.text);
}

#[tokio::test]
async fn server_time_is_its_clock_in_whole_microseconds() {
    let (t, _) = public().await;
    t.clock.advance(Duration::nanoseconds(1_999));
    assert_eq!(t.server.now(), t.clock.now() - Duration::nanoseconds(999));
}
