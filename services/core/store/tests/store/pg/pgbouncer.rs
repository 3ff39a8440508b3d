//! `PgBouncer` between a store and its server.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::unistd::{Uid, User, chown};
use platform::runtime::error::error_chain;
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use store::{Error, Settings, Store};

use crate::{database::Database, postgres::SERVER};

/// Starts the program, prints `ready` once it accepts connections, and ends it when the standard input ends.
const SCRIPT: &str = r#"
    PATH=$PATH:/usr/sbin
    pgbouncer --quiet "$1/pgbouncer.ini" &
    until [ -S "$1/.s.PGSQL.6432" ]; do
        kill -0 $! 2>/dev/null || exit 1
        sleep 0.02
    done
    echo ready
    read -r _
    kill -9 $!
    wait $! 2>/dev/null
    rm -rf "$1"
"#;
/// The longest wait for a connection that is to be refused, which is not tried again.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// A running pooler, reached by a socket in its folder.
struct PgBouncer {
    folder: PathBuf,
    /// The shell process, which runs as long as its standard input is open.
    _guardian: Child,
}

impl PgBouncer {
    /// Starts a pooler with settings like `pool_mode = session`.
    fn start(settings: &[&str]) -> Self {
        let server = SERVER.socket();
        let server = server.parent().expect("a folder").display();
        let folder = tempfile::Builder::new().prefix("tickbell-store-").tempdir().expect("a folder").keep();
        let at = folder.display();
        let common = format!(
            "[databases]\n* = host={server}\n[pgbouncer]\nunix_socket_dir = {at}\nlisten_port = 6432\nlogfile = {at}/log\n\
             auth_type = trust\nauth_file = {at}/users\n"
        );
        fs::write(folder.join("pgbouncer.ini"), common + &settings.join("\n") + "\n").expect("our folder");
        fs::write(folder.join("users"), "\"tickbell\" \"\"\n").expect("our folder");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&folder).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.process_group(0);
        if Uid::effective().is_root() {
            let user = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
            let user = user.expect("PgBouncer refuses to run as root: make a user postgres or nobody");
            chown(&folder, Some(user.uid), Some(user.gid)).expect("the folder belongs to the pooler's user");
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let mut guardian = command.spawn().expect("a shell runs");
        let mut line = String::new();
        let output = guardian.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut line).expect("its output can be read");
        assert_eq!(line.trim(), "ready", "PgBouncer is not installed, or {at}/log says why it did not start");
        Self { folder, _guardian: guardian }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://tickbell@localhost:6432/{database}?host={}", Path::display(&self.folder))
    }

    fn settings(&self, database: &str) -> Settings {
        Settings { url: self.url(database), max_connections: 8 }
    }
}

/// Connects, which must be refused at once, and returns why.
async fn refusal(pooler: &PgBouncer, database: &str) -> String {
    let begun = Instant::now();
    let refused = Store::connect(&pooler.settings(database), "test").await.expect_err("it is refused");
    assert!(begun.elapsed() < REFUSED_WITHIN, "{refused:?}");
    error_chain(&refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_leaves_each_client_its_connection_changes_nothing() {
    let database = Database::empty().await;
    let pooler = PgBouncer::start(&["pool_mode = session"]);
    let store = Store::connect_now(&pooler.settings(&database.name), "test").await.expect("it can be used");
    store.migrate().await.expect("it is migrated");
    let settings = store.transaction(|tx| {
        Box::pin(async move {
            let names = ["enable_seqscan", "idle_in_transaction_session_timeout", "client_connection_check_interval"];
            let query = sqlx::query_scalar("SELECT current_setting(name) FROM unnest($1::text[]) AS name");
            let settings: Vec<String> = query.bind(names).fetch_all(&mut **tx).await?;
            Ok::<_, Error>(settings)
        })
    });
    assert_eq!(settings.await.expect("they are set"), ["off", "5s", "5s"]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_connections_is_refused_with_a_sentence() {
    let database = Database::empty().await;
    for mode in ["transaction", "statement"] {
        for settings in [
            &["default_pool_size = 1"][..],
            &["default_pool_size = 2", "server_round_robin = 1", "min_pool_size = 2"],
            &["default_pool_size = 20"],
            &["default_pool_size = 20", "server_round_robin = 1", "min_pool_size = 20"],
        ] {
            let mode = format!("pool_mode = {mode}");
            let pooler = PgBouncer::start(&[&[&*mode], settings].concat());
            for _ in 0..3 {
                let refusal = refusal(&pooler, &database.name).await;
                let says = |text: &str| refusal.contains(text);
                assert!(
                    says("can be used") && says("by turns") && says("set pool_mode = session"),
                    "{mode}: {refusal}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_connections_is_refused_while_others_use_it() {
    let database = Database::empty().await;
    let pooler = PgBouncer::start(&["pool_mode = transaction", "default_pool_size = 4"]);
    for _ in 0..4 {
        let options: PgConnectOptions = pooler.url(&database.name).parse().expect("a URL");
        let options = options.extra_float_digits(None);
        let mut other = PgConnection::connect_with(&options).await.expect("it answers");
        tokio::spawn(async move { while other.execute(sqlx::raw_sql("SELECT 1")).await.is_ok() {} });
    }
    for _ in 0..20 {
        let refusal = refusal(&pooler, &database.name).await;
        assert!(refusal.contains("by turns"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_without_a_second_connection_is_refused_with_a_sentence() {
    let database = Database::empty().await;
    let pooler = PgBouncer::start(&["pool_mode = session", "default_pool_size = 1"]);
    let refused = Store::connect_now(&pooler.settings(&database.name), "test").await.expect_err("it is refused");
    let refusal = error_chain(&refused);
    assert!(refusal.contains("its pool_size must be at least database.max_connections and 8 more"), "{refusal}");
}
