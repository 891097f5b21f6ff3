//! Introspection: a resource server learns only about the tokens of its own resources.

use grantor::testing::{TestClient, TestServer};
use grantor::{AccessToken, Client, ClientCredential, ClientSecret, Request};
use serde_json::json;

use crate::common::{CB, basic, form, json};
use crate::{CALENDAR, MAIL, access, calendar, mail, tokens};

// covers: IN-17 (RFC 7662 §4), RI-04 (RFC 8707 §2), TF-12 (RFC 9700 §2.3), AMB-20
#[tokio::test]
async fn resource_server_learns_only_about_its_own_tokens() {
    let t =
        TestServer::with(|builder| builder.protected_resource(mail().introspected_by("mail-api")).resource(calendar()));
    let app = t.confidential_client(CB).await;
    let mut apis = Vec::new();
    for id in ["mail-api", "calendar-api"] {
        let secret = ClientSecret::random().unwrap();
        let credential = ClientCredential::secret(&secret);
        let client = Client::confidential(id, credential).resource_server().build();
        apis.push(t.register(client, Some(secret)).await);
    }
    let for_mail = access(&tokens(&t, &app, "user:read", &[MAIL]).await);
    let for_calendar = access(&tokens(&t, &app, "user:read", &[CALENDAR]).await);
    let told = async |api: &TestClient, token: &AccessToken| {
        let pairs = [("token", token.expose())];
        let authorization = basic(&api.id, api.secret.as_ref().unwrap().expose());
        let request = Request::post_form("/introspect", form(&pairs)).with_header("authorization", authorization);
        json(&t.server.introspect(&request).await)
    };
    assert_eq!(told(&apis[0], &for_mail).await["aud"], MAIL);
    assert_eq!(told(&apis[0], &for_calendar).await, json!({ "active": false }));
    assert_eq!(told(&apis[1], &for_mail).await, json!({ "active": false }));
    assert_eq!(told(&apis[1], &for_calendar).await, json!({ "active": false }));
    // The client of a token learns about it.
    assert_eq!(told(&app, &for_calendar).await["aud"], CALENDAR);
}
