//! Users and clients from files, for a storage that already has some.

use end_to_end::example::Browser;

use super::{CLIENTS, Place, USERS, granted, in_both, logged_in, me, rename, token, with_password};

in_both! { users_file_adds_and_updates clients_file_adds_and_updates token_names_its_scope_that_is_no_longer_offered }

async fn users_file_adds_and_updates(place: Place) {
    let before = place.start_with(CLIENTS, r#"{"ada": "correct horse", "bea": "battery"}"#);
    assert_eq!(rename(&before, &granted(&before).await, "Ada Lovelace").await, 200);
    drop(before);

    let after = place.start_with(CLIENTS, r#"{"ada": "staple", "cleo": "needle"}"#);
    for (username, password, expected) in
        [("ada", "correct horse", 401), ("ada", "staple", 303), ("bea", "battery", 303), ("cleo", "needle", 303)]
    {
        assert_eq!(logged_in(&after, username, password).await.status, expected, "{username} {password}");
    }
    let (_, tokens) = with_password(&after, "ada", "staple").await;
    assert_eq!(me(&after, &tokens).await.1["display_name"], "Ada Lovelace");
}

async fn clients_file_adds_and_updates(place: Place) {
    const MORE: &str = r#"[
        {"client_id": "mail", "client_name": "Another mail app", "client_secret": "new-secret", "scope": "user:read",
         "grant_types": ["client_credentials"]},
        {"client_id": "news", "client_secret": "news-secret", "grant_types": ["client_credentials"]}
    ]"#;
    const NEWS: &str =
        r#"[{"client_id": "news", "client_secret": "news-secret", "grant_types": ["client_credentials"]}]"#;
    drop(place.start_with(CLIENTS, USERS));
    drop(place.start_with(MORE, USERS));
    // Users and clients that are not in the file stay unchanged.
    let example = place.start_with(NEWS, USERS);
    for (id, secret, expected) in
        [("mail", "mail-secret", 401), ("mail", "new-secret", 200), ("news", "news-secret", 200), ("web", "any", 401)]
    {
        let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        assert_eq!(token(&example, &form).await.0, expected, "{id} {secret}");
    }
}

// Regression: a grant keeps scope that the server no longer offers, and the user's page did not say so.
async fn token_names_its_scope_that_is_no_longer_offered(place: Place) {
    let before = place.start_with(CLIENTS, USERS);
    granted(&before).await;
    drop(before);

    let scopes = place.folder.file("scopes.json", r#"{"user:read": "Read your profile"}"#);
    let after = place.start(&["--scopes", &scopes]);
    let page = Browser::new(&after).open_as("/connected", "ada", "correct horse").await;
    for shown in ["Read your profile</li>", "user:write</li>"] {
        // The page shows it twice: for the application, and for its session.
        assert_eq!(page.body.matches(shown).count(), 2, "{shown}: {}", page.body);
    }
}
