// Links work on a forge and on docs.rs: each page ends with definitions that lead to files, and `links.md` defines the
// same labels with paths of items. Markdown uses the first of two definitions, so `links.md` comes before each page.
//
// `tests/manual/` compiles and runs the code, so the pages are no documentation tests: these would need hidden lines,
// which a forge shows.
//
// Some links lead to items that exist only with the features `http-client` or `jwt`.
#![cfg_attr(not(all(feature = "http-client", feature = "jwt")), allow(rustdoc::broken_intra_doc_links))]
#![doc = include_str!("links.md")]
#![doc = include_str!("README.md")]

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("with_axum.md"))]
pub mod with_axum {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("with_actix_web.md"))]
pub mod with_actix_web {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("with_your_stack.md"))]
pub mod with_your_stack {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("machines.md"))]
pub mod machines {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("clients_without_shared_secrets.md"))]
pub mod clients_without_shared_secrets {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("separate_api.md"))]
pub mod separate_api {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("several_apis.md"))]
pub mod several_apis {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("signing_keys.md"))]
pub mod signing_keys {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("outbound_requests.md"))]
pub mod outbound_requests {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("client_libraries.md"))]
pub mod client_libraries {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("migrating.md"))]
pub mod migrating {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("testing.md"))]
pub mod testing {}

#[allow(clippy::test_attr_in_doctest, reason = "the page shows a test")]
#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("storage.md"))]
pub mod storage {}

#[doc = include_str!("links.md")]
#[doc = include_str!("tables.md")]
/// # PostgreSQL
/// ```sql
#[doc = include_str!("../../migrations/postgres/0001_clients_grants_tokens.sql")]
/// ```
///
/// # SQLite
/// ```sql
#[doc = include_str!("../../migrations/sqlite/0001_clients_grants_tokens.sql")]
/// ```
pub mod tables {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("operators.md"))]
pub mod operators {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("threats.md"))]
pub mod threats {}

#[allow(clippy::test_attr_in_doctest, reason = "the page shows tests")]
#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("defaults.md"))]
pub mod defaults {}

#[doc = include_str!("links.md")]
#[cfg_attr(not(doctest), doc = include_str!("non_features.md"))]
pub mod non_features {}
