//! Tests that the floor keeps the contract. Otherwise a comparison would be meaningless.

use crate::floor::{Floor, Refused};
use crate::subject::{CHALLENGE, ISSUER, REDIRECT_URI, REQUIRED, SCOPE, STATE, VERIFIER};

const FAR: i64 = i64::MAX / 2;

fn floor() -> Floor {
    let floor = Floor::new(ISSUER);
    floor.register("app", "secret", REDIRECT_URI, SCOPE);
    floor.register("other", "secret", REDIRECT_URI, SCOPE);
    floor
}

fn code(floor: &Floor) -> String {
    let location = floor.authorize("app", REDIRECT_URI, SCOPE, STATE, CHALLENGE, "alice").unwrap();
    let code = location.strip_prefix("https://app.example/callback?code=").unwrap();
    let code = code.strip_suffix("&state=af0ifjsldkj&iss=https%3A%2F%2Fid.example.com").unwrap();
    assert_eq!(code.len(), 43);
    code.to_owned()
}

fn tokens(answer: &[u8]) -> (String, String) {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap();
    assert_eq!((&answer["expires_in"], &answer["scope"]), (&3600.into(), &SCOPE.into()));
    (answer["access_token"].as_str().unwrap().into(), answer["refresh_token"].as_str().unwrap().into())
}

fn redeem(floor: &Floor, code: &str) -> Result<Vec<u8>, Refused> {
    floor.redeem("app", "secret", code, REDIRECT_URI, VERIFIER)
}

#[test]
fn code_works_once_for_its_client_with_its_proofs() {
    let floor = floor();
    let code = code(&floor);
    let wrong = "x".repeat(43);
    assert_eq!(floor.redeem("app", "guess", &code, REDIRECT_URI, VERIFIER), Err(Refused::Client));
    assert_eq!(floor.redeem("other", "secret", &code, REDIRECT_URI, VERIFIER), Err(Refused::Token));
    assert_eq!(floor.redeem("app", "secret", &code, "https://evil.example/", VERIFIER), Err(Refused::Binding));
    assert_eq!(floor.redeem("app", "secret", &code, REDIRECT_URI, &wrong), Err(Refused::Binding));
    let (access, _) = tokens(&redeem(&floor, &code).unwrap());
    assert_eq!(floor.bearer(&access, REQUIRED).ok().unwrap().grant.subject.as_deref(), Some("alice"));
    assert_eq!(floor.bearer(&access, "admin").err(), Some(Refused::Scope));

    assert_eq!(redeem(&floor, &code), Err(Refused::Replay));
    assert_eq!(floor.bearer(&access, REQUIRED).err(), Some(Refused::Token), "the replay has ended the grant");
}

#[test]
fn lost_answer_repeats_until_a_successor_is_used() {
    let floor = floor();
    let (_, first) = tokens(&redeem(&floor, &code(&floor)).unwrap());
    let answer = floor.refresh("app", "secret", &first).unwrap();
    assert_eq!(floor.refresh("app", "secret", &first).unwrap(), answer);
    let (access, second) = tokens(&answer);
    floor.refresh("app", "secret", &second).unwrap();
    assert!(floor.bearer(&access, REQUIRED).is_ok());
    assert_eq!(floor.refresh("app", "secret", &first), Err(Refused::Replay));
    assert_eq!(floor.bearer(&access, REQUIRED).err(), Some(Refused::Token));
}

#[test]
fn indexes_find_all_that_is_to_be_revoked_or_purged() {
    let floor = floor();
    let (access, refresh) = tokens(&redeem(&floor, &code(&floor)).unwrap());
    assert_eq!(floor.revoke_subject("bob"), 0);
    assert_eq!(floor.revoke_subject("alice"), 1);
    assert_eq!(floor.bearer(&access, REQUIRED).err(), Some(Refused::Token));
    assert_eq!(floor.refresh("app", "secret", &refresh), Err(Refused::Token));

    floor.client_credentials("app", "secret", SCOPE).unwrap();
    assert_eq!(floor.purge(0), 0);
    assert!(floor.purge(FAR) > 0);
    assert_eq!(floor.left(), 0, "nothing stays behind in any index");
}
