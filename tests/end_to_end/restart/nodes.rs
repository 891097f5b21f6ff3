//! Several servers on one database.

use std::sync::Arc;
use std::thread;

use tokio::task::JoinSet;

use super::{
    APPLICATION, CLIENTS, Place, USERS, for_itself, granted, in_both, me, refreshed, registered, rename, revoke,
};
use end_to_end::example::{Browser, Example};

in_both! { two_servers_started_at_once_share_their_state application_limit_holds_across_two_servers }

/// Two servers that find an empty database at the same moment.
fn started_at_once(place: &Place) -> (Example, Example) {
    thread::scope(|scope| {
        let other = scope.spawn(|| place.start_with(CLIENTS, USERS));
        (place.start_with(CLIENTS, USERS), other.join().unwrap())
    })
}

async fn two_servers_started_at_once_share_their_state(place: Place) {
    let (one, two) = started_at_once(&place);
    let tokens = granted(&one).await;
    assert_eq!(rename(&one, &tokens, "Ada Lovelace").await, 200);
    assert_eq!(me(&two, &tokens).await.1["display_name"], "Ada Lovelace");
    let (status, tokens) = refreshed(&two, &tokens).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(me(&one, &tokens).await.0, 200);
    revoke(&two, &tokens).await;
    assert_eq!((me(&one, &tokens).await.0, refreshed(&one, &tokens).await.0), (401, 400));

    let (id, secret) = registered(&one).await;
    assert_eq!(for_itself(&two, &id, &secret).await.0, 200);
    let page = Browser::new(&two).open_as("/applications", "ada", "correct horse").await;
    assert!(page.body.contains(&id), "{}", page.body);
}

async fn application_limit_holds_across_two_servers(place: Place) {
    let (one, two) = started_at_once(&place);
    let mut racing = JoinSet::new();
    for node in [&one, &two] {
        let browser = Arc::new(Browser::new(node));
        let form = browser.open_as("/applications/new", "ada", "correct horse").await;
        let mut fields = form.hidden_fields("/applications/new");
        fields.extend(APPLICATION.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for _ in 0..15 {
            let (browser, fields) = (Arc::clone(&browser), fields.clone());
            racing.spawn(async move { browser.post("/applications/new", &fields).await.status });
        }
    }
    let statuses = racing.join_all().await;
    let count = |status| statuses.iter().filter(|own| **own == status).count();
    assert_eq!((count(200), count(422)), (20, 10), "{statuses:?}");
    let list = Browser::new(&two).open_as("/applications", "ada", "correct horse").await;
    assert_eq!(list.body.matches("<dt>Client ID</dt>").count(), 20);
}
