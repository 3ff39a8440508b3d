//! The schema of the database: its format, its migrations and the rights of the services' roles.
//!
//! A format number names a schema that later migrations only expand: every build works with all versions of its own
//! format. A database of another format is refused before anything in it is touched.

use std::fmt::{self, Display, Formatter};

use platform::ServiceError;
use sqlx::{
    ConnectOptions, Connection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use thiserror::Error as ThisError;

use crate::{Error, Store, pg::session};

/// The format number of the schema that this build reads and writes. Format 1 was never released: its databases have
/// eight migrations and no table `schema_format`.
pub const SCHEMA_FORMAT: i32 = 3;

/// The number of the migration that creates the schema.
const INITIAL: i64 = 1;

/// The migrations of this build: the number, the description and the SQL of each. The macro `migrate!` would find them in
/// the folder by itself, but its feature compiles sqlx, TLS included, once more for the machine that builds.
const MIGRATIONS: [(i64, &str, &str); 4] = [
    (INITIAL, "initial", include_str!("../../migrations/0001_initial.sql")),
    (2, "dead_letter_replays", include_str!("../../migrations/0002_dead_letter_replays.sql")),
    (3, "archive_of_a_day", include_str!("../../migrations/0003_archive_of_a_day.sql")),
    (4, "dead_letter_publishers", include_str!("../../migrations/0004_dead_letter_publishers.sql")),
];

/// The database holds a schema that this build can neither read nor migrate.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error(
    "the database has {found}, but this build needs schema format {SCHEMA_FORMAT}: use another database, or the build that \
     made this one"
)]
pub struct WrongSchemaFormat {
    found: FoundSchema,
}

/// The database stores text in another encoding than UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error(
    "the database {database:?} has the encoding {encoding}, but UTF8 is needed: create another one with \
     CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
)]
struct WrongEncoding {
    database: String,
    encoding: String,
}

/// The schema that a database holds instead of the one of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FoundSchema {
    /// Migrations without a format number, from before there was one.
    Unnumbered,
    /// Another format number.
    Format(i32),
    /// The same format number and another initial migration.
    OtherInitial,
}

impl Display for FoundSchema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnumbered => f.write_str("a schema of an earlier build, without a format number"),
            Self::Format(format) => write!(f, "schema format {format}"),
            Self::OtherInitial => write!(f, "a schema of format {SCHEMA_FORMAT} from an unreleased build"),
        }
    }
}

impl Store {
    /// Brings the schema up to this version, and the rights of the services' roles with it. A schema that is newer
    /// stays as it is: every version works with the one after it, so that a release can be rolled back. A database of
    /// another format is refused, and nothing in it is touched.
    pub async fn migrate(&self) -> Result<(), ServiceError> {
        self.check_encoding().await?;
        self.check_schema_format().await?;
        let mut migrator = migrator();
        migrator.set_ignore_missing(true);
        // The initial schema takes longer than the threshold of sqlx's warning about slow statements, which would print
        // the whole of it on the terminal of somebody who starts the program for the first time.
        let options = self.pool().inner().connect_options().as_ref().clone().disable_statement_logging();
        let mut connection = session::open(&options).await.map_err(Error::from)?;
        migrator.run(&mut connection).await.map_err(|error| ServiceError::permanent("migrate the database", error))?;
        connection.close().await.map_err(Error::from)?;
        let mut tx = self.pool().inner().begin().await.map_err(Error::from)?;
        let roles = sqlx::raw_sql(include_str!("../../roles.sql")).execute(&mut *tx).await;
        roles.map_err(|error| ServiceError::permanent("grant the services' roles their rights", error))?;
        tx.commit().await.map_err(Error::from)?;
        Ok(())
    }

    /// Returns the number of migrations that the database lacks. One that is newer than this program is not counted. A
    /// database of another format is an error.
    pub async fn pending_migrations(&self) -> Result<usize, Error> {
        self.check_schema_format().await?;
        if !self.has_table("_sqlx_migrations").await? {
            return Ok(migrator().iter().count());
        }
        let query = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success");
        let applied: Vec<i64> = query.fetch_all(self.pool()).await?;
        Ok(migrator().iter().filter(|migration| !applied.contains(&migration.version)).count())
    }

    /// Fails with [`Error::WrongSchemaFormat`] when the database has a schema of another format than [`SCHEMA_FORMAT`].
    /// An empty database passes: it can be migrated.
    pub async fn check_schema_format(&self) -> Result<(), Error> {
        let refuse = |found| Err(WrongSchemaFormat { found }.into());
        if self.has_table("schema_format").await? {
            let format = sqlx::query_scalar("SELECT format FROM schema_format").fetch_one(self.pool()).await?;
            if format != SCHEMA_FORMAT {
                return refuse(FoundSchema::Format(format));
            }
        }
        if !self.has_table("_sqlx_migrations").await? {
            return Ok(());
        }
        let query = sqlx::query_scalar("SELECT checksum FROM _sqlx_migrations WHERE version = $1");
        let applied: Option<Vec<u8>> = query.bind(INITIAL).fetch_optional(self.pool()).await?;
        let Some(applied) = applied else { return Ok(()) };
        if !self.has_table("schema_format").await? {
            return refuse(FoundSchema::Unnumbered);
        }
        let is_ours = |initial: &sqlx::migrate::Migration| *initial.checksum == *applied;
        if migrator().iter().any(|migration| migration.version == INITIAL && is_ours(migration)) {
            Ok(())
        } else {
            refuse(FoundSchema::OtherInitial)
        }
    }

    /// Fails when the database does not store text as UTF-8: names and mails hold any character.
    async fn check_encoding(&self) -> Result<(), ServiceError> {
        let query = sqlx::query_as("SELECT current_database()::text, current_setting('server_encoding')");
        let (database, encoding): (String, String) = query.fetch_one(self.pool()).await.map_err(Error::from)?;
        if encoding == "UTF8" {
            return Ok(());
        }
        let error = WrongEncoding { database, encoding };
        Err(ServiceError::permanent("migrate the database", error))
    }

    async fn has_table(&self, name: &str) -> Result<bool, Error> {
        let query = sqlx::query_scalar("SELECT to_regclass('public.' || $1) IS NOT NULL");
        Ok(query.bind(name).fetch_one(self.pool()).await?)
    }
}

fn migrator() -> Migrator {
    let migration = |(version, description, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.map(migration).into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_a_migration_of_this_build() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let entries = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = entries
            .map(|path| (path.file_name().expect("a name").to_owned(), fs::read_to_string(path).expect("SQL")))
            .collect();
        files.sort();
        let built_in = MIGRATIONS
            .map(|(version, description, sql)| (format!("{version:04}_{description}.sql").into(), sql.into()));
        assert_eq!(files, built_in);
    }

    #[test]
    fn the_initial_migration_writes_the_format_number_of_this_build() {
        let initial = include_str!("../../migrations/0001_initial.sql");
        assert!(initial.contains(&format!("INSERT INTO schema_format (format) VALUES ({SCHEMA_FORMAT});")));
    }
}
