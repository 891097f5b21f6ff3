//! Issued values can't be guessed.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::testing::{TestClient, TestServer};
use grantor::{
    AccessToken, AuthorizationCode, Client, ClientId, ClientSecret, CodeVerifier, ErrorCode, Password, Policy,
    RefreshToken, Storage, SystemEntropy, TokenRequest,
};

use crate::{REDIRECT_URI, VERIFIER};

/// The characters of base64url, of which all issued values are made.
fn is_base64url(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A server with the operating system's randomness, a public client and a user.
async fn random_server() -> (TestServer, TestClient) {
    let mut policy = Policy::default();
    policy.dangerous().allow_password_grant = true;
    let t = TestServer::with(|builder| builder.policy(policy).entropy(SystemEntropy));
    t.users.add("alice", "correct horse");
    let app = Client::public("app").authorization_code([REDIRECT_URI]).refresh_token().password().scope("user:read");
    let app = t.register(app.build(), None).await;
    (t, app)
}

// covers: TF-01 (RFC 6749 §10.10), TF-02, TF-06 (RFC 6750 §5.2), TF-09 (RFC 6750 §2.1), PP-22 (RFC 6749 §2.2), B42
#[tokio::test]
async fn many_issued_values_are_256_random_bits() {
    const ROUNDS: usize = 20_000;
    let (t, app) = random_server().await;
    let password = Password::new("correct horse");
    let mut values = HashSet::with_capacity(5 * ROUNDS);
    let mut new = |value: &str| assert!(values.insert(value.to_owned()), "a value was issued twice");
    for _ in 0..ROUNDS {
        let request = TokenRequest::password("alice", &password).scope("user:read");
        let tokens = t.token_as(&app, request).await.unwrap();
        new(tokens.access_token.expose());
        let refresh_token = tokens.refresh_token.unwrap();
        new(refresh_token.expose());
        // Derived tokens must be as random as tokens from the generator.
        let derived = t.refresh(&app, &refresh_token).await.unwrap();
        new(derived.access_token.expose());
        new(derived.refresh_token.unwrap().expose());
        new(ClientSecret::generate(&SystemEntropy).unwrap().expose());
    }
    for _ in 0..1_000 {
        let flow = t.authorize(&app).approve_as("alice").await;
        new(flow.code().expose());
    }

    let (mut bits, mut bytes) = ([0_u32; 256], [0_u32; 256]);
    for value in &values {
        assert!(value.len() == 43 && is_base64url(value), "{value}");
        let decoded: [u8; 32] = URL_SAFE_NO_PAD.decode(value).unwrap().try_into().unwrap();
        for (place, byte) in decoded.iter().enumerate() {
            bytes[usize::from(*byte)] += 1;
            for bit in 0..8 {
                bits[place * 8 + bit] += u32::from(byte >> bit & 1);
            }
        }
    }
    let count = f64::from(u32::try_from(values.len()).unwrap());
    assert!(count > 1e5);
    // No bit is constant or biased: 1 % is more than six standard deviations.
    for (place, ones) in bits.iter().enumerate() {
        let share = f64::from(*ones) / count;
        assert!((share - 0.5).abs() < 0.01, "bit {place} is set in {share} of all values");
    }
    // Pearson's test over all bytes: 255 degrees of freedom, so 255 on average; 450 has a chance of 1e-12.
    let expected = count * 32.0 / 256.0;
    let chi_squared: f64 = bytes.iter().map(|seen| (f64::from(*seen) - expected).powi(2) / expected).sum();
    assert!(chi_squared < 450.0, "{chi_squared}");
}

// covers: TF-09 (RFC 6749 Appendix A.11 to A.17), PP-22 (RFC 6749 §2.2), B42
#[tokio::test]
async fn issued_values_have_documented_size_and_alphabet() {
    let (t, app) = random_server().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let tokens = approved.redeem().await.unwrap();
    let refreshed = t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
    for (what, value) in [
        ("code", approved.code().expose()),
        ("access token", tokens.access_token.expose()),
        ("refresh token", tokens.refresh_token.as_ref().unwrap().expose()),
        ("derived access token", refreshed.access_token.expose()),
        ("derived refresh token", refreshed.refresh_token.as_ref().unwrap().expose()),
        ("client secret", ClientSecret::generate(&SystemEntropy).unwrap().expose()),
    ] {
        assert!(value.len() == 43 && is_base64url(value), "{what}: {value}");
    }
    let id = ClientId::generate(&SystemEntropy).unwrap();
    assert!(id.as_str().len() == 22 && is_base64url(id.as_str()), "{id}");
    let grant = t.storage.find(&tokens.access_token.hash()).await.unwrap().unwrap().grant;
    assert!(grant.id.to_string().len() == 22 && is_base64url(&grant.id.to_string()), "{}", grant.id);
}

/// A value with one character replaced by a different character of the alphabet.
fn flipped(value: &str, place: usize, by: char) -> String {
    value.chars().enumerate().map(|(at, c)| if at == place { by } else { c }).collect()
}

/// Returns values that differ in one character. The last character is replaced by each other character, because a
/// decoder ignores its lowest two bits.
fn neighbours(value: &str) -> Vec<String> {
    let last = value.len() - 1;
    let others = |c: char| ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).filter(move |it| *it != c);
    let at = |place| value.chars().nth(place).unwrap();
    let everywhere = (0..last).map(|place| flipped(value, place, others(at(place)).next().unwrap()));
    everywhere.chain(others(at(last)).map(|by| flipped(value, last, by))).collect()
}

// covers: TF-03 (RFC 6749 §10.3), TF-04 (RFC 6749 §10.4), GR-18 (RFC 9700 §4.14.2), GC-12 (RFC 6749 §4.1.3)
#[tokio::test]
async fn token_with_a_changed_character_is_unknown() {
    let t = TestServer::new();
    let app = t.public_client(REDIRECT_URI).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    for code in neighbours(approved.code().expose()) {
        let code = AuthorizationCode::new(code);
        let request = TokenRequest::authorization_code(&code).redirect_uri(REDIRECT_URI);
        let error = t.token_as(&app, request.code_verifier(&CodeVerifier::new(VERIFIER))).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_GRANT, "{}", code.expose());
    }
    let tokens = approved.redeem().await.unwrap();
    let refresh_token = tokens.refresh_token.unwrap();
    for token in neighbours(tokens.access_token.expose()) {
        let error = t.bearer(&AccessToken::new(&*token)).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::INVALID_TOKEN), "{token}");
    }
    for token in neighbours(refresh_token.expose()) {
        let error = t.refresh(&app, &RefreshToken::new(&*token)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_GRANT, "{token}");
    }
    assert_eq!(neighbours(refresh_token.expose()).len(), 42 + 63);
    assert!(t.bearer(&tokens.access_token).await.is_ok());
    assert!(t.refresh(&app, &refresh_token).await.is_ok());
    assert_eq!(t.events.count("code_replayed") + t.events.count("refresh_token_reused"), 0);
}
