//! Measures grantor beside its peers and beside a floor: the work that the contract demands, and nothing else.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! Every figure that matters is a ratio within one run. In each round everybody has a turn at a batch of operations, in an
//! order that rotates; the ratios are made round by round, and their middle is printed. What an operation needs, such as the
//! code to be redeemed, is prepared before its clock starts.

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

  --quick      everything once, in seconds: to see that it runs
  --only OP    one of authorize, code, refresh, client-credentials, bearer, memory
  --count      only does this many operations of a subject (typed, http, oauth-as, oxide-auth, floor), inside of the
               function `measured`, for a program that counts instructions";

struct Flags {
    quick: bool,
    only: Option<String>,
    count: Option<(Op, String, usize)>,
    /// How many, and how many of each grant: what [`memory`] starts another process with.
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
        // What is made when it is first used, such as the seed of the random generator, is made before.
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
        println!("\nAllocations of an ordinary operation: all (in the call + to put the request together).");
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

/// A new one of each. grantor first, the floor last.
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
            "the same from the bytes of a request to the bytes of a response",
            ours::Http::new(world),
        ),
        entry(
            "oauth-as",
            "typed requests, JSON body rendered, its MemoryStorage (one mutex). Does less: tokens and codes are stored in \
             clear, so nothing is hashed at issue or at the bearer check; no grant rows, nothing is indexed by owner or due \
             time (to revoke or sweep it looks at everything). Does more: asks the operating system for random bytes at each \
             issue; tokens of 64 characters",
            oauth_as::OauthAs::new(world),
        ),
        entry(
            "oxide-auth",
            "parsed parameters (hash maps), its ad-hoc endpoint, ClientMap, AuthMap and TokenMap behind one mutex, PKCE \
             required. Client secrets by one SHA-256 instead of its default Argon2, which would be all that is seen. Does \
             less: stored in clear, no grant rows, no replay detection, no revocation by owner, nothing is ever purged. Does \
             more: asks the operating system for random bytes for each token, parses redirect URIs as URLs, makes a refresh \
             token for client credentials too",
            oxide::Oxide::new(world),
        ),
        entry(
            "floor",
            "the work that the contract demands and nothing else: clock, entropy (grantor's SystemEntropy), base64url, \
             SHA-256 of what is stored and presented, the PKCE digest, the HMACs of a rotation, grant and token rows with \
             their indexes (token, grant, subject, client, due) in 64 shards, JSON. No parsing, no futures, no traits, no \
             overwriting of secrets, no events",
            floor_subject::Measured::new(world),
        ),
    ]
}

/// How a subject is named on the command line.
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
