//! The statements that only SQLite uses. They are rendered with the table names when the storage is opened. Values are
//! always bound.

use sqlx::SqlStr;

use super::ephemeral::WRITING;
use crate::storage::sql::{BySelector, Common, EphemeralStatements, TableNames};

/// The statements of one storage, rendered with its table names.
pub(super) struct Statements {
    pub(super) common: Common,
    pub(super) find_live_grant: SqlStr,
    pub(super) insert_grant: SqlStr,
    pub(super) insert_token: SqlStr,
    pub(super) spend: SqlStr,
    pub(super) erase_seed: SqlStr,
    pub(super) move_grant: SqlStr,
    pub(super) revoke: RevokeStatements,
    pub(super) update_client: SqlStr,
    pub(super) remove_client: SqlStr,
    pub(super) purge: PurgeStatements,
    pub(super) ephemeral: EphemeralStatements,
}

/// The statements that revoke a page of grants. In all of them `$5` and `$6` are the `opened_at` and `id` after which
/// the page begins.
pub(super) struct RevokeStatements {
    /// Selects the page.
    pub(super) page: BySelector,
    /// Revokes the grants of the page at `$9`. `$7` and `$8` are the `opened_at` and `id` of its last grant.
    pub(super) mark: BySelector,
    /// Revokes descendants of the page.
    pub(super) descend: BySelector,
}

pub(super) struct PurgeStatements {
    pub(super) orphans: SqlStr,
    pub(super) tokens_of_dead_grants: SqlStr,
    pub(super) empty_grants: SqlStr,
    pub(super) close: SqlStr,
    pub(super) access_tokens: SqlStr,
    pub(super) seeds: SqlStr,
}

impl Statements {
    pub(super) fn new(names: &TableNames) -> Self {
        let sql = |template: &str| names.render(template);
        Self {
            common: Common::new(names, ""),
            find_live_grant: sql("SELECT 1 FROM {grants} WHERE id = $1 AND revoked_at IS NULL AND expires_at > $2"),
            insert_grant: sql(
                "INSERT INTO {grants} (id, client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, \
                 revoked_at, host_data, details, parent_grant, session, kept_until) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            ),
            insert_token: sql(
                "INSERT INTO {tokens} (hash, kind, grant_id, scope, issued_at, expires_at, parent, spent_at, spent_by, \
                 seed, revoked_at, details, seed_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            ),
            spend: sql("UPDATE {tokens} SET spent_at = $2, spent_by = $3, seed = $4, seed_until = $5 WHERE hash = $1"),
            erase_seed: sql("UPDATE {tokens} SET seed = NULL WHERE hash = $1 AND seed IS NOT NULL"),
            move_grant: sql(
                "UPDATE {grants} SET last_used_at = max(last_used_at, $2), expires_at = max(expires_at, $3) WHERE id = $1",
            ),
            revoke: RevokeStatements::new(names),
            update_client: sql("UPDATE {clients} SET registration = $2 WHERE id = $1"),
            remove_client: sql("DELETE FROM {clients} WHERE id = $1"),
            purge: PurgeStatements::new(names),
            ephemeral: EphemeralStatements::new(names, &WRITING),
        }
    }
}

impl RevokeStatements {
    fn new(names: &TableNames) -> Self {
        const PAGE: &str = "{selected} AND (g.opened_at, g.id) < ($5, $6) AND (g.opened_at, g.id) >= ($7, $8)";
        Self {
            page: BySelector::new(
                names,
                "SELECT g.opened_at, g.id FROM {grants} g WHERE {selected} AND (g.opened_at, g.id) < ($5, $6) \
                 ORDER BY g.opened_at DESC, g.id DESC LIMIT $7",
            ),
            mark: BySelector::new(
                names,
                &format!("UPDATE {{grants}} AS g SET revoked_at = $9 WHERE {PAGE} AND g.revoked_at IS NULL"),
            ),
            descend: BySelector::new(
                names,
                &format!(
                    "UPDATE {{grants}} SET revoked_at = $9 WHERE id IN ( \
                         WITH RECURSIVE family(id) AS ( \
                             SELECT c.id FROM {{grants}} g CROSS JOIN {{grants}} c ON c.parent_grant = g.id WHERE {PAGE} \
                             UNION SELECT c.id FROM family f CROSS JOIN {{grants}} c ON c.parent_grant = f.id \
                         ) \
                         SELECT f.id FROM family f CROSS JOIN {{grants}} d ON d.id = f.id \
                         WHERE d.revoked_at IS NULL LIMIT $10)"
                ),
            ),
        }
    }
}

/// The first grants that can be purged.
const DUE: &str =
    "(SELECT id, revoked_at, is_closed FROM {grants} WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2) due";

impl PurgeStatements {
    fn new(names: &TableNames) -> Self {
        let sql = |template: &str| names.render(&template.replace("{due}", DUE));
        Self {
            // Only a real revocation revokes the children. A grant that was closed by a purge does not.
            orphans: sql("UPDATE {grants} SET revoked_at = \
                         (SELECT p.revoked_at FROM {grants} p WHERE p.id = {grants}.parent_grant) \
                     WHERE id IN ( \
                         SELECT c.id FROM {due} CROSS JOIN {grants} c ON c.parent_grant = due.id \
                         WHERE due.revoked_at IS NOT NULL AND NOT due.is_closed AND c.revoked_at IS NULL LIMIT $2)"),
            tokens_of_dead_grants: sql("DELETE FROM {tokens} WHERE hash IN ( \
                     SELECT t.hash FROM {due} CROSS JOIN {tokens} t ON t.grant_id = due.id LIMIT $3) RETURNING grant_id"),
            empty_grants: sql("DELETE FROM {grants} WHERE id IN ( \
                     SELECT due.id FROM {due} WHERE NOT EXISTS (SELECT 1 FROM {tokens} t WHERE t.grant_id = due.id) \
                     AND (due.revoked_at IS NULL OR due.is_closed OR NOT EXISTS \
                         (SELECT 1 FROM {grants} c WHERE c.parent_grant = due.id AND c.revoked_at IS NULL)) \
                     LIMIT $3)"),
            close: sql(
                "UPDATE {grants} SET revoked_at = expires_at, is_closed = 1 WHERE id = $1 AND revoked_at IS NULL",
            ),
            access_tokens: sql("DELETE FROM {tokens} WHERE hash IN ( \
                     SELECT hash FROM {tokens} WHERE kind = 'access_token' AND spent_at IS NULL AND expires_at <= $1 \
                     ORDER BY expires_at LIMIT $2)"),
            seeds: sql("UPDATE {tokens} SET seed = NULL WHERE hash IN ( \
                     SELECT hash FROM {tokens} WHERE seed IS NOT NULL AND seed_until <= $1 ORDER BY seed_until LIMIT $2)"),
        }
    }
}
