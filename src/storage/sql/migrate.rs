//! Migrations: SQL files of this crate that sqlx runs and records in a separate table.

use sha2::{Digest, Sha384};
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::TableNames;
use crate::error::StorageError;

/// Returns a migrator that records migrations in a table with our prefix. `_sqlx_migrations` is left to the host app.
///
/// The migrations run in a transaction that excludes other nodes, so sqlx needs no lock.
pub(crate) fn migrator(names: &TableNames, files: &[(i64, &'static str, &str)]) -> Migrator {
    let migrations = files.iter().map(|(version, description, template)| {
        let migration =
            Migration::new(*version, (*description).into(), MigrationType::Simple, names.render(template), false);
        // The checksum covers the template without names, because the host app may later name the schema explicitly.
        Migration { checksum: Sha384::digest(template).to_vec().into(), ..migration }
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(names.table("migrations"));
    migrator.set_locking(false);
    migrator
}

/// Runs the pending migrations, unless the applied ones are not of this version. [`Migrator::run`] can't be used,
/// because its future is not `Send`.
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

/// Checks that exactly the migrations of this version have been applied.
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
    Err(StorageError::new("the tables are of an older version: open the storage once with migrations enabled"))
}

async fn applied<C: Migrate>(connection: &mut C, table: &str) -> Result<Vec<AppliedMigration>, StorageError> {
    match connection.dirty_version(table).await.map_err(failed_migration)? {
        Some(version) => Err(StorageError::new(MigrateError::Dirty(version))),
        None => connection.list_applied_migrations(table).await.map_err(failed_migration),
    }
}

/// Checks that the applied migrations are the first migrations of this version.
fn check_prefix(applied: &[AppliedMigration], migrator: &Migrator) -> Result<(), StorageError> {
    let mut ours = migrator.iter();
    for theirs in applied {
        let is_ours = |ours: &Migration| ours.version == theirs.version && ours.checksum == theirs.checksum;
        if !ours.next().is_some_and(is_ours) {
            return Err(StorageError::new(
                "the tables are of a newer version or of another program: upgrade grantor, or use another table prefix",
            ));
        }
    }
    Ok(())
}

/// Keeps sqlx's error as the source, if there is one.
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
