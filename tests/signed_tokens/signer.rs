//! Keys in external services, and the test suite for signers, which notices each mistake.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use grantor::jose::{Algorithm, PublicKey, Signature, Signer, SignerError, SigningKey};
use grantor::testing::{TestServer, check_signer};
use time::Duration;

use crate::{key, machine, signed, token};

/// A key management service: it returns ECDSA signatures in DER, after a delay.
struct Service {
    key: Arc<SigningKey>,
    converts: bool,
}

impl Service {
    fn new(converts: bool) -> Self {
        Self { key: key(Algorithm::Es256), converts }
    }
}

/// The numbers of a signature as DER (RFC 3279 §2.2.3).
fn der(pair: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len() - 1);
        let digits = &bytes[zeros..];
        let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
        let length = u8::try_from(sign.len() + digits.len()).unwrap();
        [&[2, length], sign, digits].concat()
    };
    let (r, s) = pair.split_at(pair.len() / 2);
    let numbers = [number(r), number(s)].concat();
    [&[0x30, u8::try_from(numbers.len()).unwrap()], &numbers[..]].concat()
}

#[async_trait]
impl Signer for Service {
    fn key(&self) -> &PublicKey {
        self.key.public_key()
    }

    async fn sign(&self, input: &[u8]) -> Result<Signature, SignerError> {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let answer = der(self.key.sign(input).await?.as_bytes());
        if self.converts {
            Signature::from_der(Algorithm::Es256, &answer).ok_or_else(|| SignerError::new("the answer is malformed"))
        } else {
            Ok(Signature::from_bytes(answer))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn key_in_a_service_signs_tokens() {
    for _ in 0..20 {
        assert_eq!(check_signer(&Service::new(true)).await, Ok(()));
    }
    let t = TestServer::with(|builder| signed(builder, Service::new(true)));
    let app = machine(&t).await;
    assert!(t.bearer(&token(&t, &app).await.access_token).await.is_ok());
    // A signer that does not convert the signature produces no token.
    let t = TestServer::with(|builder| signed(builder, Service::new(false)));
    let app = machine(&t).await;
    let request = grantor::TokenRequest::client_credentials().scope("user:read");
    assert_eq!(t.token_as(&app, request).await.unwrap_err().status(), 500);
}

#[tokio::test]
async fn keys_in_memory_pass_the_suite() {
    for algorithm in Algorithm::ALL {
        assert_eq!(check_signer(&*key(algorithm)).await, Ok(()), "{algorithm}");
    }
}

/// The mistake of a signer.
enum Mistake {
    NoId,
    NoAlgorithm,
    LongId,
    OtherKey,
    SignsTwice,
    OneAnswer,
    Fails,
    Changes,
}

struct Wrong {
    mistake: Mistake,
    public: [PublicKey; 2],
    key: Arc<SigningKey>,
    asked: AtomicUsize,
}

impl Wrong {
    fn new(mistake: Mistake) -> Self {
        let (key, other) = (key(Algorithm::Es256), key(Algorithm::Es256));
        let without = |name: &str| {
            let jwk = key.public_key().to_jwk().to_string().replace(&format!("\"{name}\""), &format!("\"x-{name}\""));
            PublicKey::from_jwk(&jwk).unwrap()
        };
        let public = match mistake {
            Mistake::NoId => without("kid"),
            Mistake::NoAlgorithm => without("alg"),
            Mistake::LongId => key.public_key().clone().with_id("k".repeat(257)),
            Mistake::OtherKey => other.public_key().clone(),
            _ => key.public_key().clone(),
        };
        Self { mistake, public: [public, other.public_key().clone()], key, asked: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl Signer for Wrong {
    fn key(&self) -> &PublicKey {
        let changed = matches!(self.mistake, Mistake::Changes) && self.asked.load(Ordering::SeqCst) > 3;
        &self.public[usize::from(changed)]
    }

    async fn sign(&self, input: &[u8]) -> Result<Signature, SignerError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.mistake {
            Mistake::Fails if input.len() > 100 => Err(SignerError::new("too long")),
            Mistake::OneAnswer => self.key.sign(b"").await,
            Mistake::SignsTwice => self.key.sign(self.key.sign(input).await?.as_bytes()).await,
            _ => self.key.sign(input).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn signer_suite_finds_each_mistake() {
    let error = check_signer(&Service::new(false)).await.unwrap_err();
    assert!(error.contains("Signature::from_der"), "{error}");
    for (mistake, expected) in [
        (Mistake::NoId, "no identifier"),
        (Mistake::NoAlgorithm, "no algorithm"),
        (Mistake::LongId, "longer than 256"),
        (Mistake::OtherKey, "does not verify"),
        (Mistake::SignsTwice, "does not verify"),
        (Mistake::OneAnswer, "does not verify"),
        (Mistake::Fails, "failed to sign 300 bytes"),
        (Mistake::Changes, "has changed"),
    ] {
        let error = check_signer(&Wrong::new(mistake)).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

/// No token of a grant works after its revocation has returned, even if one was being signed.
#[tokio::test(start_paused = true)]
async fn revocation_during_a_signature_is_final() {
    let t = Arc::new(TestServer::with(|builder| signed(builder, Service::new(true))));
    let app = Arc::new(t.confidential_client("https://app.example/cb").await);
    let first = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    let refresh = first.refresh_token.unwrap();
    let refreshes: Vec<_> = (0..64)
        .map(|place| {
            let (t, app, refresh) = (Arc::clone(&t), Arc::clone(&app), grantor::RefreshToken::new(refresh.expose()));
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(place * 3)).await;
                t.refresh(&app, &refresh).await
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    let alice = grantor::Subject::new("alice").unwrap();
    let which = grantor::storage::GrantSelector::Subject(alice);
    assert!(t.server.revoke_grants(&which).await.unwrap() >= 1);
    let (mut answered, mut refused) = (0, 0);
    for refresh in refreshes {
        match refresh.await.unwrap() {
            Ok(tokens) => {
                answered += 1;
                assert!(t.bearer(&tokens.access_token).await.is_err());
                assert!(t.refresh(&app, &tokens.refresh_token.unwrap()).await.is_err());
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.code().as_str(), "invalid_grant");
            }
        }
    }
    assert!(answered > 0 && refused > 0, "{answered} {refused}");
    t.clock.advance(Duration::SECOND);
    assert!(t.bearer(&first.access_token).await.is_err());
}
