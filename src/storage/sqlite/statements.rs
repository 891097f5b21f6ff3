//! The statements of SQLite alone, written once. Names of tables are put in when the storage is opened; values are always bound.

use sqlx::SqlStr;

use super::ephemeral::WRITING;
use crate::storage::sql::{Common, Dialect, EphemeralStatements, TableNames};

/// The statements with the names of one storage.
pub(super) struct Statements {
    pub(super) common: Common,
    pub(super) insert_grant: SqlStr,
    pub(super) insert_token: SqlStr,
    pub(super) spend: SqlStr,
    pub(super) erase_seed: SqlStr,
    pub(super) move_grant: SqlStr,
    pub(super) remove_client: SqlStr,
    pub(super) purge: PurgeStatements,
    pub(super) ephemeral: EphemeralStatements,
}

pub(super) struct PurgeStatements {
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
            common: Common::new(names, &Dialect { as_json: "", id_list: ["IN (", ")"] }),
            insert_grant: sql(
                "INSERT INTO {grants} (id, client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, \
                 revoked_at, host_data, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            ),
            insert_token: sql(
                "INSERT INTO {tokens} (hash, kind, grant_id, scope, issued_at, expires_at, parent, spent_at, spent_by, \
                 seed, revoked_at, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            ),
            spend: sql("UPDATE {tokens} SET spent_at = $2, spent_by = $3, seed = $4 WHERE hash = $1"),
            erase_seed: sql("UPDATE {tokens} SET seed = NULL WHERE hash = $1 AND seed IS NOT NULL"),
            move_grant: sql(
                "UPDATE {grants} SET last_used_at = max(last_used_at, $2), expires_at = max(expires_at, $3) WHERE id = $1",
            ),
            remove_client: sql("DELETE FROM {clients} WHERE id = $1"),
            purge: PurgeStatements::new(names),
            ephemeral: EphemeralStatements::new(names, &WRITING),
        }
    }
}

impl PurgeStatements {
    fn new(names: &TableNames) -> Self {
        let sql = |template: &str| names.render(template);
        Self {
            tokens_of_dead_grants: sql("DELETE FROM {tokens} WHERE hash IN ( \
                     SELECT t.hash FROM (SELECT id FROM {grants} WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2) dead \
                     CROSS JOIN {tokens} t ON t.grant_id = dead.id LIMIT $2) RETURNING grant_id"),
            empty_grants: sql("DELETE FROM {grants} WHERE id IN ( \
                     SELECT dead.id FROM (SELECT id FROM {grants} WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2) dead \
                     WHERE NOT EXISTS (SELECT 1 FROM {tokens} t WHERE t.grant_id = dead.id) LIMIT $3)"),
            close: sql("UPDATE {grants} SET revoked_at = ends_at WHERE id = $1 AND revoked_at IS NULL"),
            access_tokens: sql("DELETE FROM {tokens} WHERE hash IN ( \
                     SELECT hash FROM {tokens} WHERE kind = 'access_token' AND spent_at IS NULL AND expires_at <= $1 \
                     ORDER BY expires_at LIMIT $2)"),
            seeds: sql("UPDATE {tokens} SET seed = NULL WHERE hash IN ( \
                     SELECT hash FROM {tokens} WHERE seed IS NOT NULL AND spent_at <= $1 ORDER BY spent_at LIMIT $2)"),
        }
    }
}
