//! Compares the speed of grantor with its peers and with a floor, which does only the work that the contract requires.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! Only ratios within one run are meaningful. In each round, every subject runs a batch of operations, in rotating
//! order. The program computes the ratios of each round and prints their median. The inputs of an operation, such as
//! the code to redeem, are prepared before the clock starts.

mod allocations;
mod floor;
mod floor_subject;
#[cfg(test)]
mod floor_tests;
mod memory;
mod oauth_as;
mod ours;
mod oxide;
mod rounds;
mod subject;
mod threads;

use std::process::ExitCode;

use crate::rounds::{Entry, Extent, measured};
use crate::subject::{Op, Subject, World};

const USAGE: &str = "\
usage: peers [--quick] [--only OP]
       peers --count OP SUBJECT OPERATIONS

  --quick      runs everything once in a few seconds, to check that it works
  --only OP    one of authorize, code, refresh, client-credentials, bearer, memory
  --count      only runs this many operations of a subject (typed, http, oauth-as, oxide-auth, floor) in the function
               `measured`, for a program that counts instructions";

struct Flags {
    quick: bool,
    only: Option<String>,
    count: Option<(Op, String, usize)>,
    /// The number of tokens in all, and for each grant. [`memory`] passes them to another process.
    tokens: Option<(usize, usize)>,
}

fn main() -> ExitCode {
    let Some(flags) = flags(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    if let Some((total, per_grant)) = flags.tokens {
        memory::row(total, per_grant);
        return ExitCode::SUCCESS;
    }
    let world = World::new(1);
    if let Some((op, who, operations)) = flags.count {
        let Some(entry) = entries(&world).into_iter().find(|entry| slug(entry) == who) else {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        };
        // Initialize lazy values, such as the seed of the random generator, before the measurement.
        entry.subject.batch(op, 64).run();
        measured(&mut *entry.subject.batch(op, operations));
        return ExitCode::SUCCESS;
    }
    let extent = if flags.quick {
        Extent { rounds: 3, operations: 20, counted: 20 }
    } else {
        Extent { rounds: 200, operations: 250, counted: 400 }
    };
    let is_asked_for = |name: &str| flags.only.as_deref().is_none_or(|only| only == name);
    let ops: Vec<Op> = Op::ALL.into_iter().filter(|op| is_asked_for(op.name())).collect();
    if !ops.is_empty() {
        println!("## One thread: {} rounds of {} operations each\n", extent.rounds, extent.operations);
        entries(&world).iter().for_each(|entry| println!("* **{}**: {}", entry.name, entry.note));
        println!("\nAllocations of a typical operation: total (in the call + to build the request).");
        for &op in &ops {
            rounds::compare(op, &entries(&world), extent);
        }
        let rounds = if flags.quick { 3 } else { 60 };
        let operations = if flags.quick { 50 } else { 2_000 };
        threads::compare(&ops, Extent { rounds, operations, ..extent });
    }
    let tokens = if flags.quick { 10_000 } else { 1_000_000 };
    if is_asked_for("memory")
        && let Err(error) = memory::measure(tokens)
    {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Returns new subjects, grantor first and the floor last.
fn entries(world: &World) -> Vec<Entry<'_>> {
    fn entry<'a>(name: &'static str, note: &'static str, subject: impl Subject + 'a) -> Entry<'a> {
        Entry { name, note, subject: Box::new(subject) }
    }
    vec![
        entry(
            "grantor typed",
            "typed requests, JSON body rendered; MemoryStorage, SystemClock, SystemEntropy",
            ours::Typed::new(world),
        ),
        entry(
            "grantor http",
            "like grantor typed, but from the bytes of a request to the bytes of a response",
            ours::Http::new(world),
        ),
        entry(
            "oauth-as",
            "typed requests, JSON body rendered, its MemoryStorage (one mutex). Does less: stores tokens and codes in plain \
             text, so it hashes nothing at issue or at the bearer check; has no grant rows and no indexes by owner or purge \
             time (it scans everything to revoke or sweep). Does more: asks the operating system for random bytes at each \
             issue; tokens have 64 characters",
            oauth_as::OauthAs::new(world),
        ),
        entry(
            "oxide-auth",
            "parsed parameters (hash maps), its ad-hoc endpoint, ClientMap, AuthMap and TokenMap behind one mutex, PKCE \
             required. Client secrets use one SHA-256 instead of its default Argon2, which would dominate the result. Does \
             less: plain text tokens, no grant rows, no replay detection, no revocation by owner, no purge. Does more: asks \
             the operating system for random bytes for each token, parses redirect URIs as URLs, issues a refresh token for \
             client credentials, too",
            oxide::Oxide::new(world),
        ),
        entry(
            "floor",
            "only the work that the contract requires: clock, entropy (grantor's SystemEntropy), base64url, \
             SHA-256 of what is stored and presented, the PKCE digest, the HMACs of a rotation, grant and token rows with \
             their indexes (token, grant, subject, client, due) in 64 shards, JSON. No parsing, no futures, no traits, no \
             overwriting of secrets, no events",
            floor_subject::Measured::new(world),
        ),
    ]
}

/// Returns the name of a subject on the command line.
fn slug(entry: &Entry<'_>) -> &'static str {
    entry.name.strip_prefix("grantor ").unwrap_or(entry.name)
}

fn flags(mut arguments: impl Iterator<Item = String>) -> Option<Flags> {
    let op = |name: &str| Op::ALL.into_iter().find(|op| op.name() == name);
    let mut flags = Flags { quick: false, only: None, count: None, tokens: None };
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--quick" => flags.quick = true,
            "--only" => {
                let name = arguments.next().filter(|name| name == "memory" || op(name).is_some())?;
                flags.only = Some(name);
            }
            "--count" => {
                let (op, who) = (op(&arguments.next()?)?, arguments.next()?);
                flags.count = Some((op, who, arguments.next()?.parse().ok()?));
            }
            "--tokens" => {
                flags.tokens =
                    Some((arguments.next()?.parse().ok()?, arguments.next()?.parse().ok().filter(|per| *per > 0)?));
            }
            _ => return None,
        }
    }
    Some(flags)
}
