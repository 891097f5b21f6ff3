//! What the contract of `Storage` says of calls that meet, tried with `MemoryStorage` in many orders of its steps.
//!
//! The checker, shuttle, runs one thread at a time and decides at every lock who is next: by chance, or by priorities that change
//! at a few places (PCT), which finds what needs one thread to stand still for long. A deadlock is a failure, too. Each race
//! also says what came of it, and all that can come of it must have come about: a race that is always won by the same shows nothing.
//!
//! `GRANTOR_SCHEDULES` is how many orders are tried of each race (2000 if not set), `SHUTTLE_RANDOM_SEED` starts elsewhere than
//! the last time. What failed prints its schedule.

mod exchange;
mod mixed;
mod opening;
mod purge;
mod revocation;
mod world;
