use grantor::storage::{PostgresOptions, PostgresStorage, SqliteStorage, StorageError};

async fn open(my_pool: sqlx::PgPool) -> Result<(), StorageError> {
    // A file.
    let storage = SqliteStorage::open("oauth.db").await?;
    // A database, with a pool that the storage makes.
    let storage = PostgresStorage::connect("postgres://oauth@db/oauth").await?;
    // Your pool, and a schema for the tables.
    let storage = PostgresOptions::new().schema("auth").with_pool(my_pool).await?;
    Ok(())
}
