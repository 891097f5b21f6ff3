//! Resources in signed request objects (RFC 9101).

use grantor::jose::Algorithm;
use grantor::testing::{ISSUER, TestServer};
use grantor::{AuthorizationOutcome, Client, ClientSignatures};
use serde_json::{Value, json};

use crate::common::signed::{header, jwks, key, sign};
use crate::common::{CB, CHALLENGE, authorize, query_of};
use crate::{CALENDAR, MAIL, calendar, mail};

/// The outcome of a request whose object has this resource.
async fn outcome(resource: &Value) -> AuthorizationOutcome {
    let key = key(Algorithm::Es256);
    let t = TestServer::with(|builder| {
        let signatures = ClientSignatures::new().request_objects();
        builder.protected_resource(mail()).resource(calendar()).client_signatures(signatures)
    });
    let client = Client::public("app").authorization_code([CB]).scope("user:read").jwks(jwks(&key)).build();
    t.register(client, None).await;
    let claims = json!({
        "iss": "app", "aud": ISSUER, "client_id": "app", "redirect_uri": CB, "response_type": "code", "state": "s",
        "scope": "user:read", "code_challenge": CHALLENGE, "code_challenge_method": "S256", "resource": resource,
    });
    let object = sign(&key, header(&key, "oauth-authz-req+jwt"), claims).await;
    // The parameter outside of the object is ignored.
    let request = [("client_id", "app"), ("request", &*object), ("resource", "https://other.example")];
    t.server.authorize(&authorize(&request)).await
}

// covers: RI-09 (RFC 8707 §2.1)
#[tokio::test]
async fn object_has_one_resource_as_text_and_several_as_array() {
    for (resource, expected) in [
        (json!(CALENDAR), &[CALENDAR][..]),
        (json!([CALENDAR]), &[CALENDAR]),
        (json!([CALENDAR, MAIL]), &[CALENDAR, MAIL]),
    ] {
        let AuthorizationOutcome::Pending(pending) = outcome(&resource).await else { panic!("{resource}") };
        assert_eq!(pending.resources().collect::<Vec<_>>(), expected, "{resource}");
        assert_eq!(pending.parameter("resource"), Some(expected[0]));
    }
    for (resource, error) in [
        (json!([]), "invalid_request_object"),
        (json!([CALENDAR, 1]), "invalid_request_object"),
        (json!([[CALENDAR]]), "invalid_request_object"),
        (json!({ "0": CALENDAR }), "invalid_request_object"),
        (json!([CALENDAR, "https://other.example"]), "invalid_target"),
    ] {
        let AuthorizationOutcome::Respond(response) = outcome(&resource).await else { panic!("{resource}") };
        let query = query_of(&response);
        assert_eq!((&*query["error"], &*query["state"]), (error, "s"), "{resource}");
    }
}
