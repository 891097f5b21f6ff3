//! The built-in user and clients, whose secrets are printed once.

use super::{Place, for_itself, in_both, logged_in, token};
use end_to_end::example::{Browser, Example, Folder};

in_both! {
    built_in_secrets_are_printed_once_and_stay
    new_secrets_replace_the_old_ones
    built_in_clients_follow_the_flags_and_keep_their_secrets
    demo_client_works_after_a_restart
}

/// The built-in user's password and a client's secret, as they were printed.
fn printed(example: &Example, client: &str) -> (String, String) {
    let lines = || example.introduction.lines();
    let password = lines().find_map(|line| line.strip_prefix("Log in as alice with the password "));
    let client = lines().find(|line| line.trim_start().starts_with(&format!("client_id {client} ")));
    let secret = client.and_then(|line| line.split("client_secret ").nth(1)?.split("  ").next());
    (password.expect("a password").to_owned(), secret.expect("a secret").to_owned())
}

async fn built_in_secrets_are_printed_once_and_stay(place: Place) {
    let before = place.start(&[]);
    let (password, secret) = printed(&before, "machine");
    assert_eq!((password.len(), secret.len()), (12, 43), "{}", before.introduction);
    assert!(!before.introduction.contains("from an earlier start") && !before.introduction.contains("--new-secrets"));
    drop(before);

    let after = place.start(&[]);
    assert_eq!(printed(&after, "machine"), ("from an earlier start".to_owned(), "from an earlier start".to_owned()));
    assert!(after.introduction.contains("--new-secrets"), "{}", after.introduction);
    assert_eq!(logged_in(&after, "alice", &password).await.status, 303);
    assert_eq!(for_itself(&after, "machine", &secret).await.0, 200);
}

async fn new_secrets_replace_the_old_ones(place: Place) {
    let (old_password, old_secret) = printed(&place.start(&[]), "machine");
    let after = place.start(&["--new-secrets"]);
    let (password, secret) = printed(&after, "machine");
    assert!(password != old_password && secret != old_secret, "{}", after.introduction);
    assert_eq!(logged_in(&after, "alice", &password).await.status, 303);
    assert_eq!(for_itself(&after, "machine", &secret).await.0, 200);
    assert_eq!(logged_in(&after, "alice", &old_password).await.status, 401);
    assert_eq!(for_itself(&after, "machine", &old_secret).await.0, 401);
}

async fn built_in_clients_follow_the_flags_and_keep_their_secrets(place: Place) {
    let without_legacy =
        || Example::start_in(place.folder.path(), &["--storage", &place.storage, "--issuer", crate::ISSUER]);
    let (password, secret) = printed(&without_legacy(), "web");
    // With the flag, the web app may use the password grant. At the first start, it was not registered for this grant.
    let legacy = place.start(&[]);
    let form = [
        ("grant_type", "password"),
        ("client_id", "web"),
        ("client_secret", &secret),
        ("username", "alice"),
        ("password", &password),
    ];
    let (status, tokens) = token(&legacy, &form).await;
    assert_eq!(status, 200, "{tokens}");
    drop(legacy);
    let (status, refusal) = token(&without_legacy(), &form).await;
    assert_eq!((status, &refusal["error"]), (400, &"unsupported_grant_type".into()));
}

async fn demo_client_works_after_a_restart(place: Place) {
    let before = place.start_at("127.0.0.1:0");
    let (password, _) = printed(&before, "web");
    walk_through(&before, &password).await;
    let address = before.base.replace("http://localhost", "127.0.0.1");
    drop(before);
    // It has a new secret now, which is printed nowhere.
    let after = place.start_at(&address);
    walk_through(&after, &password).await;
    let page = Browser::new(&after).open_as("/connected", "alice", &password).await;
    assert_eq!(
        page.body.matches("<h2><bdi>Demo client</bdi></h2>").count(),
        1,
        "one client with a grant of each run of the demo"
    );
    assert_eq!(page.body.matches("action=\"/connected/revoke\"").count(), 2, "{}", page.body);
}

/// Goes through the demo from its first page to its last.
async fn walk_through(example: &Example, password: &str) {
    let browser = Browser::new(example);
    let demo = browser.get("/demo").await;
    let request = demo.link(&format!("{}/authorize?", example.base)).expect("a link to the server");
    let path = request.strip_prefix(&example.base).unwrap();
    let mut page = browser.open_as(path, "alice", password).await;
    // A user who has consented before is redirected at once.
    if page.body.contains("value=\"approve\"") {
        let scopes = ["user:read", "user:write", "offline_access"].map(|scope| ("scope", scope));
        page = browser.submit(&page, "/consent", &[&scopes[..], &[("decision", "approve")]].concat()).await;
        page = browser.follow(page).await;
    }
    assert!(page.body.contains("The client has access"), "{}", page.body);
}

#[tokio::test]
async fn default_storage_is_a_private_file_in_current_directory() {
    let folder = Folder::new();
    let example = Example::start_in(folder.path(), &[]);
    assert!(example.introduction.contains("stored in the SQLite file grantor.db"), "{}", example.introduction);
    let (password, _) = printed(&example, "web");
    let issuer = example.base.clone();
    drop(example);
    for name in ["grantor.db", "grantor.db-wal", "grantor.db-shm"] {
        let permissions = std::fs::metadata(folder.path().join(name)).expect(name).permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, 0o600, "{name}");
    }
    let again = Example::start_in(folder.path(), &["--moved-from", &issuer]);
    assert_eq!(logged_in(&again, "alice", &password).await.status, 303);
}

#[tokio::test]
async fn memory_storage_keeps_nothing_on_restart() {
    let flags = ["--storage", "memory"];
    let folder = Folder::new();
    let before = Example::start_in(folder.path(), &flags);
    assert!(before.introduction.contains("Everything is in memory"), "{}", before.introduction);
    let (password, _) = printed(&before, "web");
    drop(before);
    let after = Example::start_in(folder.path(), &flags);
    assert_ne!(printed(&after, "web").0, password);
    assert_eq!(logged_in(&after, "alice", &password).await.status, 401);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
