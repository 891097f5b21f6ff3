//! The peer in events of this endpoint.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use grantor::{AuthorizationOutcome, AuthorizationRequest, Event, Observer, Request, UserSession};

use crate::ask::{Ask, CALLBACK, by, pending, subject};
use crate::common::{form, responded};
use crate::source::TestServer;

const BROWSER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
/// The same user at another address, for example after a change of network.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
const SESSION: &str = "a session";

/// The name of an event, and the peer of its request.
type Origin = (&'static str, Option<IpAddr>);

#[derive(Clone, Default)]
struct Origins(Arc<Mutex<Vec<Origin>>>);

impl Observer for Origins {
    fn observe(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push((event.kind.name(), event.peer));
    }
}

#[tokio::test]
async fn events_name_the_peer_of_their_request() {
    let origins = Origins::default();
    let t = TestServer::with(|builder| builder.observer(origins.clone()));
    let app = t.public_client(CALLBACK).await;
    let told = || std::mem::take(&mut *origins.0.lock().unwrap());
    let alice = UserSession::new(subject("alice"));
    let ask = async |peer: IpAddr| {
        let AuthorizationOutcome::Pending(pending) = t.server.authorize(&Ask::code(&app).get().with_peer(peer)).await
        else {
            panic!("the request is valid")
        };
        pending
    };

    drop(responded(t.server.authorize(&Ask::code(&app).with("scope", "nonsense").get().with_peer(BROWSER)).await));
    drop(responded(t.server.authorize(&Request::new("PUT", "/authorize").with_peer(BROWSER)).await));
    assert_eq!(told(), [("authorization_refused", Some(BROWSER)); 2]);

    drop(ask(BROWSER).await.deny());
    assert_eq!(told(), [("authorization_denied", Some(BROWSER))]);

    let consent = grantor::testing::ask(ask(BROWSER).await, alice.clone()).await;
    let form_token = consent.form_token(SESSION);
    let submit = |token: &str| {
        let fields = [("form_token", token), ("decision", "approve")];
        Request::post_form("/consent", form(&fields)).with_peer(ELSEWHERE)
    };
    let (resumed, _) = t.server.resume_form(&submit(&form_token), SESSION).await.expect("the form of this session");
    drop(resumed.approve(by("alice")).await);
    assert_eq!(told(), [("authorization_approved", Some(ELSEWHERE))]);
    drop(t.server.resume_form(&submit("forged"), SESSION).await.expect_err("a forged form"));
    assert_eq!(told(), [("authorization_stale", Some(ELSEWHERE))]);

    // A call within the process has a peer only if the caller sets one.
    drop(pending(&t, &Ask::code(&app)).await.deny());
    let request = AuthorizationRequest::code(&app.id).peer(BROWSER);
    drop(t.server.authorization_request(&request).await.unwrap_err());
    assert_eq!(told(), [("authorization_denied", None), ("authorization_refused", Some(BROWSER))]);
}
