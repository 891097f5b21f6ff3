use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::jose::{Signer, SignerError, SigningKey};
use serde_json::{Value, json};

/// Signs an assertion for one request. `now` is the time in seconds since 1970.
pub async fn assertion(key: &SigningKey, client_id: &str, now: i64) -> Result<String, SignerError> {
    let public = key.public_key();
    let header = json!({ "typ": "client-authentication+jwt", "alg": public.algorithm(), "kid": public.id() });
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": "https://id.example.com", // the issuer, not the URL of an endpoint
        "iat": now,
        "exp": now + 60,
        "jti": format!("{:032x}", rand::random::<u128>()), // another one for each request
    });
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(signed.as_bytes()).await?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes())))
}
