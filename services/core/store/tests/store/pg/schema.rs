//! Migrations, the format number and the generated `schema.sql`.

use std::fs;

use store::{Error, SCHEMA_FORMAT};

use crate::{database::Database, postgres::SERVER};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.sql");

/// Removes the lines that depend on the version of `pg_dump`: comments, settings and its marks around the text.
fn normalized(dump: &str) -> String {
    let drops = |line: &&str| !["--", "SET ", "SELECT pg_catalog.set_config", "\\"].iter().any(|s| line.starts_with(s));
    let mut schema = String::from("-- Generated from migrations/ by `UPDATE=1 cargo test -p store schema`.\n");
    let mut blank = false;
    for line in dump.lines().filter(drops) {
        if line.is_empty() {
            blank = true;
            continue;
        }
        if blank {
            schema.push('\n');
        }
        blank = false;
        schema.push_str(line);
        schema.push('\n');
    }
    schema
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_sql_equals_the_migrated_schema() {
    let database = Database::new().await;
    let schema = normalized(&SERVER.dump_schema(&database.name));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(SCHEMA, &schema).expect("schema.sql is written");
    }
    let written = fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(written == schema, "schema.sql is out of date: run UPDATE=1 cargo test -p store schema");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_has_a_comment() {
    let query = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relkind IN ('r', 'p') AND relname <> '_sqlx_migrations' AND obj_description(oid, 'pg_class') IS NULL";
    assert_eq!(Database::new().await.row::<(Option<String>,)>(query).await.0, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_lacks_migrations_until_it_is_migrated() {
    let Database { store, .. } = Database::empty().await;
    store.check_schema_format().await.expect("an empty database can be migrated");
    assert!(store.pending_migrations().await.expect("a number") > 0);
    store.migrate().await.expect("it is migrated");
    assert_eq!(store.pending_migrations().await.expect("a number"), 0);
    store.migrate().await.expect("migrating again changes nothing");
}

/// Asserts that every function refuses the database and changes nothing in it.
async fn assert_refused(database: &Database, found: &str) {
    let before = SERVER.dump_schema(&database.name);
    let refused = database.store.check_schema_format().await.expect_err("it is refused");
    assert!(matches!(refused, Error::WrongSchemaFormat(_)) && !refused.is_transient(), "{refused:?}");
    let sentence = refused.to_string();
    let expected = format!("needs schema format {SCHEMA_FORMAT}: use another database");
    assert!(sentence.contains(found) && sentence.contains(&expected), "{sentence}");
    assert!(database.store.pending_migrations().await.is_err());
    assert!(database.store.migrate().await.is_err());
    // pg_dump marks its text with a key that is drawn for each run.
    assert_eq!(normalized(&SERVER.dump_schema(&database.name)), normalized(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_earlier_build_is_refused() {
    let database = Database::empty().await;
    database
        .run(
            "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, success boolean, checksum bytea);
             INSERT INTO _sqlx_migrations SELECT version, true, 'earlier' FROM generate_series(1, 8) version;
             CREATE TABLE positions (consumer text PRIMARY KEY)",
        )
        .await;
    assert_refused(&database, "earlier build").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_format_is_refused() {
    let database = Database::new().await;
    database.run("UPDATE schema_format SET format = 9").await;
    assert_refused(&database, "schema format 9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_another_initial_migration_is_refused() {
    let database = Database::new().await;
    database.run("UPDATE _sqlx_migrations SET checksum = 'other' WHERE version = 1").await;
    assert_refused(&database, "unreleased build").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_of_the_same_format_stays_as_it_is() {
    let database = Database::new().await;
    database
        .run(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'a later release', true, 'later', 0); CREATE TABLE later (id int)",
        )
        .await;
    database.store.migrate().await.expect("an older build works with it");
    assert_eq!(database.store.pending_migrations().await.expect("a number"), 0);
    assert_eq!(database.count("SELECT count(*) FROM later").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf_8_is_refused() {
    let database = Database::empty().await;
    let name = format!("{}_latin", database.name);
    let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&database.pool).await.expect("the database is created");
    let latin = store::Settings { url: SERVER.url(&name, "tickbell"), max_connections: 4 };
    let store = store::Store::connect_now(&latin, "test").await.expect("the database answers");
    let error = store.migrate().await.expect_err("LATIN1");
    let said = platform::runtime::error::error_chain(&error);
    assert!(said.contains(&name) && said.contains("LATIN1") && said.contains("UTF8"), "{said}");
    let all = database.store.pending_migrations().await.expect("a number");
    assert_eq!(store.pending_migrations().await.expect("a number"), all, "nothing is applied");
}
