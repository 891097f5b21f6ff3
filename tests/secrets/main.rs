//! Secrets can't be guessed, and do not leak.

#[path = "../common/postgres.rs"]
mod postgres;

mod comparisons;
mod database;
mod failures;
mod hosts;
mod leaks;
mod process_log;
mod randomness;
mod recording_storage;
mod stage;
mod traffic;
mod watch;

const VERIFIER: &str = "a-verifier-of-forty-three-characters-at-least";
const PASSWORD: &str = "correct horse battery+staple/\u{e9}";
const REDIRECT_URI: &str = "https://app.example/cb";
const STATE: &str = "a-state-that-only-one-browser-knows";
const GUESS: &str = "a-guessed-code-or-token";
const WRONG_SECRET: &str = "a-wrong-client-secret";
const WRONG_PASSWORD: &str = "a-wrong-password";
const WRONG_VERIFIER: &str = "a-wrong-verifier-of-forty-three-characters-";
/// The host's own code panics when it receives this value.
const UNLUCKY: &str = "unlucky";
