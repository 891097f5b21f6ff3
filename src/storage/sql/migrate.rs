//! Migrations: SQL files of ours, run by sqlx, noted down in a table of our own.

use sha2::{Digest, Sha384};
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::TableNames;
use crate::error::StorageError;

/// Migrations that keep their books beside our tables, never in `_sqlx_migrations`, where a host's own may be noted.
///
/// They are run inside a transaction that excludes other nodes, so the lock that sqlx would take is not needed.
pub(crate) fn migrator(names: &TableNames, files: &[(i64, &'static str, &str)]) -> Migrator {
    let migrations = files.iter().map(|(version, description, template)| {
        let migration =
            Migration::new(*version, (*description).into(), MigrationType::Simple, names.render(template), false);
        // Of the file, and not of what the names make of it: a schema may be named later that was implied before.
        Migration { checksum: Sha384::digest(template).to_vec().into(), ..migration }
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
    names: &TableNames,
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
    names: &TableNames,
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

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use sqlx::sqlite::SqliteConnection;
    use sqlx::{Connection, Row};

    use super::*;

    const FIRST: (i64, &str, &str) =
        (1, "a table", "CREATE TABLE {tokens} (id INTEGER); INSERT INTO {tokens} VALUES (7)");
    const SECOND: (i64, &str, &str) = (2, "a column", "ALTER TABLE {tokens} ADD COLUMN more INTEGER DEFAULT 1");

    async fn sum(connection: &mut SqliteConnection) -> i64 {
        let sum = sqlx::query("SELECT sum(id + more) FROM grantor_tokens").fetch_one(connection).await.unwrap();
        sum.get(0)
    }

    #[tokio::test]
    async fn newer_schema_version_is_added_once_and_keeps_data() {
        let names = TableNames::new(None, "grantor_").unwrap();
        let (old, new) = (migrator(&names, &[FIRST]), migrator(&names, &[FIRST, SECOND]));
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        run_migrations(&mut connection, &names, &old).await.unwrap();
        assert!(check_migrations(&mut connection, &names, &new).await.is_err(), "the tables are too old");
        for _ in 0..2 {
            run_migrations(&mut connection, &names, &new).await.unwrap();
            check_migrations(&mut connection, &names, &new).await.unwrap();
            assert_eq!(sum(&mut connection).await, 8);
        }
        assert!(run_migrations(&mut connection, &names, &old).await.is_err(), "an old node does not start");

        let changed = migrator(&names, &[FIRST, (2, "a column", "ALTER TABLE {tokens} ADD COLUMN other INTEGER")]);
        assert!(run_migrations(&mut connection, &names, &changed).await.is_err(), "what was released never changes");
    }
}
