//! Reports failures of keys to the observer of the server.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::jose::{Algorithm, KeyError, KeySchedule, Keys, KeysContext, PublicKey, Signer};

/// The keys of a host app. If a request can't read them, the observer of the last server that received them gets an
/// event.
pub(crate) struct ObservedKeys<T> {
    keys: T,
    server: RwLock<Option<Arc<dyn KeysContext>>>,
}

impl<T: Keys> ObservedKeys<T> {
    pub(crate) const fn new(keys: T) -> Self {
        Self { keys, server: RwLock::new(None) }
    }

    fn tell_of(&self, error: KeyError) -> KeyError {
        if matches!(error, KeyError::NoKey(_)) {
            return error;
        }
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(server) = server else { return error };
        let (told, returned) = error.into_two();
        server.keys_unavailable(told);
        returned
    }
}

#[async_trait]
impl<T: Keys> Keys for ObservedKeys<T> {
    fn algorithms(&self) -> &[Algorithm] {
        self.keys.algorithms()
    }

    async fn signer(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, KeyError> {
        self.keys.signer(algorithm).await.map_err(|error| self.tell_of(error))
    }

    async fn published(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        self.keys.published().await.map_err(|error| self.tell_of(error))
    }

    /// Sends no event, because only the keys know whether they read anything. The event of the failed request reports
    /// it.
    async fn reload(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        self.keys.reload().await
    }

    fn connect(&self, server: Arc<dyn KeysContext>) {
        self.keys.connect(Arc::clone(&server));
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    fn schedule(&self) -> Option<&KeySchedule> {
        self.keys.schedule()
    }
}
