//! Migrations: SQL files of ours, run by sqlx, noted down in a table of our own.

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType, Migrator};

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

/// Runs what has not been run yet, unless something else was run. In our own words, because the future of [`Migrator::run`] can't
/// be seen to be fit for another thread.
pub(crate) async fn run_migrations<C: Migrate>(
    connection: &mut C,
    names: &Names,
    migrator: &Migrator,
) -> Result<(), StorageError> {
    let table = names.table("migrations");
    connection.ensure_migrations_table(&table).await.map_err(failed_migration)?;
    let applied = applied(connection, &table).await?;
    check_prefix(&applied, migrator)?;
    for migration in migrator.iter().skip(applied.len()) {
        connection.apply(&table, migration).await.map_err(failed_migration)?;
    }
    Ok(())
}

/// Whether all migrations that this version knows, and no others, have been run.
pub(crate) async fn check_migrations<C: Migrate>(
    connection: &mut C,
    names: &Names,
    migrator: &Migrator,
) -> Result<(), StorageError> {
    let applied = applied(connection, &names.table("migrations")).await?;
    check_prefix(&applied, migrator)?;
    if applied.len() == migrator.iter().count() {
        return Ok(());
    }
    Err(StorageError::new(
        "the tables are those of an older version: open the storage once with migrations switched on",
    ))
}

async fn applied<C: Migrate>(connection: &mut C, table: &str) -> Result<Vec<AppliedMigration>, StorageError> {
    match connection.dirty_version(table).await.map_err(failed_migration)? {
        Some(version) => Err(StorageError::new(MigrateError::Dirty(version))),
        None => connection.list_applied_migrations(table).await.map_err(failed_migration),
    }
}

/// Whether what has been run is what this version would have run, up to some point.
fn check_prefix(applied: &[AppliedMigration], migrator: &Migrator) -> Result<(), StorageError> {
    let mut ours = migrator.iter();
    for theirs in applied {
        let is_ours = |ours: &Migration| ours.version == theirs.version && ours.checksum == theirs.checksum;
        if !ours.next().is_some_and(is_ours) {
            return Err(StorageError::new("the tables are those of a newer version, or were made by another program"));
        }
    }
    Ok(())
}

/// With sqlx's own error as the source, where there is one.
fn failed_migration(error: MigrateError) -> StorageError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StorageError::new(error),
        other => StorageError::new(other),
    }
}
