//! The PostgreSQL server of this test binary. It starts once, and stops and removes its files when the process ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use nix::unistd::{Uid, User, chown};

/// Starts the server, prints `ready`, and stops the server when its standard input ends, which any end of the test
/// process causes.
const SCRIPT: &str = r#"
    "$1/initdb" -D "$2/data" -U tickbell --auth=trust -N -E UTF8 --locale=C >"$2/initdb.log" 2>&1 || exit 1
    "$1/pg_ctl" -D "$2/data" -w -l "$2/log" -o "-k $2 -c listen_addresses= -c fsync=off -c synchronous_commit=off \
        -c full_page_writes=off -c max_connections=400 -c shared_buffers=64MB" start >/dev/null || exit 1
    echo ready
    read -r _
    "$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
    rm -rf "$2"
"#;

/// A running server, reached by a socket in its folder.
pub(crate) struct Server {
    programs: PathBuf,
    folder: PathBuf,
    /// The shell process, which runs as long as its standard input is open.
    _guardian: Child,
}

/// The server of this test process.
pub(crate) static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

impl Server {
    /// Starts another server.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("tickbell-store-").tempdir().expect("a folder").keep();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&programs).arg(&folder).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A process group of its own does not receive the terminal's interrupts, so that the script can clean up.
        command.process_group(0);
        if Uid::effective().is_root() {
            let user = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
            let user = user.expect("PostgreSQL refuses to run as root: make a user postgres or nobody");
            chown(&folder, Some(user.uid), Some(user.gid)).expect("the folder belongs to the server's user");
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let mut guardian = command.spawn().expect("a shell runs");
        let mut line = String::new();
        let output = guardian.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut line).expect("its output can be read");
        if line.trim() != "ready" {
            let log = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
            panic!("PostgreSQL did not start: {}{}", log("initdb.log"), log("log"));
        }
        Self { programs, folder, _guardian: guardian }
    }

    /// Returns the URL of a database for a role.
    pub(crate) fn url(&self, database: &str, role: &str) -> String {
        let host = self.folder.display();
        format!("postgres://tickbell@localhost/{database}?host={host}&options=-c%20role%3D{role}")
    }

    /// Returns the socket that the server listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Returns the schema of a database as `pg_dump` writes it.
    pub(crate) fn dump_schema(&self, database: &str) -> String {
        let mut command = Command::new(self.programs.join("pg_dump"));
        command.arg("--host").arg(&self.folder).args(["--username", "tickbell", "--schema-only", "--no-owner"]);
        command.args(["--no-privileges", "--exclude-table=_sqlx_migrations", database]);
        let output = command.output().expect("pg_dump runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a schema is text")
    }
}

/// Returns the folder of PostgreSQL's programs: that of the newest installed version, or the one on the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin")).filter(|folder| folder.join("initdb").is_file());
    let major = |folder: &PathBuf| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        let program = std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file())?;
        fs::canonicalize(program.join("initdb")).ok()?.parent().map(PathBuf::from)
    };
    installed.max_by_key(major).or_else(on_path).expect("PostgreSQL 15 or newer is installed")
}
