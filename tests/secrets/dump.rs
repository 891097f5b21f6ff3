//! A storage that passes everything on, and sees what it is given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::secret::TokenHash;
use grantor::storage::{Exchange, GrantSelector, Page, Spend};
use grantor::{Client, ClientStore, Grant, Storage, StorageError, StoredToken};
use time::OffsetDateTime;

use crate::watch::Watch;

/// Passes every call on and keeps a copy of everything that was to be stored, as a database dump would show it.
#[derive(Clone)]
pub(crate) struct Dump<S> {
    pub(crate) inner: S,
    pub(crate) watch: Watch,
    pub(crate) written: Arc<Mutex<String>>,
    /// Whether the host's storage falls over at the next look-up of a token.
    pub(crate) panics: Arc<AtomicBool>,
}

impl<S> Dump<S> {
    pub(crate) fn write(&self, record: &impl serde::Serialize) {
        let mut dump = self.written.lock().unwrap();
        dump.push_str(&serde_json::to_string(record).unwrap());
        dump.push('\n');
    }
}

#[async_trait]
impl<S: ClientStore> ClientStore for Dump<S> {
    async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        self.inner.client(id).await
    }
}

#[async_trait]
impl<S: Storage> Storage for Dump<S> {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        self.watch.show("new grant", grant);
        self.watch.show("new tokens", &tokens);
        self.write(&**grant);
        for token in tokens {
            self.write(token);
        }
        self.inner.open_grant(grant, tokens).await
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<(Arc<StoredToken>, Arc<Grant>)>, StorageError> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the host's storage fell over");
        let found = self.inner.find(token).await;
        self.watch.show("found token", &found);
        found
    }

    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        if let Some(seed) = &spend.seed {
            self.watch.keep_bytes("seed", seed.expose());
            self.watch.show("seed", seed);
        }
        self.watch.show("order to spend", spend);
        for token in successors {
            self.write(token);
        }
        self.inner.exchange(spend, successors).await
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.inner.revoke_access_token(token, at).await
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        self.watch.show("selector", which);
        self.inner.revoke_grants(which, at).await
    }

    async fn grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        self.inner.grants(which, now, page).await
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.inner.purge_expired(before, limit).await
    }
}
