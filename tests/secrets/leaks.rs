//! Checks all printed, logged and stored text for secrets, on every storage.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::authorize::{ConfirmRedirectPage, PageTemplates};
use grantor::client::ClientParts;
use grantor::policy::ErrorRedirects;
use grantor::secret::{SecretDigest, Seed};
use grantor::testing::TestServer;
use grantor::{ClientSecret, MemoryStorage, Policy, Request};
use sha2::{Digest, Sha256};
use time::Duration;

use crate::database::{Database, Postgresql, Sqlite};
use crate::postgres::Postgres;
use crate::process_log;
use crate::stage::Stage;
use crate::traffic::everything_happens;
use crate::watch::Watch;
use crate::{REDIRECT_URI, STATE};

/// Asserts that the expected things were inspected.
fn assert_all_was_seen(watch: &Watch) {
    for what in [
        "event authorization_approved",
        "event authorization_denied",
        "event authorization_refused",
        "event tokens_issued",
        "event token_refused",
        "event refresh_repeated",
        "event refresh_token_reused",
        "event code_replayed",
        "event bearer_refused",
        "event token_introspected",
        "event introspection_refused",
        "event token_revoked",
        "event revocation_refused",
        "event grants_revoked",
        "event grants_revocation_failed",
        "client attempt",
        "resource owner attempt",
        "out-of-band page",
        "confirmation page",
        "error page",
        "presented token",
        "decision",
        "seed",
        "storage call",
        "storage reply",
        "access",
        "no user",
        "scope",
        "challenge",
        "introspection",
        "revocation error",
        "own form",
        "end of a task",
        "all of the answer: redirect with a code",
        "all of the answer: redirect with a token",
        "all of the answer: page with a code",
        "all of the answer: revocation",
        "all of the answer: introspection",
    ] {
        assert!(watch.has_shown(what), "{what} was not inspected");
    }
    let secrets = watch.secrets();
    for kind in
        ["seed", "code: ", "access token: ", "refresh token: ", "client secret", "password", "verifier", "session"]
    {
        assert!(secrets.iter().any(|(name, _)| name.starts_with(kind)), "no {kind} was ever used");
    }
}

// covers: B34, BR-17 (RFC 9700 §4.9.3), RD-16 (RFC 9700 §4.3.1)
#[tokio::test]
async fn loggable_output_shows_no_secret() {
    let stage = Stage::new(MemoryStorage::new()).await;
    everything_happens(&stage).await;
    let t = TestServer::new();
    stage.watch.show("test server", &t);
    stage.watch.assert_nothing_leaked();
    assert_all_was_seen(&stage.watch);
    process_log::assert_nothing_leaked(&stage.watch, &["token_refused", "grantor{endpoint="]);
}

// covers: TF-14 (RFC 6749 §10.3), GR-19 (RFC 6749 §10.4), BR-17 (RFC 9700 §4.9.3), CA-28 (RFC 6819 §5.1.4.1.3), B34
#[tokio::test]
async fn storage_dump_holds_no_token_code_secret_or_password() {
    let stage = Stage::new(MemoryStorage::new()).await;
    let scene = everything_happens(&stage).await;
    let dump = stage.dump.written.lock().unwrap();
    let secrets = stage.watch.secrets();
    let mut looked_for = BTreeSet::new();
    for (secret, spelling) in &secrets {
        // Host data may be stored. A `plain` challenge equals the verifier: one of the reasons why it is off by
        // default.
        if !matches!(secret.as_str(), "host data" | "verifier") {
            assert!(!dump.contains(spelling.as_str()), "the {secret} is stored in clear");
            looked_for.insert(secret.as_str());
        }
    }
    assert!(looked_for.len() > 20 && looked_for.contains("seed"), "{looked_for:?}");
    // The dump does contain the hashes of tokens.
    let mut found = 0;
    for (secret, spelling) in &secrets {
        let is_token = ["code: ", "access token: ", "refresh token: "].iter().any(|kind| secret.starts_with(kind));
        if is_token && spelling.len() == 43 && URL_SAFE_NO_PAD.decode(spelling).is_ok_and(|bytes| bytes.len() == 32) {
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(spelling.as_bytes()));
            assert!(dump.contains(&hash), "the hash of {secret} is not in the dump");
            found += 1;
        }
    }
    assert!(found > 10);
    let digest = SecretDigest::of(scene.secret());
    assert!(dump.contains(&serde_json::to_string(&digest).unwrap()));
}

/// Checks the tables, the files and the errors of a database.
async fn nothing_leaks_from<D: Database>(database: &D) {
    let stage = Stage::new(database.storage()).await;
    let scene = everything_happens(&stage).await;
    let watch = &stage.watch;
    database.show_failures_to_open(watch).await;

    // Host data may be stored. A `plain` challenge equals the verifier: one of the reasons why it is off by default.
    let to_be_stored = ["host data", "verifier"];
    let rows = database.rows().await;
    watch.assert_none_in("a table", &rows, &to_be_stored);
    let tokens = watch.secrets().into_iter().filter(|(name, text)| name.contains("access token: ") && text.len() == 43);
    let stored = tokens.filter(|(_, text)| {
        let hash = Sha256::digest(text.as_bytes()).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        rows.contains(&hash) || rows.contains(&hash.to_uppercase())
    });
    assert!(stored.count() > 10, "there are no tokens in it:\n{rows}");
    watch.assert_none_in("a file of the database", &database.files(), &to_be_stored);

    // A seed is in its column while a retry may be answered, and nowhere else.
    let used: BTreeSet<_> =
        watch.secrets().into_iter().filter_map(|(name, hex)| (name == "seed").then_some(hex)).collect();
    let seeds = database.seeds().await;
    assert!(!seeds.is_empty() && seeds.iter().all(|seed| used.contains(seed)), "{seeds:?}");
    stage.clock.advance(Duration::minutes(2));
    while stage.server.purge(1_000).await.unwrap() > 0 {}
    assert_eq!(database.seeds().await, [""; 0]);

    scene.the_database_fails(database).await;
    watch.assert_nothing_leaked();
    assert_all_was_seen(watch);
    // PostgreSQL's log contains rows that it refused. The seed of such a row was never stored, and opens nothing.
    watch.assert_none_in("a file of the database", &database.files(), &["host data", "verifier", "seed"]);
    process_log::assert_nothing_leaked(watch, D::LOGGED);
}

// covers: B34, TF-14 (RFC 6749 §10.3), GR-19 (RFC 6749 §10.4)
#[tokio::test]
async fn nothing_leaks_from_sqlite() {
    nothing_leaks_from(&Sqlite::new().await).await;
}

// covers: B34, TF-14 (RFC 6749 §10.3), GR-19 (RFC 6749 §10.4)
#[tokio::test]
async fn nothing_leaks_from_postgresql() {
    let Some(server) = Postgres::get() else { return };
    nothing_leaks_from(&Postgresql::new(server).await).await;
}

/// The page's target address contains the client's `state`.
#[tokio::test]
async fn confirm_redirect_page_does_not_show_the_target() {
    struct Shows(Watch);
    impl PageTemplates for Shows {
        fn confirm_redirect(&self, page: &ConfirmRedirectPage<'_>) -> String {
            self.0.show("confirmation page", page);
            String::new()
        }
    }
    let watch = Watch::default();
    watch.keep("state", STATE);
    let mut policy = Policy::default();
    policy.error_redirects = ErrorRedirects::AskFirst;
    let t = TestServer::with(|builder| builder.policy(policy).page_templates(Shows(watch.clone())));
    let app = t.public_client(REDIRECT_URI).await;
    let _ = t.server.authorize(&Request::get(format!("/authorize?client_id={}&state={STATE}", app.id))).await;
    assert!(watch.has_shown("confirmation page"));
    watch.assert_nothing_leaked();
}

#[test]
fn storage_records_are_redacted_when_printed() {
    let seed = Seed::from_bytes([0xab; 32]);
    let json = serde_json::to_string(&seed).unwrap();
    let read: Seed = serde_json::from_str(&json).unwrap();
    assert_eq!(format!("{read:?}"), "Seed([redacted])");
    let wrong = serde_json::from_str::<Seed>("\"c2VjcmV0LXNlZWQ\"").unwrap_err().to_string();
    assert!(!wrong.contains("c2Vjc"), "{wrong}");
    let digest = SecretDigest::of(&ClientSecret::new("s3cr3t"));
    assert_eq!(format!("{digest:?}"), "SecretDigest([redacted])");
    let parts =
        r#"{"client_id":"a","client_type":"confidential","credentials":[{"type":"secret","digest":"c2VjcmV0"}]}"#;
    let wrong = serde_json::from_str::<ClientParts>(parts).unwrap_err().to_string();
    assert!(!wrong.contains("c2VjcmV0"), "{wrong}");
}
