//! The randomness of codes and tokens, and that all of it is used (RFC 6749 §10.10).

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::testing::{SeededEntropy, TestServer};
use grantor::{AccessToken, AuthorizationServer, ClientSecret, Entropy, EntropyError, SystemEntropy, TokenRequest};

use crate::support::{CB, confidential, lives, public, refresh_of, row, tokens_of};

/// Records every byte that it returns.
#[derive(Clone)]
struct Traced {
    source: SeededEntropy,
    drawn: Arc<Mutex<Vec<u8>>>,
}

impl Entropy for Traced {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.source.fill(bytes)?;
        self.drawn.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }
}

impl Traced {
    fn forget(&self) {
        self.drawn.lock().unwrap().clear();
    }

    /// The position of the bytes among those drawn since [`forget`](Self::forget).
    #[track_caller]
    fn place_of(&self, bytes: &[u8]) -> usize {
        let drawn = self.drawn.lock().unwrap();
        drawn.windows(bytes.len()).position(|window| window == bytes).expect("bytes that were drawn")
    }
}

#[track_caller]
fn decoded(token: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64url");
    assert_eq!(bytes.len(), 32, "256 bits");
    bytes
}

// covers: TF-01 (RFC 6749 §10.10), TF-02 (RFC 6749 §10.10), B42
#[tokio::test]
async fn codes_tokens_and_seeds_are_256_fresh_bits() {
    let entropy = Traced { source: SeededEntropy::new(1), drawn: Arc::default() };
    let t = TestServer::with(|builder| builder.entropy(entropy.clone()));
    let app = t.public_client(CB).await;
    entropy.forget();
    let approved = t.authorize(&app).approve_as("alice").await;
    let grant_id = row(&t, approved.code().hash()).await.1.id;
    let mut places =
        vec![(entropy.place_of(grant_id.as_bytes()), 16), (entropy.place_of(&decoded(approved.code().expose())), 32)];
    let first = approved.redeem().await.unwrap();
    places.push((entropy.place_of(&decoded(first.access_token.expose())), 32));
    places.push((entropy.place_of(&decoded(refresh_of(&first).expose())), 32));
    let second = t.refresh(&app, refresh_of(&first)).await.unwrap();
    let spent = row(&t, refresh_of(&first).hash()).await.0.spent.clone().unwrap();
    places.push((entropy.place_of(spent.seed.unwrap().expose()), 32));
    // No bit is used twice, so a value reveals nothing about other values.
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{places:?}");
    assert_ne!(decoded(second.access_token.expose()), decoded(refresh_of(&second).expose()));
}

// covers: TF-06 (RFC 6750 §5.2), TF-09 (RFC 6750 §2.1)
#[tokio::test]
async fn ten_thousand_default_tokens_are_distinct_and_uniform() {
    let mut t = TestServer::new();
    t.server = AuthorizationServer::builder("https://id.example")
        .storage(t.storage.clone())
        .scope("user:read", "Read your profile")
        .build()
        .await
        .unwrap();
    let app = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    let mut seen = HashSet::new();
    let mut counts = [0_u32; 256];
    for _ in 0..10_000 {
        let tokens = t.token_as(&app, TokenRequest::client_credentials().scope("user:read")).await.unwrap();
        let token = tokens.access_token.expose();
        assert!(token.len() == 43 && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
        for byte in decoded(token) {
            counts[usize::from(byte)] += 1;
        }
        assert!(seen.insert(token.to_owned()), "a token came twice");
    }
    // Each byte is expected 1,250 times, with a standard deviation of 35. Ten deviations do not happen by chance.
    assert!(counts.iter().all(|count| (900..1_600).contains(count)), "{counts:?}");
}

// covers: TF-09 (RFC 6749 App. A.11)
#[tokio::test]
async fn codes_and_secrets_are_printable_ascii_of_one_length() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let first = approved.redeem().await.unwrap();
    let second = t.refresh(&app, refresh_of(&first)).await.unwrap();
    let secret = ClientSecret::generate(&SystemEntropy).unwrap();
    for value in [
        approved.code().expose(),
        first.access_token.expose(),
        refresh_of(&first).expose(),
        second.access_token.expose(),
        refresh_of(&second).expose(),
        secret.expose(),
        app.secret.as_ref().unwrap().expose(),
    ] {
        decoded(value);
        assert_eq!(value.len(), 43);
    }
}

// covers: TF-03 (RFC 6749 §10.3)
#[tokio::test]
async fn access_token_with_any_change_is_refused() {
    let (t, app) = public().await;
    let tokens = tokens_of(&t, &app).await;
    let right = tokens.access_token.expose();
    for at in 0..right.len() {
        let flipped = if &right[at..=at] == "A" { "B" } else { "A" };
        let wrong = AccessToken::new(format!("{}{flipped}{}", &right[..at], &right[at + 1..]));
        assert!(!lives(&t, &wrong).await);
    }
    assert!(lives(&t, &tokens.access_token).await);
}
