//! Signing and verifying, with the examples of the specifications.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::sign::sign;
use super::verify::{Accepted, Typ, verify};
use super::*;

const TYP: &str = "at+jwt";

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a key in memory never waits"),
    }
}

fn accept(algorithms: &[Algorithm]) -> Accepted<'_> {
    Accepted { max_size: 8192, typ: Typ::Is(TYP), algorithms }
}

fn pem(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => include_str!("../../tests/keys/rsa.pem"),
        Algorithm::Es256 => include_str!("../../tests/keys/p256.pem"),
        Algorithm::Es384 => include_str!("../../tests/keys/p384.pem"),
        Algorithm::EdDsa | Algorithm::Ed25519 => include_str!("../../tests/keys/ed25519.pem"),
    }
}

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::from_pem(algorithm, pem(algorithm)).unwrap()
}

fn signed(key: &SigningKey) -> String {
    ready(sign(key, TYP, br#"{"iss":"https://as.example","exp":1700000000}"#)).unwrap()
}

// covers: KM-04 (RFC 7518 §3), KM-06 (RFC 7518 §3.4, §3.5)
#[test]
fn signed_text_is_verified_with_the_public_key() {
    for algorithm in Algorithm::ALL {
        for key in [key(algorithm), SigningKey::generate(algorithm).unwrap()] {
            let text = signed(&key);
            let published = PublicKey::from_jwk(&key.public_key().to_jwk().to_string()).unwrap();
            let claims = verify(&text, accept(&[algorithm]), std::slice::from_ref(&published), &AwsLc).unwrap();
            assert_eq!(claims.text("iss"), Ok(Some("https://as.example")));
            assert_eq!(claims.time("exp"), Ok(OffsetDateTime::from_unix_timestamp(1_700_000_000).ok()));
            let jws = jws::parse(&text, 8192).unwrap();
            let id = published.thumbprint();
            assert_eq!(jws.header.algorithm, Some(algorithm));
            assert_eq!((jws.header.key_id, jws.header.typ), (Some(id), Some(TYP.to_owned())));
            let size = match algorithm {
                Algorithm::Rs256 | Algorithm::Ps256 => 256,
                Algorithm::Es384 => 96,
                _ => 64,
            };
            assert_eq!(jws.signature.len(), size);
        }
    }
}

#[test]
fn changed_text_is_refused() {
    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let text = signed(&key);
        let keys = [key.public_key().clone()];
        for at in (0..text.len()).step_by(7) {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            if changed != text {
                assert!(verify(&changed, accept(&[algorithm]), &keys, &AwsLc).is_err(), "{algorithm} {at}");
            }
        }
    }
}

// covers: KM-01 (RFC 8725 §3.1), KM-02, KM-20 (RFC 8725 §3.11)
#[test]
fn other_algorithm_type_or_key_is_refused() {
    let rsa = key(Algorithm::Rs256);
    let text = signed(&rsa);
    let own = [rsa.public_key().clone()];
    let check = |accepted: Accepted<'_>, keys: &[PublicKey]| verify(&text, accepted, keys, &AwsLc).map(|_| ());
    assert_eq!(check(accept(&Algorithm::ALL), &own), Ok(()));
    assert_eq!(check(accept(&[Algorithm::Ps256, Algorithm::Es256]), &own), Err(JwtProblem::Algorithm));
    assert_eq!(check(accept(&[]), &own), Err(JwtProblem::Algorithm));
    let other_type = Accepted { typ: Typ::Is("jwt"), ..accept(&Algorithm::ALL) };
    assert_eq!(check(other_type, &own), Err(JwtProblem::Type));
    assert_eq!(check(Accepted { max_size: text.len() - 1, ..other_type }, &own), Err(JwtProblem::Malformed));
    // The same numbers, for the other algorithm of RSA keys.
    let pss = [own[0].clone().with_algorithm(Algorithm::Ps256).unwrap()];
    assert_eq!(check(accept(&Algorithm::ALL), &pss), Err(JwtProblem::UnknownKey));
    let renamed = [own[0].clone().with_id("other")];
    assert_eq!(check(accept(&Algorithm::ALL), &renamed), Err(JwtProblem::UnknownKey));
    let foreign = SigningKey::generate(Algorithm::Rs256).unwrap().public_key().clone();
    assert_eq!(check(accept(&Algorithm::ALL), std::slice::from_ref(&foreign)), Err(JwtProblem::UnknownKey));
    assert_eq!(check(accept(&Algorithm::ALL), &[foreign.with_id(own[0].id().unwrap())]), Err(JwtProblem::Signature));
    let elliptic = key(Algorithm::Es256).public_key().clone().with_id(own[0].id().unwrap());
    assert_eq!(check(accept(&Algorithm::ALL), &[elliptic]), Err(JwtProblem::UnknownKey));
}

#[test]
fn generic_or_missing_typ_is_accepted_where_allowed() {
    let key = key(Algorithm::Es256);
    let lenient = Accepted { typ: Typ::IsOrGeneral("oauth-authz-req+jwt"), ..accept(&[Algorithm::Es256]) };
    for (typ, expected) in [("JWT", Ok(())), ("oauth-authz-req+jwt", Ok(())), ("at+jwt", Err(JwtProblem::Type))] {
        let text = ready(sign(&key, typ, b"{}")).unwrap();
        assert_eq!(verify(&text, lenient, &[key.public_key().clone()], &AwsLc).map(|_| ()), expected, "{typ}");
    }
}

#[test]
fn signed_text_that_is_no_object_is_refused() {
    let key = key(Algorithm::Es256);
    for payload in ["", "[]", "text", r#"{"a":1,"a":2}"#] {
        let text = ready(sign(&key, TYP, payload.as_bytes())).unwrap();
        let verified = verify(&text, accept(&[Algorithm::Es256]), &[key.public_key().clone()], &AwsLc);
        assert_eq!(verified.map(|_| ()), Err(JwtProblem::Malformed), "{payload}");
    }
}

/// RFC 7515 Appendix A.3, RFC 8037 Appendix A.4: header, payload and key are those of the specifications.
#[test]
fn examples_of_the_specifications_are_verified() {
    let examples = [
        (
            Algorithm::Es256,
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::EdDsa,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];
    for (algorithm, jwk, text) in examples {
        let key = PublicKey::from_jwk(jwk).unwrap();
        let jws = jws::parse(text, 8192).unwrap();
        assert_eq!(jws.header.algorithm, Some(algorithm));
        assert_eq!(AwsLc.verify(algorithm, &key, jws.signed, &jws.signature), Ok(()));
        assert_eq!(AwsLc.verify(algorithm, &key, &jws.signed[1..], &jws.signature), Err(BadSignature));
    }
}

#[test]
fn point_that_is_not_on_the_curve_verifies_nothing() {
    let text = signed(&key(Algorithm::Es256));
    let jws = jws::parse(&text, 8192).unwrap();
    let x = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let off = PublicKey::from_jwk(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}"}}"#)).unwrap();
    assert_eq!(AwsLc.verify(Algorithm::Es256, &off, jws.signed, &jws.signature), Err(BadSignature));
}

#[test]
fn keys_are_read_in_the_forms_that_openssl_writes() {
    let same = [
        (Algorithm::Rs256, include_str!("../../tests/keys/rsa.pem"), include_str!("../../tests/keys/rsa_pkcs1.pem")),
        (Algorithm::Es256, include_str!("../../tests/keys/p256.pem"), include_str!("../../tests/keys/p256_sec1.pem")),
    ];
    for (algorithm, pkcs8, own) in same {
        let read = |pem| SigningKey::from_pem(algorithm, pem).unwrap().public_key().clone();
        assert_eq!(read(pkcs8), read(own));
    }
    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let again = SigningKey::from_der(algorithm, &key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert!(verify(&signed(&again), accept(&[algorithm]), &[key.public_key().clone()], &AwsLc).is_ok());
    }
}

// covers: KM-03 (RFC 7518 §3.3)
#[test]
fn unsuitable_private_keys_are_refused() {
    let small = SigningKey::from_pem(Algorithm::Rs256, include_str!("../../tests/keys/rsa1024.pem"));
    assert!(matches!(small, Err(InvalidKey::Unreadable | InvalidKey::Size)), "{small:?}");
    for algorithm in Algorithm::ALL {
        for other in Algorithm::ALL.into_iter().filter(|other| pem(*other) != pem(algorithm)) {
            assert_eq!(SigningKey::from_pem(algorithm, pem(other)).unwrap_err(), InvalidKey::Unreadable);
        }
        for bad in
            ["", "x", include_str!("../../tests/keys/x25519.pem"), include_str!("../../tests/keys/rsa_encrypted.pem")]
        {
            assert_eq!(SigningKey::from_pem(algorithm, bad).unwrap_err(), InvalidKey::Unreadable);
        }
    }
}

/// The private halves are those of RFC 7515 Appendix A.3.1 and RFC 8037 Appendix A.1.
#[test]
fn private_jwk_is_read_and_signs() {
    let elliptic = r#"{"kty":"EC","crv":"P-256","alg":"ES256","kid":"mine","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    let edwards = r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;
    for (jwk, algorithm, id) in [
        (elliptic, Algorithm::Es256, "mine"),
        (edwards, Algorithm::EdDsa, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ] {
        let key = SigningKey::from_jwk(jwk).unwrap();
        assert_eq!(key.public_key().id(), Some(id));
        assert!(verify(&signed(&key), accept(&[algorithm]), &[key.public_key().clone()], &AwsLc).is_ok());
        assert_eq!(
            SigningKey::from_jwk(&jwk.replace(r#""alg""#, r#""x-alg""#)).unwrap_err(),
            InvalidKey::Member("alg")
        );
        assert_eq!(SigningKey::from_jwk(&jwk.replace(r#""d""#, r#""x-d""#)).unwrap_err(), InvalidKey::Member("d"));
    }
    // RFC 8037 Appendix A.4: Ed25519 signatures are deterministic.
    let key = SigningKey::from_jwk(edwards).unwrap();
    let signature = ready(key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")).unwrap();
    let mut text = String::from("a.b");
    jws::append_signature(&mut text, signature.as_bytes());
    assert_eq!(text, "a.b.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    // A private half that belongs to another public one.
    let mixed = elliptic.replace("jpsQnnGQmL", "jpsQnnGQmM");
    assert_eq!(SigningKey::from_jwk(&mixed).unwrap_err(), InvalidKey::Unreadable);
}

// covers: KM-15
#[test]
fn private_key_is_not_shown() {
    let key = SigningKey::from_jwk(r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#).unwrap();
    let shown = format!("{key:?}");
    assert!(shown.contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), "{shown}");
    assert!(!shown.contains("nWGxne_9WmC6"), "{shown}");
    let ring = KeyRing::new().sign_with(key).build().unwrap();
    assert!(!format!("{ring:?}").contains("nWGxne_9WmC6"));
}

/// Returns the result that it was created with.
struct Stub(PublicKey, Result<usize, ()>);

#[async_trait]
impl Signer for Stub {
    fn key(&self) -> &PublicKey {
        &self.0
    }

    async fn sign(&self, _: &[u8]) -> Result<Signature, SignerError> {
        self.1.map(|size| Signature::from_bytes(vec![0; size])).map_err(|()| SignerError::new("offline"))
    }
}

// covers: KM-16
#[test]
fn failing_or_malformed_signer_produces_no_text() {
    let public = key(Algorithm::Es256).public_key().clone();
    let nameless = PublicKey::from_jwk(&public.to_jwk().to_string().replace(r#""kid""#, r#""x-kid""#)).unwrap();
    assert!(ready(sign(&Stub(public.clone(), Ok(64)), TYP, b"{}")).is_ok());
    for stub in
        [Stub(public.clone(), Err(())), Stub(public.clone(), Ok(70)), Stub(public, Ok(0)), Stub(nameless, Ok(64))]
    {
        assert!(ready(sign(&stub, TYP, b"{}")).is_err(), "{:?}", stub.1);
    }
}

#[test]
fn ring_signs_with_one_key_per_algorithm_and_publishes_all() {
    let (rsa, now, next) =
        (key(Algorithm::Rs256), key(Algorithm::Es256), SigningKey::generate(Algorithm::Es256).unwrap());
    let public = |key: &SigningKey| key.public_key().clone();
    let (expected, next_id) =
        (vec![public(&rsa), public(&now), public(&next)], next.public_key().id().unwrap().to_owned());
    let ring = KeyRing::new().sign_with(rsa).sign_with(now).publish(public(&next)).build().unwrap();
    assert_eq!(ring.algorithms(), [Algorithm::Rs256, Algorithm::Es256]);
    assert_eq!(ready(ring.published()).unwrap().to_vec(), expected);
    assert_eq!(ready(ring.signer(Algorithm::Es256)).unwrap().key(), &expected[1]);
    assert!(matches!(ready(ring.signer(Algorithm::EdDsa)), Err(KeyError::NoKey(Algorithm::EdDsa))));
    let after =
        KeyRing::new().sign_with(key(Algorithm::Rs256)).sign_with(next).publish(expected[1].clone()).build().unwrap();
    ring.replace(after).unwrap();
    assert_eq!(ready(ring.signer(Algorithm::Es256)).unwrap().key().id(), Some(&*next_id));
    let other = KeyRing::new().sign_with(key(Algorithm::EdDsa)).build().unwrap();
    assert_eq!(ring.replace(other), Err(KeyRingError::OtherAlgorithms));
}

// covers: KM-02 (RFC 8725 §3.1), KM-07 (RFC 7517 §4.5)
#[test]
fn keys_that_make_no_ring_are_refused() {
    let public = |algorithm| key(algorithm).public_key().clone();
    let id = |algorithm| Box::<str>::from(public(algorithm).id().unwrap());
    let build = |signers: Vec<SigningKey>, others: Vec<PublicKey>| {
        let ring = signers.into_iter().fold(KeyRing::new(), KeyRingBuilder::sign_with);
        others.into_iter().fold(ring, KeyRingBuilder::publish).build().map(|_| ())
    };
    assert_eq!(build(vec![], vec![]), Err(KeyRingError::NoSigner));
    assert_eq!(build(vec![], vec![public(Algorithm::Es256)]), Err(KeyRingError::NoSigner));
    let twice = vec![key(Algorithm::Es256), SigningKey::generate(Algorithm::Es256).unwrap()];
    assert_eq!(build(twice, vec![]), Err(KeyRingError::SameAlgorithm(Algorithm::Es256)));
    let same_id = public(Algorithm::EdDsa).with_id(id(Algorithm::Es256));
    assert_eq!(build(vec![key(Algorithm::Es256)], vec![same_id]), Err(KeyRingError::SameId(id(Algorithm::Es256))));
    let both = vec![key(Algorithm::Rs256), key(Algorithm::Ps256).with_id("pss")];
    assert_eq!(build(both, vec![]), Err(KeyRingError::SameKey("pss".into())));
    let nameless = PublicKey::from_jwk(
        r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    )
    .unwrap();
    assert_eq!(build(vec![key(Algorithm::Es256)], vec![nameless]), Err(KeyRingError::Incomplete));
    for (length, expected) in [(0, Err(KeyRingError::Incomplete)), (256, Ok(())), (257, Err(KeyRingError::Incomplete))]
    {
        assert_eq!(build(vec![key(Algorithm::Es256).with_id("k".repeat(length))], vec![]), expected, "{length}");
    }
}
