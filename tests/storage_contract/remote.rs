//! A model served to other processes, one line of JSON a call, and the storage through which they see it.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::record::{AttemptId, TokenKind};
use grantor::secret::{Seed, TokenHash};
use grantor::storage::{Exchange, GrantSelector, Page, Spend};
use grantor::{Grant, GrantId, Storage, StorageError, StoredToken};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::model::Model;

/// What the workers of the suite call; they list and purge nothing.
#[derive(Serialize, Deserialize)]
enum Call {
    Open(Grant, Vec<StoredToken>),
    Find(TokenHash),
    Exchange(Sent, Vec<StoredToken>),
    Revoke(GrantId, #[serde(with = "rfc3339")] OffsetDateTime),
}

#[derive(Serialize, Deserialize)]
struct Sent {
    token: TokenHash,
    kind: TokenKind,
    grant_id: GrantId,
    attempt: AttemptId,
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    consume: bool,
    seed: Option<Seed>,
    #[serde(with = "rfc3339")]
    grant_expires_at: OffsetDateTime,
}

/// Serves a model to whoever connects.
pub(crate) struct Hub(String);

impl Hub {
    pub(crate) fn new(model: Model) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, model) = (stream.unwrap(), model.node());
                std::thread::spawn(move || serve(&stream, &model));
            }
        });
        Self(address)
    }

    pub(crate) fn address(&self) -> &str {
        &self.0
    }
}

/// Until the other side hangs up.
fn serve(mut stream: &TcpStream, model: &Model) {
    stream.set_nodelay(true).unwrap();
    let runtime = crate::runtime();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let answer = runtime.block_on(answer(model, serde_json::from_str(&line).unwrap())) + "\n";
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

async fn answer(model: &Model, call: Call) -> String {
    let answer = match call {
        Call::Open(grant, tokens) => model.open_grant(&Arc::new(grant), &tokens).await.map(|()| "null".to_owned()),
        Call::Find(token) => model.find(&token).await.map(|found| serde_json::to_string(&found).unwrap()),
        Call::Exchange(sent, successors) => {
            let Sent { token, kind, grant_id, attempt, at, consume, seed, grant_expires_at } = sent;
            let spend = Spend { token, kind, grant_id, attempt, at, consume, seed, grant_expires_at };
            model.exchange(&spend, &successors).await.map(|answer| format!("\"{answer:?}\""))
        }
        Call::Revoke(id, at) => model.revoke_grants(&GrantSelector::Id(id), at).await.map(|count| count.to_string()),
    };
    answer.unwrap_or_else(|_| "{\"error\":true}".to_owned())
}

/// A handle in another process; with a bug, one that remembers what it found until it writes something itself.
pub(crate) struct Remote {
    stream: Mutex<BufReader<TcpStream>>,
    cache: Option<Mutex<HashMap<TokenHash, String>>>,
}

impl Remote {
    pub(crate) fn connect(address: &str, is_cached: bool) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Mutex::new(BufReader::new(stream)), cache: is_cached.then(Mutex::default) })
    }

    fn call(&self, call: &Call) -> Result<String, StorageError> {
        let mut stream = self.stream.lock().unwrap();
        let mut answer = String::new();
        let line = serde_json::to_string(call).unwrap() + "\n";
        stream.get_mut().write_all(line.as_bytes()).map_err(StorageError::new)?;
        stream.read_line(&mut answer).map_err(StorageError::new)?;
        if answer.starts_with("{\"error\"") { Err(StorageError::new("the hub says no")) } else { Ok(answer) }
    }

    fn write(&self, call: &Call) -> Result<String, StorageError> {
        if let Some(cache) = &self.cache {
            cache.lock().unwrap().clear();
        }
        self.call(call)
    }
}

#[async_trait]
impl Storage for Remote {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        self.write(&Call::Open((**grant).clone(), tokens.to_vec())).map(drop)
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<(Arc<StoredToken>, Arc<Grant>)>, StorageError> {
        let known = self.cache.as_ref().and_then(|cache| cache.lock().unwrap().get(token).cloned());
        let answer = known.map_or_else(|| self.call(&Call::Find(*token)), Ok)?;
        if let Some(cache) = self.cache.as_ref().filter(|_| !answer.starts_with("null")) {
            cache.lock().unwrap().insert(*token, answer.clone());
        }
        serde_json::from_str(&answer).map_err(StorageError::new)
    }

    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        let Spend { token, kind, grant_id, attempt, at, consume, seed, grant_expires_at } = spend.clone();
        let sent = Sent { token, kind, grant_id, attempt, at, consume, seed, grant_expires_at };
        match self.write(&Call::Exchange(sent, successors.to_vec()))?.trim() {
            "\"Done\"" => Ok(Exchange::Done),
            "\"AlreadySpent\"" => Ok(Exchange::AlreadySpent),
            _ => Ok(Exchange::Dead),
        }
    }

    async fn revoke_access_token(&self, _: &TokenHash, _: OffsetDateTime) -> Result<(), StorageError> {
        Err(StorageError::new("no worker does this"))
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        let GrantSelector::Id(id) = which else { return Err(StorageError::new("no worker does this")) };
        serde_json::from_str(&self.write(&Call::Revoke(*id, at))?).map_err(StorageError::new)
    }

    async fn grants(&self, _: &GrantSelector, _: OffsetDateTime, _: &Page) -> Result<Vec<Arc<Grant>>, StorageError> {
        Err(StorageError::new("no worker does this"))
    }

    async fn purge_expired(&self, _: OffsetDateTime, _: usize) -> Result<usize, StorageError> {
        Err(StorageError::new("no worker does this"))
    }
}
