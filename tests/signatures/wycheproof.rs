//! Every Wycheproof signature for our algorithms gets the verdict of its authors.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::jose::{Algorithm, AwsLc, PublicKey, Signature, Verifier};
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

fn key(members: &Value) -> PublicKey {
    PublicKey::from_jwk(&members.to_string()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A number, encoded as in a JWK.
fn number(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    text(&bytes[zeros..])
}

/// How many signatures were accepted and refused.
#[derive(Debug, Default, PartialEq)]
struct Judged {
    accepted: usize,
    refused: usize,
}

impl Judged {
    fn judge(&mut self, is_good: bool, expected: TestResult, what: &str) {
        match expected {
            TestResult::Valid => assert!(is_good, "{what} is refused"),
            TestResult::Invalid => assert!(!is_good, "{what} is accepted"),
            TestResult::Acceptable => {}
        }
        *(if is_good { &mut self.accepted } else { &mut self.refused }) += 1;
    }

    fn saw_both(&self) {
        assert!(self.accepted > 5 && self.refused > 20, "{self:?}");
    }
}

// covers: KM-06 (RFC 7518 §3.4, §3.5; RFC 8037 §3.1)
#[test]
fn ecdsa_signatures_are_judged_as_wycheproof_says() {
    let sets = [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Algorithm::Es256, "P-256", false),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Algorithm::Es384, "P-384", false),
        (ecdsa::TestName::EcdsaSecp256r1Sha256, Algorithm::Es256, "P-256", true),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, Algorithm::Es384, "P-384", true),
    ];
    for (name, algorithm, curve, is_der) in sets {
        let mut judged = Judged::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at((group.key.key.len() - 1) / 2);
            let key = key(&json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) }));
            for test in group.tests {
                let signature = if is_der {
                    Signature::from_der(algorithm, &test.sig)
                } else {
                    Some(Signature::from_bytes(test.sig.to_vec()))
                };
                let is_good = signature
                    .is_some_and(|signature| AwsLc.verify(algorithm, &key, &test.msg, signature.as_bytes()).is_ok());
                judged.judge(is_good, test.result, &format!("{name:?} {}", test.tc_id));
            }
        }
        judged.saw_both();
    }
}

#[test]
fn ed25519_signatures_are_judged_as_wycheproof_says() {
    let mut judged = Judged::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = key(&json!({ "kty": "OKP", "crv": "Ed25519", "x": text(&group.key.pk) }));
        for test in group.tests {
            for algorithm in [Algorithm::EdDsa, Algorithm::Ed25519] {
                let is_good = AwsLc.verify(algorithm, &key, &test.msg, &test.sig).is_ok();
                judged.judge(is_good, test.result, &test.tc_id.to_string());
            }
        }
    }
    judged.saw_both();
}

#[test]
fn rsa_signatures_are_judged_as_wycheproof_says() {
    let mut judged = Judged::default();
    for group in rsa_pkcs1_verify::TestSet::load(rsa_pkcs1_verify::TestName::Rsa2048Sha256).unwrap().test_groups {
        let key = key(&json!({ "kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e) }));
        for test in group.tests {
            let is_good = AwsLc.verify(Algorithm::Rs256, &key, &test.msg, &test.sig).is_ok();
            judged.judge(is_good, test.result, &format!("PKCS #1 {}", test.tc_id));
        }
    }
    judged.saw_both();
    let mut judged = Judged::default();
    let name = rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen32;
    for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
        let key = key(&json!({ "kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e) }));
        for test in group.tests {
            let is_good = AwsLc.verify(Algorithm::Ps256, &key, &test.msg, &test.sig).is_ok();
            judged.judge(is_good, test.result, &format!("PSS {}", test.tc_id));
        }
    }
    judged.saw_both();
}
