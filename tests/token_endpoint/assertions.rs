//! A server without `ClientSignatures` refuses each client assertion, and ignores none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::testing::{TestClient, TestServer};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::common::{token, token_as};
use crate::support::{CB, bad_client, granted, redemption};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn jwt(header: &Value, claims: &str, key: Option<&str>) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(&header.to_string()), part(claims));
    let signature = key.map(|key| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    });
    format!("{signed}.{}", signature.unwrap_or_default())
}

/// Assertions that other servers accepted or crashed on, and assertions that a lenient server would accept.
fn assertions(client: &TestClient) -> Vec<String> {
    let claims = |exp: &str| {
        let id = &client.id;
        format!(r#"{{"iss":"{id}","sub":"{id}","aud":"https://id.example","jti":"1","exp":{exp}}}"#)
    };
    let good = claims("4102444800");
    let secret = client.secret.as_ref().map_or("no secret at all", |secret| secret.expose());
    let mut all = vec![
        jwt(&json!({"alg": "HS256"}), &good, Some(secret)),
        jwt(&json!({"alg": "HS256"}), &good, Some("")),
        jwt(&json!({"alg": "none"}), &good, None),
        jwt(&json!({"alg": "NoNe"}), &good, None),
        jwt(&json!({"alg": null}), &good, Some("x")),
        jwt(&json!([]), "null", None),
    ];
    all.extend(
        ["\"never\"", "1e400", "Infinity", "-1", "99999999999999999999999"]
            .map(|exp| jwt(&json!({"alg": "HS256"}), &claims(exp), Some(secret))),
    );
    all.extend(["..", ".", "a.b.c", "\0", "%00", "{}", "\u{20ac}"].map(str::to_owned));
    all.push("a".repeat(50_000));
    all
}

// covers: B29, B31, CA-15 (RFC 6749 §5.2)
#[tokio::test]
async fn client_assertion_is_refused_and_never_ignored() {
    let t = TestServer::new();
    for app in [t.confidential_client(CB).await, t.public_client(CB).await] {
        let approved = t.authorize(&app).approve_as("alice").await;
        let redeem = redemption(&approved, &app);
        let (id, calls) = (("client_id", app.id.as_str()), t.faults.calls());
        for assertion in assertions(&app) {
            let both = [("client_assertion_type", JWT_BEARER), ("client_assertion", &*assertion)];
            for given in [&both[..], &both[1..], &[id, both[0], both[1]], &[id, both[1]]] {
                bad_client(&t, &token(&[&redeem[..], given].concat()), "AuthenticationMethodNotAllowed").await;
            }
        }
        let only_its_type = token(&[&redeem[..], &[id, ("client_assertion_type", JWT_BEARER)]].concat());
        bad_client(&t, &only_its_type, "AuthenticationMethodNotAllowed").await;
        assert_eq!(t.faults.calls(), calls, "nothing is looked up for an assertion");
        granted(&t, &token_as(&app, &redeem)).await;
    }
}
