//! A storage that forwards every call, and records its arguments.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use grantor::StorageError;
use grantor::testing::{Call, Interceptor, Next, Reply};

use crate::watch::Watch;

/// Keeps a copy of every record that a call tries to store, like a database dump.
pub(crate) struct Dump {
    pub(crate) watch: Watch,
    pub(crate) written: Mutex<String>,
    /// Whether the host's storage panics at the next look-up of a token.
    pub(crate) panics: AtomicBool,
}

impl Dump {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { watch, written: Mutex::default(), panics: AtomicBool::default() }
    }

    pub(crate) fn write(&self, record: &impl serde::Serialize) {
        let mut dump = self.written.lock().unwrap();
        dump.push_str(&serde_json::to_string(record).unwrap());
        dump.push('\n');
    }
}

#[async_trait]
impl Interceptor for Dump {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        match call {
            Call::OpenGrant { grant, tokens } => {
                self.write(&**grant);
                for token in tokens {
                    self.write(token);
                }
            }
            Call::Find(_) => assert!(!self.panics.swap(false, Ordering::SeqCst), "the host's storage fell over"),
            Call::Redeem { redemption, successors } => {
                if let Some(seed) = &redemption.seed {
                    self.watch.keep_bytes("seed", seed.expose());
                    self.watch.show("seed", seed);
                }
                for token in successors {
                    self.write(token);
                }
            }
            _ => {}
        }
        self.watch.show("storage call", &call);
        let reply = next.run(call).await;
        self.watch.show("storage reply", &reply);
        reply
    }
}
