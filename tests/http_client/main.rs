//! `GuardedHttpClient` against hostile URLs, names, servers and certificates. All servers are local.

mod certificates;
mod local;
mod requests;
mod responses;
mod slow;
mod targets;
