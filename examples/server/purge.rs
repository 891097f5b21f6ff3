//! What is of no use any more goes, so that neither memory nor storage fills up.

use std::time::{Duration, Instant};

use grantor::AuthorizationServer;

use crate::app::App;

/// So many rows go at a time, so that no purge holds the storage for long.
const BATCH: usize = 1_000;

/// Purges once a minute, for ever.
pub(crate) async fn every_minute(app: App) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    loop {
        minutes.tick().await;
        app.sessions.purge();
        app.attempts.purge(Instant::now());
        app.demo.purge(Instant::now());
        purge_storage(&app.oauth).await;
    }
}

/// What a failure leaves behind, the next round takes.
async fn purge_storage(oauth: &AuthorizationServer) {
    loop {
        match oauth.purge(BATCH).await {
            // Others first: a storage in memory never waits, so that this alone would keep the thread.
            Ok(BATCH) => tokio::task::yield_now().await,
            Ok(_) => return,
            Err(error) => return eprintln!("purging the storage failed: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use grantor::client::ClientCredential;
    use grantor::{Client, ClientRegistry, ClientSecret, Clock, MemoryStorage, Storage, TokenRequest};
    use time::OffsetDateTime;

    use super::*;

    struct AYearAgo;

    impl Clock for AYearAgo {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::now_utc() - time::Duration::days(365)
        }
    }

    #[tokio::test]
    async fn a_round_removes_every_batch_of_what_has_expired_and_lets_others_work_in_between() {
        let (storage, secret) = (MemoryStorage::new(), ClientSecret::new("the secret of the machine"));
        let machine = Client::confidential("machine", ClientCredential::secret(&secret)).client_credentials();
        storage.register(machine.scope("user:read").build().unwrap()).await.unwrap();
        let server = || {
            let builder = AuthorizationServer::builder("https://id.example").storage(storage.clone());
            builder.scope("user:read", "Read your profile")
        };
        let issue = async |server: &AuthorizationServer| {
            let request = TokenRequest::client_credentials().client_secret_basic("machine", &secret);
            server.token_request(&request.scope("user:read")).await.unwrap().access_token.hash()
        };
        let (before, now) = (server().clock(AYearAgo).build().unwrap(), server().build().unwrap());
        let mut expired = Vec::new();
        for _ in 0..=2 * BATCH {
            expired.push(issue(&before).await);
        }
        let live = issue(&now).await;

        let mut round = pin!(purge_storage(&now));
        let begun = round.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(begun.is_pending(), "it did not let others work after a batch");
        round.await;
        for hash in &expired {
            assert!(storage.find(hash).await.unwrap().is_none());
        }
        assert!(storage.find(&live).await.unwrap().is_some());
        assert_eq!(now.purge(BATCH).await.unwrap(), 0);
    }
}
