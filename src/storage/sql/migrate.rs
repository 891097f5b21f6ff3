//! Migrations: SQL files of ours, run by sqlx, noted down in a table of our own.

use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};

use super::Names;
use crate::error::StorageError;

/// Migrations that keep their books beside our tables, never in `_sqlx_migrations`, where a host's own may be noted.
///
/// They are run inside a transaction that excludes other nodes, so the lock that sqlx would take is not needed.
pub(crate) fn migrator(names: &Names, files: &[(i64, &'static str, &str)]) -> Migrator {
    let migrations = files.iter().map(|(version, description, template)| {
        let sql = names.render(template);
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(names.table("migrations"));
    migrator.set_locking(false);
    migrator
}

/// Whether all migrations that this version knows, and no others, have been run.
pub(crate) async fn check_migrations<C: Migrate>(
    connection: &mut C,
    names: &Names,
    migrator: &Migrator,
) -> Result<(), StorageError> {
    let applied = connection.list_applied_migrations(&names.table("migrations")).await.map_err(StorageError::new)?;
    let are_the_same = applied.len() == migrator.iter().count()
        && migrator
            .iter()
            .zip(&applied)
            .all(|(ours, theirs)| ours.version == theirs.version && ours.checksum == theirs.checksum);
    if are_the_same {
        return Ok(());
    }
    Err(StorageError::new("the tables are those of another version: open the storage once with migrations switched on"))
}
