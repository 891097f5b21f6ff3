//! Clause 8: records are returned unchanged.

use std::sync::Arc;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::node::Outcome;
use super::records::{DAY, HOUR, TICK};
use super::trial::{Named, Trial};
use crate::pkce::CodeChallenge;
use crate::record::{ClientId, CodeBinding, Grant, GrantDetails, GrantType, Spent, StoredToken, Subject, TokenKind};
use crate::scope::Scope;
use crate::secret::CodeVerifier;

pub(super) const CASES: &[Named] = &[
    ("every member of a token is returned unchanged", tokens),
    ("every member of a grant is returned unchanged", grants),
    ("grant data of the host is returned as the same JSON", host_data),
    ("times are returned to the microsecond", times),
];

/// Stores a grant and a token, and compares them with what each node finds.
fn come_back(t: &Trial<'_>, what: &str, of: &Grant, token: &StoredToken) -> Outcome {
    t.node(0).open(of, std::slice::from_ref(token))?;
    t.expect_found(what, &(Arc::new(token.clone()), Arc::new(of.clone())))
}

fn code_binding(t: &Trial<'_>, was_sent: bool, has_challenge: bool) -> CodeBinding {
    let verifier = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let challenge = has_challenge.then(|| CodeChallenge::s256(&verifier));
    let uri = format!("https://app.example/cb?one={}&two=%2F'\"\\", t.number);
    CodeBinding::new(uri, was_sent, challenge)
}

fn tokens(t: &Trial<'_>) -> Outcome {
    let kinds =
        [TokenKind::AuthorizationCode, TokenKind::AccessToken, TokenKind::RefreshToken, "of a newer version".into()];
    // All combinations of present and absent optional members.
    for number in 0..64_u64 {
        let of = t.grant(number);
        let kind = kinds[usize::try_from(number % 4).unwrap_or_default()].clone();
        let has = |bit: u64| (number / 4) & bit != 0;
        let mut token = t.token(number, kind, &of);
        token.scope =
            Scope::parse(if has(1) { "user:read" } else { "a !#$%&'()*+,-./:;<=>?@[]^_`{|}~ zZ" }).expect("a scope");
        token.issued_at = t.at(TICK);
        token.expires_at = t.at(HOUR + 2 * TICK);
        token.parent = has(1).then(|| t.hash(number + 1_000));
        let seed = has(4).then(|| t.seed(number));
        token.spent = has(2).then(|| Spent {
            at: t.at(3 * TICK),
            attempt: t.attempt(number),
            seed_until: seed.as_ref().map(|_| t.at(7 * TICK)),
            seed,
        });
        token.revoked_at = has(8).then(|| t.at(4 * TICK));
        let is_code = token.kind == TokenKind::AuthorizationCode;
        token.details.code = is_code.then(|| code_binding(t, has(4), has(8)));
        token.details.requested_scope = has(4).then(|| token.scope.clone());
        if has(8) {
            token.details.response_members.insert("b \"\u{1f980}'\\".to_owned(), json!({ "z": [1.5, null], "a": {} }));
        }
        come_back(t, "a token that was stored with its grant", &of, &token)?;

        let (again, first) = t.family(number + 100)?;
        let successor = StoredToken { hash: t.hash(number + 200), grant_id: again.id, ..token };
        t.node(0).must_redeem(&t.spend(&first, number), std::slice::from_ref(&successor))?;
        t.expect_eq_records("a token that was stored as a successor", &successor, &t.node(1).row(successor.hash)?.0);
    }
    // Bytes that are not valid text, and zeros.
    for (number, bytes) in (500..).zip([[0; 32], [0xff; 32], [0x5c; 32], [0x27; 32]]) {
        let of = t.grant(number);
        let hash = crate::secret::TokenHash::from_bytes(bytes);
        come_back(t, "a token with an unusual hash", &of, &StoredToken { hash, ..t.access(0, &of) })?;
    }
    Ok(())
}

fn grants(t: &Trial<'_>) -> Outcome {
    let longest = "\u{1f980}".repeat(63);
    let subjects =
        [None, Some("x"), Some("0"), Some("O'Brien \"\\%_"), Some(" \u{e9}\u{301}\u{202e} "), Some(&longest)];
    let longest = "~".repeat(255);
    let clients = ["app", " ", "'; DROP TABLE grants; --", "a\"b\\c%d_e", "NULL", &longest];
    let types = ["authorization_code", "implicit", "client_credentials", "password", "refresh_token", "urn:x:y?a=b"];
    for (number, ((subject, client), grant_type)) in (0..).zip(subjects.into_iter().zip(clients).zip(types)) {
        for (number, revoked_at) in [(number, None), (number + 100, Some(t.at(5 * TICK)))] {
            let of = Grant {
                subject: subject.map(|subject| Subject::new(subject).expect("a good subject")),
                client_id: ClientId::new(client).expect("a good client identifier"),
                grant_type: GrantType::new(grant_type).expect("a good grant type"),
                scope: Scope::parse(&format!("z a{number} !")).expect("a good scope"),
                last_used_at: t.at(6 * TICK),
                expires_at: t.at(DAY + 7 * TICK),
                revoked_at,
                host_data: None,
                session: (number % 2 == 1).then(|| t.session(number)),
                details: GrantDetails {
                    token_type: (number % 2 == 0).then(|| "N_A".into()),
                    consent_skipped: number % 3 == 0,
                    consent_host: (number % 2 == 1).then(|| "app.example:8443".into()),
                    // It must be live, so it is the first of these grants.
                    consent_grant: (number == 5).then(|| t.grant_id(0)),
                    code_expires_at: (number % 3 == 1).then(|| t.at(DAY)),
                    ..GrantDetails::default()
                },
                ..t.grant(number)
            };
            come_back(t, "a grant", &of, &t.access(number, &of))?;
            // The list must return it, too.
            if revoked_at.is_none() {
                let which = crate::storage::GrantSelector::Id(of.id);
                let list = t.node(1).list(&which, t.at(HOUR), &crate::storage::GrantPage::first(9))?;
                for listed in &list {
                    t.expect_eq_records("a grant as it is listed", &of, &**listed);
                }
            }
        }
    }
    Ok(())
}

fn host_data(t: &Trial<'_>) -> Outcome {
    let deep = (0..60).fold(json!("core"), |inner, level| json!({ "in": inner, "level": level }));
    let values = [
        Value::Null,
        json!(true),
        json!(1.0),
        json!(1),
        json!(-1.5e-7),
        json!(1e300),
        json!(f64::MIN_POSITIVE),
        json!(0.1 + 0.2),
        json!(1.100_000_110_000_000_1e-8),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("null"),
        json!("a\u{0}b"),
        json!("\u{1f980} \u{e9} e\u{301} \u{2028} \" \\ / ' \r\n\t\u{7f}"),
        json!([]),
        json!([[], {}, null, [1, 1.0, "1"]]),
        json!({}),
        json!({ "": 1, "b": null, "a": { "\u{0}": [] }, "A": 2 }),
        json!("x".repeat(20_000)),
        deep,
    ];
    for (number, value) in (0..).zip(values) {
        // JSON's null and missing data are the same, because a record in JSON can't tell them apart.
        let host_data = (value != Value::Null).then(|| Arc::new(value));
        let of = Grant { host_data, ..t.grant(number) };
        come_back(t, "a grant with host data", &of, &t.access(number, &of))?;
    }
    Ok(())
}

fn times(t: &Trial<'_>) -> Outcome {
    let epoch = OffsetDateTime::UNIX_EPOCH;
    let last = epoch + Duration::seconds(253_402_300_799) + Duration::microseconds(999_999);
    let starts = [
        epoch,
        epoch + TICK,
        epoch + Duration::microseconds(951_782_399_999_999),
        t.at(Duration::microseconds(999_999)),
        last - HOUR,
    ];
    for (number, start) in (0..).zip(starts) {
        let of = Grant {
            opened_at: start,
            last_used_at: start + TICK,
            expires_at: start + HOUR,
            revoked_at: Some(start + 3 * TICK),
            ..t.grant(number)
        };
        let token = StoredToken {
            issued_at: start + 4 * TICK,
            expires_at: start + HOUR,
            spent: Some(Spent { at: start + 5 * TICK, attempt: t.attempt(number), seed: None, seed_until: None }),
            revoked_at: Some(start + 6 * TICK),
            ..t.access(number, &of)
        };
        come_back(t, &format!("a record of {start}"), &of, &token)?;
    }
    Ok(())
}
