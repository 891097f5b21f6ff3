//! The statements that only PostgreSQL uses. They are rendered with the table names when the storage is opened. Values
//! are always bound.

use sqlx::SqlStr;

use super::ephemeral::WRITING;
use super::purge::BATCH;
use crate::storage::sql::{BySelector, Common, EphemeralStatements, TableNames};

/// The statements of one storage, rendered with its table names.
pub(super) struct Statements {
    pub(super) common: Common,
    pub(super) open_grant: SqlStr,
    pub(super) open_dependent: SqlStr,
    pub(super) redeem: SqlStr,
    pub(super) revoke_page: BySelector,
    pub(super) revoke_descendants: SqlStr,
    pub(super) replace_client: SqlStr,
    pub(super) remove_client: SqlStr,
    pub(super) purge: PurgeStatements,
    pub(super) ephemeral: EphemeralStatements,
}

pub(super) struct PurgeStatements {
    pub(super) orphans: SqlStr,
    pub(super) tokens_of_dead_grants: SqlStr,
    pub(super) empty_grants: SqlStr,
    pub(super) access_tokens: SqlStr,
    pub(super) seeds: SqlStr,
}

/// The SQL types of the columns of new tokens. Each column is bound as an array.
const NEW_TOKENS: [&str; 12] = [
    "bytea",
    "text",
    "text",
    "timestamptz",
    "timestamptz",
    "bytea",
    "timestamptz",
    "bytea",
    "bytea",
    "timestamptz",
    "text",
    "timestamptz",
];

/// Returns the statement that inserts tokens. They are bound from parameter `first` on. `grant_id` is an expression
/// over `source`.
fn insert_tokens(first: usize, grant_id: &str, source: &str) -> String {
    let arrays: Vec<String> =
        NEW_TOKENS.iter().enumerate().map(|(number, of)| format!("${}::{of}[]", first + number)).collect();
    format!(
        "INSERT INTO {{tokens}} (hash, kind, grant_id, scope, issued_at, expires_at, parent, spent_at, spent_by, seed, \
         revoked_at, details, seed_until) \
         SELECT n.hash, n.kind, {grant_id}, n.scope, n.issued_at, n.expires_at, n.parent, n.spent_at, n.spent_by, n.seed, \
         n.revoked_at, n.details::json, n.seed_until \
         FROM {source}unnest({}) \
         AS n(hash, kind, scope, issued_at, expires_at, parent, spent_at, spent_by, seed, revoked_at, details, seed_until)",
        arrays.join(", ")
    )
}

/// Returns the statement that opens a grant with a parent `$12` or a consent grant `$27`. Returns whether each of them is
/// live, or not named. `FOR SHARE` keeps other transactions from changing their rows until the end of the statement. The
/// rows are locked in the order in which a revocation locks them.
fn open_dependent() -> String {
    let born = insert_tokens(15, "$1", "may_open, ");
    format!(
        "WITH live AS MATERIALIZED ( \
             SELECT id FROM {{grants}} WHERE id IN ($12, $27) AND revoked_at IS NULL AND expires_at > $6 \
             ORDER BY opened_at DESC, id DESC FOR SHARE \
         ), found AS MATERIALIZED ( \
             SELECT $12::bytea IS NULL OR EXISTS (SELECT FROM live WHERE id = $12) AS parent, \
                    $27::bytea IS NULL OR EXISTS (SELECT FROM live WHERE id = $27) AS consent \
         ), may_open AS (SELECT FROM found WHERE parent AND consent), \
         opened AS ({INSERT_GRANT} FROM may_open), born AS ({born}) SELECT parent, consent FROM found"
    )
}

/// Returns the statement for steps 1 to 4 of [`Storage::redeem`](crate::storage::Storage::redeem). It locks the rows
/// before it checks them: after waiting for a lock, PostgreSQL reads the current row again. It locks the grant first,
/// so that redemptions of tokens of one grant queue there and can't deadlock.
fn redeem() -> String {
    let born = insert_tokens(10, "live.grant_id", "live, ");
    format!(
        "WITH live AS ( \
             SELECT t.hash, t.grant_id, t.parent FROM {{grants}} g JOIN {{tokens}} t ON t.grant_id = g.id \
             WHERE t.hash = $1 AND t.kind = $2 AND t.grant_id = $3 \
             AND t.revoked_at IS NULL AND t.spent_at IS NULL AND t.expires_at > $4 \
             AND g.revoked_at IS NULL AND g.expires_at > $4 \
             FOR NO KEY UPDATE OF g FOR NO KEY UPDATE OF t \
         ), spent AS ( \
             UPDATE {{tokens}} t SET spent_at = $4, spent_by = $5, seed = $6, seed_until = $9 FROM live WHERE t.hash = live.hash AND $7 \
         ), parent AS ( \
             UPDATE {{tokens}} t SET seed = NULL FROM live WHERE t.hash = live.parent AND t.seed IS NOT NULL AND $7 \
         ), moved AS ( \
             UPDATE {{grants}} g SET last_used_at = GREATEST(g.last_used_at, $4), expires_at = GREATEST(g.expires_at, $8) \
             FROM live WHERE g.id = live.grant_id \
         ), born AS ({born}) \
         SELECT count(*) FROM live"
    )
}

impl Statements {
    pub(super) fn new(names: &TableNames) -> Self {
        Self {
            common: Common::new(names, "::json"),
            open_grant: names.render(&format!("WITH opened AS ({INSERT_GRANT}) {}", insert_tokens(15, "$1", ""))),
            open_dependent: names.render(&open_dependent()),
            redeem: names.render(&redeem()),
            revoke_page: BySelector::new(names, REVOKE_PAGE),
            revoke_descendants: names.render(REVOKE_DESCENDANTS),
            replace_client: names
                .render("UPDATE {clients} SET registration = $2::json WHERE id = $1 AND registration::text = $3"),
            remove_client: names.render("DELETE FROM {clients} WHERE id = $1"),
            purge: PurgeStatements::new(names),
            ephemeral: EphemeralStatements::new(names, &WRITING),
        }
    }
}

/// Inserts the grant that is bound as `$1` to `$14`.
const INSERT_GRANT: &str = "INSERT INTO {grants} (id, client_id, subject, grant_type, scope, opened_at, last_used_at, \
     expires_at, revoked_at, host_data, details, parent_grant, session, kept_until) \
     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10::json, $11::json, $12, $13, $14";

/// Revokes the next page of the selected grants. Returns all grants of the page, including those that were revoked
/// before. The grants to revoke are in an array, which PostgreSQL computes only once.
const REVOKE_PAGE: &str = "WITH page AS MATERIALIZED ( \
         SELECT g.opened_at, g.id FROM {grants} g WHERE {selected} AND (g.opened_at, g.id) < ($6, $7) \
         ORDER BY g.opened_at DESC, g.id DESC LIMIT $8 \
     ), marked AS ( \
         UPDATE {grants} SET revoked_at = $5 WHERE id = ANY(ARRAY( \
             SELECT id FROM {grants} WHERE id = ANY(ARRAY(SELECT id FROM page)) AND revoked_at IS NULL \
             ORDER BY opened_at DESC, id DESC FOR NO KEY UPDATE)) \
         RETURNING id \
     ) \
     SELECT page.opened_at, page.id, marked.id IS NOT NULL FROM page LEFT JOIN marked ON marked.id = page.id";

/// Revokes the descendants of the grants `$1`. It does not see a child that was being opened meanwhile, but the next
/// run of the statement does.
const REVOKE_DESCENDANTS: &str = "WITH RECURSIVE family(id) AS ( \
         SELECT unnest($1::bytea[]) UNION SELECT c.id FROM family f JOIN {grants} c ON c.parent_grant = f.id \
     ) \
     UPDATE {grants} SET revoked_at = $2 WHERE id = ANY(ARRAY( \
         SELECT id FROM {grants} WHERE id = ANY(ARRAY(SELECT id FROM family)) AND revoked_at IS NULL \
         ORDER BY id LIMIT $3 FOR NO KEY UPDATE))";

/// Revokes the children of revoked grants that can be purged. A cancelled revocation may have left such children.
const ORPHANS: &str = "WITH due AS MATERIALIZED ( \
         SELECT id, revoked_at, is_closed FROM {grants} WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2 \
     ), orphans AS MATERIALIZED ( \
         SELECT c.id, due.revoked_at FROM due JOIN {grants} c ON c.parent_grant = due.id \
         WHERE due.revoked_at IS NOT NULL AND NOT due.is_closed AND c.revoked_at IS NULL \
         LIMIT $2 FOR NO KEY UPDATE OF c SKIP LOCKED \
     ) \
     UPDATE {grants} g SET revoked_at = orphans.revoked_at FROM orphans WHERE g.id = orphans.id";

/// Removes the tokens of grants that have ended, grant by grant. A separate statement removes the grants. Until then
/// they are closed, so that a node whose clock is behind can't use a grant whose spent tokens are gone.
const TOKENS_OF_DEAD_GRANTS: &str = "WITH dead AS MATERIALIZED ( \
         SELECT id FROM {grants} WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2 FOR UPDATE SKIP LOCKED \
     ), doomed AS MATERIALIZED ( \
         SELECT t.hash, dead.id FROM dead \
         CROSS JOIN LATERAL (SELECT hash FROM {tokens} WHERE grant_id = dead.id LIMIT $2) t LIMIT $2 \
     ), closed AS ( \
         UPDATE {grants} g SET revoked_at = g.expires_at, is_closed = true \
         WHERE g.id = ANY(ARRAY(SELECT id FROM doomed)) AND g.revoked_at IS NULL \
     ) \
     DELETE FROM {tokens} WHERE hash = ANY(ARRAY(SELECT hash FROM doomed))";

impl PurgeStatements {
    /// The statements skip rows that other transactions have locked. They use `ARRAY(...)`, which PostgreSQL computes
    /// only once. A plain subquery with a `LIMIT` might run again for each row, and select other rows each time.
    fn new(names: &TableNames) -> Self {
        let sql = |template: &str| names.render(template);
        Self {
            orphans: sql(ORPHANS),
            tokens_of_dead_grants: sql(TOKENS_OF_DEAD_GRANTS),
            // Visits only the first grants that have ended. Otherwise a purge with a million of them would scan them
            // all.
            empty_grants: names.render(&format!(
                "DELETE FROM {{grants}} WHERE id = ANY(ARRAY( \
                 SELECT g.id FROM {{grants}} g WHERE g.purge_at <= $1 AND g.id = ANY(ARRAY( \
                     SELECT id FROM {{grants}} WHERE purge_at <= $1 ORDER BY purge_at LIMIT {BATCH})) \
                 AND NOT EXISTS (SELECT FROM {{tokens}} t WHERE t.grant_id = g.id) \
                 AND (g.revoked_at IS NULL OR g.is_closed OR NOT EXISTS ( \
                     SELECT FROM {{grants}} c WHERE c.parent_grant = g.id AND c.revoked_at IS NULL)) \
                 LIMIT $2 FOR UPDATE OF g SKIP LOCKED))"
            )),
            access_tokens: sql("DELETE FROM {tokens} WHERE hash = ANY(ARRAY( \
                     SELECT hash FROM {tokens} WHERE kind = 'access_token' AND spent_at IS NULL AND expires_at <= $1 \
                     ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))"),
            seeds: sql("UPDATE {tokens} SET seed = NULL WHERE hash = ANY(ARRAY( \
                     SELECT hash FROM {tokens} WHERE seed IS NOT NULL AND seed_until <= $1 \
                     ORDER BY seed_until LIMIT $2 FOR UPDATE SKIP LOCKED))"),
        }
    }
}
