//! Removes expired records, so that neither memory nor storage fills up.

use std::time::Duration;

use grantor::AuthorizationServer;
use tower_sessions::ExpiredDeletion;

use crate::app::App;

/// The most rows that one call removes, so that no call blocks the storage for long.
const BATCH: usize = 1_000;

/// Purges once a minute. Never returns.
pub(crate) async fn every_minute(app: App) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    loop {
        minutes.tick().await;
        if let Err(error) = app.sessions.delete_expired().await {
            eprintln!("warning: purging the sessions failed and is repeated in a minute: {error}");
        }
        app.attempts.purge();
        purge_storage(&app.oauth).await;
    }
}

/// Removes all expired records from the storage. After an error, the next call continues.
async fn purge_storage(oauth: &AuthorizationServer) {
    loop {
        match oauth.purge(BATCH).await {
            // Memory storage never waits, so without this the loop would block the thread.
            Ok(BATCH) => tokio::task::yield_now().await,
            Ok(_) => return,
            Err(error) => {
                return eprintln!("warning: purging the storage failed and is repeated in a minute: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use grantor::client::ClientCredential;
    use grantor::{Client, ClientRegistry, ClientSecret, Clock, MemoryStorage, TokenRequest};
    use time::OffsetDateTime;

    use super::*;

    struct NextYear;

    impl Clock for NextYear {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::now_utc() + time::Duration::days(365)
        }
    }

    #[tokio::test]
    async fn purge_removes_all_batches_and_yields_in_between() {
        let (storage, secret) = (MemoryStorage::new(), ClientSecret::new("the secret of the machine"));
        let machine = Client::confidential("machine", ClientCredential::secret(&secret)).client_credentials();
        storage.register(machine.scope("user:read").build().unwrap()).await.unwrap();
        let server = || {
            AuthorizationServer::builder("https://id.example")
                .storage(storage.clone())
                .scope("user:read", "Read your profile")
        };
        let (now, later) = (server().build().await.unwrap(), server().clock(NextYear).build().await.unwrap());
        for _ in 0..=2 * BATCH {
            let request = TokenRequest::client_credentials().client_secret_basic("machine", &secret);
            now.token_request(&request.scope("user:read")).await.unwrap();
        }

        let mut purge = pin!(purge_storage(&later));
        let begun = purge.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(begun.is_pending(), "it did not let others work after a batch");
        purge.await;
        assert_eq!(later.purge(BATCH).await.unwrap(), 0);
    }
}
