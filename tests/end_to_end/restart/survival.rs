//! A server that is killed like by a crash, and started again.

use super::{
    CLIENTS, Place, USERS, for_itself, granted, in_both, logged_in, me, refreshed, registered, rename, revoke,
};
use end_to_end::example::Browser;

in_both! { all_but_sessions_survive_a_restart revocation_survives_a_restart spent_refresh_token_stays_spent }

async fn all_but_sessions_survive_a_restart(place: Place) {
    let before = place.start_with(CLIENTS, USERS);
    let tokens = granted(&before).await;
    assert_eq!(rename(&before, &tokens, "Ada Lovelace").await, 200);
    let (id, secret) = registered(&before).await;
    let cookies = Browser::new(&before);
    assert_eq!(cookies.open_as("/connected", "ada", "correct horse").await.status, 200);
    let address = before.base.strip_prefix("http://").unwrap().to_owned();
    drop(before);

    // The server starts without the files, so all data comes from the storage. It has the same address, so the browser
    // sends the cookie.
    let after = place.start(&["--listen", &address]);
    assert_eq!(cookies.get("/connected").await.location.as_deref(), Some("/login?next=/connected"));
    assert_eq!(logged_in(&after, "ada", "wrong horse").await.status, 401);
    let connected = cookies.open_as("/connected", "ada", "correct horse").await;
    assert!(connected.body.contains("<h2><bdi>A mail app</bdi></h2>"), "{}", connected.body);
    let applications = cookies.get("/applications").await;
    assert!(applications.body.contains("My app") && applications.body.contains(&id), "{}", applications.body);

    let (status, profile) = me(&after, &tokens).await;
    assert_eq!((status, &profile["display_name"]), (200, &"Ada Lovelace".into()));
    let (status, new) = refreshed(&after, &tokens).await;
    assert_eq!(status, 200, "{new}");
    assert_eq!(me(&after, &new).await.1["display_name"], "Ada Lovelace");
    let (status, own) = for_itself(&after, &id, &secret).await;
    assert_eq!(status, 200, "{own}");
}

async fn revocation_survives_a_restart(place: Place) {
    let before = place.start_with(CLIENTS, USERS);
    let (tokens, others) = (granted(&before).await, granted(&before).await);
    revoke(&before, &tokens).await;
    drop(before);

    let after = place.start(&[]);
    let (status, refusal) = refreshed(&after, &tokens).await;
    assert_eq!((status, &refusal["error"]), (400, &"invalid_grant".into()));
    assert_eq!(me(&after, &tokens).await.0, 401);
    assert_eq!((me(&after, &others).await.0, refreshed(&after, &others).await.0), (200, 200));
}

async fn spent_refresh_token_stays_spent(place: Place) {
    let before = place.start_with(CLIENTS, USERS);
    let first = granted(&before).await;
    let second = refreshed(&before, &first).await.1;
    let third = refreshed(&before, &second).await.1;
    drop(before);

    // The successor of this token was used, so a second use means theft, and the whole grant ends.
    let after = place.start(&[]);
    assert_eq!(me(&after, &third).await.0, 200);
    let (status, refusal) = refreshed(&after, &first).await;
    assert_eq!((status, &refusal["error"]), (400, &"invalid_grant".into()));
    assert_eq!((me(&after, &third).await.0, refreshed(&after, &third).await.0), (401, 400));
}
