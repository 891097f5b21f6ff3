use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::jose::{Signer, SignerError, SigningKey};
use serde_json::{Value, json};

/// Returns the address for the browser, with the request in a signed object. `now` is the time in seconds since 1970.
pub async fn signed_request(key: &SigningKey, state: &str, challenge: &str, now: i64) -> Result<String, SignerError> {
    let public = key.public_key();
    let header = json!({ "typ": "oauth-authz-req+jwt", "alg": public.algorithm(), "kid": public.id() });
    let claims = json!({
        "iss": "mailer",
        "aud": "https://id.example.com",
        "exp": now + 300,
        "client_id": "mailer",
        "redirect_uri": "https://mailer.example/callback",
        "response_type": "code",
        "scope": "mail:read",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    });
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).await?.as_bytes());
    Ok(format!("https://id.example.com/authorize?client_id=mailer&request={signed}.{signature}"))
}
