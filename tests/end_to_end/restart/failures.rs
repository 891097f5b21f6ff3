//! Storages that can't be opened, and a database that goes down.

use super::{APPLICATION, CLIENTS, Place, USERS, granted, in_both, logged_in, me, rename, with_password};
use end_to_end::example::{Browser, Example, Folder};
use end_to_end::postgres::Postgres;

in_both! { user_name_that_no_database_accepts_is_unknown }

#[test]
fn malformed_storage_url_is_refused_without_echo() {
    let folder = Folder::new();
    let missing = format!("sqlite:{}", folder.path().join("missing/own.db").display());
    let cases = [
        ("", "sqlite:FILE or postgres://"),
        ("sqlite", "sqlite:FILE or postgres://"),
        ("sqlite:", "sqlite:FILE or postgres://"),
        ("sqlite://own.db", "sqlite:FILE or postgres://"),
        ("memory:", "sqlite:FILE or postgres://"),
        ("postgre://u:geheim@h/d", "sqlite:FILE or postgres://"),
        ("mysql://u:geheim@h/d", "sqlite:FILE or postgres://"),
        ("postgres:geheim", "sqlite:FILE or postgres://"),
        ("postgres://u:geheim@h:port/d", "malformed"),
        ("postgres://u:1/geheim@h/d", "%2F"),
        ("postgres://u:ge@heim@h/d", "%40"),
        ("sqlite::memory:", "sqlite:FILE or postgres://"),
        (&missing, "can't open the SQLite file"),
        ("postgres://u:geheim@localhost/d?host=/nowhere", "can't open the PostgreSQL database d"),
    ];
    for (storage, expected) in cases {
        let complaint = Example::refusal(&["--listen", "127.0.0.1:0", "--storage", storage]);
        assert!(complaint.contains(expected), "{storage}: {complaint}");
        assert!(!complaint.contains("geheim") && !complaint.contains("heim@"), "{complaint}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn password_in_the_url_is_not_printed() {
    let Some(place) = Place::postgres().await else { return };
    let with_password = place.storage.replace("grantor@", "grantor:geheim@");
    let example = Example::start_in(place.folder.path(), &["--storage", &with_password]);
    let introduction = &example.introduction;
    assert!(introduction.contains("the PostgreSQL database test_"), "{introduction}");
    assert!(!introduction.contains("geheim") && !introduction.contains("postgres://"), "{introduction}");
}

async fn user_name_that_no_database_accepts_is_unknown(place: Place) {
    let example = place.start_with(CLIENTS, USERS);
    for username in ["ada\0", "\u{1f}", "", &"x".repeat(10_000)] {
        assert_eq!(logged_in(&example, username, "correct horse").await.status, 401, "{username:?}");
        let (status, refusal) = with_password(&example, username, "correct horse").await;
        assert_eq!(status, 400, "{username:?}: {refusal}");
    }
}

// covers: B58
#[tokio::test]
async fn database_outage_is_503_and_recovers() {
    let Some(server) = Postgres::start() else { return };
    let place = Place { folder: Folder::new(), storage: server.database().await };
    let example = place.start_with(CLIENTS, USERS);
    let tokens = granted(&example).await;
    let browser = Browser::new(&example);
    let form = browser.open_as("/applications/new", "ada", "correct horse").await;

    server.kill();
    let (login, unknown, list, connected, registration, read, change) = tokio::join!(
        logged_in(&example, "ada", "correct horse"),
        logged_in(&example, "nobody", "correct horse"),
        browser.get("/applications"),
        browser.get("/connected"),
        browser.submit(&form, "/applications/new", &APPLICATION),
        me(&example, &tokens),
        rename(&example, &tokens, "Ada Lovelace"),
    );
    for page in [login, unknown, list, connected, registration] {
        assert_eq!((page.status, page.retry_after.as_deref()), (503, Some("5")), "{}", page.body);
        assert!(!page.body.contains("wrong"), "{}", page.body);
    }
    assert_eq!((read.0, change), (503, 503));

    server.restart();
    assert_eq!(logged_in(&example, "ada", "correct horse").await.status, 303);
    assert_eq!(browser.submit(&form, "/applications/new", &APPLICATION).await.status, 200);
    let list = browser.get("/applications").await;
    assert_eq!(list.body.matches("<dt>Client ID</dt>").count(), 1, "the failed registration stored nothing");
    assert_eq!(me(&example, &tokens).await.1.get("display_name"), None);
    assert_eq!(rename(&example, &tokens, "Ada Lovelace").await, 200);
}

#[tokio::test]
async fn unreadable_profile_is_503_for_a_good_token() {
    let Some(place) = Place::postgres().await else { return };
    let example = place.start_with(CLIENTS, USERS);
    let tokens = granted(&example).await;
    let database = sqlx::PgPool::connect(&place.storage).await.unwrap();
    sqlx::raw_sql("ALTER TABLE example_users RENAME TO elsewhere").execute(&database).await.unwrap();
    let (status, refusal) = me(&example, &tokens).await;
    assert_eq!((status, &refusal["error"]), (503, &"temporarily_unavailable".into()));
    assert_eq!(rename(&example, &tokens, "Ada Lovelace").await, 503);
    assert_eq!(logged_in(&example, "ada", "correct horse").await.status, 503);
    // For the password grant the library only sees that its authenticator failed.
    let (status, refusal) = with_password(&example, "ada", "correct horse").await;
    assert_eq!((status, &refusal["error"]), (500, &"server_error".into()));
    sqlx::raw_sql("ALTER TABLE elsewhere RENAME TO example_users").execute(&database).await.unwrap();
    assert_eq!(me(&example, &tokens).await.0, 200);
}
