//! A proxy between sqlx and PostgreSQL. It understands enough of their protocol (version 3) to tell statements from
//! preparations and pings, counts them, and loses some of them on request.
#![allow(unreachable_pub, reason = "a module of a test binary")]

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use url::Url;

/// A message that the frontend waits for: a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// A statement is run, prepared or simple.
    Statement,
    /// A statement is only prepared.
    Preparation,
    /// Nothing but a `Sync`.
    Ping,
}

#[derive(Debug, Clone, Copy, Default)]
pub enum Plan {
    #[default]
    Pass,
    /// The server runs the next statement with this text. The connection breaks before the frontend sees the answer.
    LoseAnswer(&'static str),
    /// The connection breaks before the server sees the next statement with this text.
    LoseRequest(&'static str),
    /// No ping reaches the server, so none is ever answered.
    SwallowPings,
}

#[derive(Default)]
struct State {
    trips: Mutex<Vec<Trip>>,
    plan: Mutex<Plan>,
}

pub struct Proxy {
    pub url: String,
    state: Arc<State>,
}

impl Proxy {
    /// A proxy before the database of `url`, which names a directory with a socket.
    pub fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let folder = url.query_pairs().find(|(name, _)| name == "host").unwrap().1.into_owned();
        let socket = PathBuf::from(folder).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        url.set_query(Some("sslmode=disable"));
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let state = Arc::new(State::default());
        let proxy = Self { url: url.into(), state: Arc::clone(&state) };
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), UnixStream::connect(&socket));
                if let Ok(server) = server {
                    connect(client, server, &state);
                }
            }
        });
        proxy
    }

    pub fn plan(&self, plan: Plan) {
        *self.state.plan.lock().unwrap() = plan;
    }

    /// The messages since the last call.
    pub fn trips(&self) -> Vec<Trip> {
        std::mem::take(&mut self.state.trips.lock().unwrap())
    }
}

fn connect(client: TcpStream, server: UnixStream, state: &Arc<State>) {
    client.set_nodelay(true).unwrap();
    let loses_answer = Arc::new(AtomicBool::new(false));
    let (state, loses) = (Arc::clone(state), Arc::clone(&loses_answer));
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = upstream(&from, &to, &state, &loses);
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    thread::spawn(move || {
        let _ = downstream(&server, &client, &loses_answer);
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    });
}

/// One message: its type, if it has one, its length, its content.
fn message(from: &mut impl Read, typed: bool) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; 4 + usize::from(typed)];
    from.read_exact(&mut message)?;
    let length = u32::from_be_bytes(message[message.len() - 4..].try_into().unwrap());
    let at = message.len();
    message.resize(at + length as usize - 4, 0);
    from.read_exact(&mut message[at..])?;
    Ok(message)
}

/// Two texts that end with a zero byte.
fn two_texts(content: &[u8]) -> (String, String) {
    let mut texts = content.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    (texts.next().unwrap_or_default(), texts.next().unwrap_or_default())
}

fn upstream(from: &TcpStream, mut to: &UnixStream, state: &State, loses_answer: &AtomicBool) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    to.write_all(&message(&mut from, false)?)?;
    let (mut prepared, mut batch, mut running, mut parsed) = (HashMap::new(), Vec::new(), None, false);
    loop {
        let message = message(&mut from, true)?;
        let (kind, content) = (message[0], &message[5..]);
        batch.extend_from_slice(&message);
        match kind {
            b'P' => {
                let (name, sql) = two_texts(content);
                prepared.insert(name, sql);
                parsed = true;
            }
            b'B' => running = prepared.get(&two_texts(content).1).cloned(),
            b'Q' => running = Some(two_texts(content).0),
            _ => {}
        }
        // Of the other messages, the server answers only these at once. During login, it answers more messages.
        if !matches!(kind, b'S' | b'Q' | b'p' | b'X') {
            continue;
        }
        let running = running.take();
        let trip = match (&running, std::mem::take(&mut parsed)) {
            (Some(_), _) => Trip::Statement,
            (None, true) => Trip::Preparation,
            (None, false) => Trip::Ping,
        };
        if matches!(kind, b'S' | b'Q') {
            state.trips.lock().unwrap().push(trip);
        }
        let is = |part: &str| running.as_ref().is_some_and(|sql| sql.contains(part));
        let mut plan = state.plan.lock().unwrap();
        match *plan {
            Plan::LoseAnswer(part) if is(part) => {
                *plan = Plan::Pass;
                loses_answer.store(true, Ordering::SeqCst);
            }
            Plan::LoseRequest(part) if is(part) => {
                *plan = Plan::Pass;
                return Ok(());
            }
            Plan::SwallowPings if trip == Trip::Ping && kind == b'S' => batch.clear(),
            _ => {}
        }
        drop(plan);
        to.write_all(&std::mem::take(&mut batch))?;
    }
}

fn downstream(from: &UnixStream, mut to: &TcpStream, loses_answer: &AtomicBool) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let message = message(&mut from, true)?;
        if !loses_answer.load(Ordering::SeqCst) {
            to.write_all(&message)?;
        } else if message[0] == b'Z' {
            // The server is ready for the next statement: it has committed.
            return Ok(());
        }
    }
}
