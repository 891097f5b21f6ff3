//! A model served to other processes, one line of JSON for each call, and the storage that connects to it.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::secret::TokenHash;
use grantor::storage::{Found, GrantSelector, Opened, RedeemOutcome, Redemption};
use grantor::testing::{Call, Interceptor, Next, Reply};
use grantor::{Grant, Storage, StorageError, StoredToken};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::model::Model;

/// The calls of the suite's workers; they list and purge nothing.
#[derive(Serialize, Deserialize)]
enum Sent {
    Open(Grant, Vec<StoredToken>),
    Find(TokenHash),
    Redeem(Redemption, Vec<StoredToken>),
    RevokeToken(TokenHash, #[serde(with = "rfc3339")] OffsetDateTime),
    Revoke(GrantSelector, #[serde(with = "rfc3339")] OffsetDateTime),
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Done,
    Opened(Opened),
    Found(Option<Found>),
    Redeemed(RedeemOutcome),
    Revoked(u64),
    Failed,
}

/// Serves a model to all connections.
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

/// Serves one connection until the other side closes it.
fn serve(mut stream: &TcpStream, model: &Model) {
    stream.set_nodelay(true).unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let mut done = Answer::Failed;
        crate::block_on(Box::pin(async {
            done = answer(model, serde_json::from_str(&line).unwrap()).await.unwrap_or(Answer::Failed);
        }));
        if writeln!(stream, "{}", serde_json::to_string(&done).unwrap()).is_err() {
            return;
        }
    }
}

async fn answer(model: &Model, sent: Sent) -> Result<Answer, StorageError> {
    Ok(match sent {
        Sent::Open(grant, tokens) => Answer::Opened(model.open_grant(&Arc::new(grant), &tokens).await?),
        Sent::Find(token) => Answer::Found(model.find(&token).await?),
        Sent::Redeem(redemption, successors) => Answer::Redeemed(model.redeem(&redemption, &successors).await?),
        Sent::RevokeToken(token, at) => {
            model.revoke_access_token(&token, at).await?;
            Answer::Done
        }
        Sent::Revoke(which, at) => Answer::Revoked(model.revoke_grants(&which, at).await?),
    })
}

/// Sends each call to the hub. With a bug, it caches results until it writes.
pub(crate) struct Remote {
    stream: Mutex<BufReader<TcpStream>>,
    cache: Option<Mutex<HashMap<TokenHash, Found>>>,
}

impl Remote {
    pub(crate) fn connect(address: &str, is_cached: bool) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Mutex::new(BufReader::new(stream)), cache: is_cached.then(Mutex::default) })
    }

    fn ask(&self, sent: &Sent) -> io::Result<Answer> {
        let mut stream = self.stream.lock().unwrap();
        let mut answer = String::new();
        stream.get_mut().write_all((serde_json::to_string(sent)? + "\n").as_bytes())?;
        stream.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }
}

#[async_trait]
impl Interceptor for Remote {
    async fn intercept(&self, call: Call<'_>, _: Next<'_>) -> Result<Reply, StorageError> {
        let mut cache = self.cache.as_ref().map(|cache| cache.lock().unwrap());
        let sent = match call {
            Call::OpenGrant { grant, tokens } => Sent::Open((**grant).clone(), tokens.to_vec()),
            Call::Find(token) => match cache.as_ref().and_then(|cache| cache.get(token)) {
                Some(known) => return Ok(Reply::Found(Some(known.clone()))),
                None => Sent::Find(*token),
            },
            Call::Redeem { redemption, successors } => Sent::Redeem(redemption.clone(), successors.to_vec()),
            Call::RevokeAccessToken { token, at } => Sent::RevokeToken(*token, at),
            Call::RevokeGrants { which, at } => Sent::Revoke(which.clone(), at),
            _ => return Err(StorageError::new("no worker does this")),
        };
        let answer = self.ask(&sent).map_err(StorageError::new)?;
        match (&answer, &mut cache) {
            (Answer::Found(found), Some(cache)) => cache.extend(found.clone().map(|found| (found.token.hash, found))),
            (_, Some(cache)) => cache.clear(),
            _ => {}
        }
        Ok(match answer {
            Answer::Done => Reply::Done,
            Answer::Opened(opened) => Reply::Opened(opened),
            Answer::Found(found) => Reply::Found(found),
            Answer::Redeemed(outcome) => Reply::Redeemed(outcome),
            Answer::Revoked(count) => Reply::Revoked(count),
            Answer::Failed => return Err(StorageError::new("the hub says no")),
        })
    }
}
