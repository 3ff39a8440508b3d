//! A second database server that follows the first, and the switch of the leader between them.

use std::{
    fs::{self, Permissions},
    io::Write,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{Server, System, database::Database, servers::Servers};
use crate::{
    Process,
    process::{free_address, send},
    wait_until,
};

const START: Duration = Duration::from_secs(30);
/// How long a server may take to stop in order, and to send to its standby what that lacks.
const STOP: Duration = Duration::from_secs(30);

/// A server that follows the leader until it is promoted.
pub struct Standby {
    folder: PathBuf,
    address: SocketAddr,
    /// Its database, for queries as the owner.
    pub database: Database,
    _process: Process,
}

impl Servers {
    /// Copies the database server into a standby that follows it. Services that start from now on know both.
    ///
    /// # Panics
    /// When the copy is not made.
    pub async fn add_standby(&mut self, system: &System) -> Standby {
        let folder = system.home().join("standby");
        let (leader, address) = (self.address(Server::Postgres), free_address());
        let url = self.database_url().clone();
        let (recipe, _) = self.started(Server::Postgres);
        let answers = async || self.database().run("SELECT 1").status.success().then_some(());
        wait_until("the database answers", START, answers).await;
        fs::create_dir(&folder).expect("a new folder");
        // PostgreSQL insists on a folder of its own.
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("our folder");
        if nix::unistd::Uid::effective().is_root() {
            chown(&folder, Some(recipe.user.0), Some(recipe.user.1)).expect("our folder");
        }
        let mut copy = recipe.command(&recipe.program.with_file_name("pg_basebackup"));
        copy.args(["--dbname", &url, "--write-recovery-conf", "--checkpoint", "fast", "--pgdata"]).arg(&folder);
        let output = copy.output().expect("pg_basebackup runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        let mut arguments = recipe.arguments.clone();
        arguments[recipe.value_of("-D")] = folder.display().to_string();
        arguments[recipe.value_of("-p")] = address.port().to_string();
        let process = system.spawn("standby", recipe.command(&recipe.program).args(arguments));
        let database = Database::new(
            recipe.program.with_file_name("psql"),
            url.replace(&leader.to_string(), &address.to_string()),
        );
        *self.database_url() = url.replace(&leader.to_string(), &format!("{leader},{address}"));
        Standby { folder, address, database, _process: process }
    }

    /// Makes the standby the leader: the first server is stopped in order, so that the standby has everything, and then
    /// follows it.
    ///
    /// # Panics
    /// When the standby is not promoted.
    pub async fn switch_leader(&mut self, system: &System, standby: &Standby) {
        let (recipe, process) = self.started(Server::Postgres);
        send(process.id(), Signal::SIGINT);
        process.wait(STOP).await;
        assert_eq!(standby.database.value("SELECT pg_promote()"), "t");
        let [folder, port] = ["-D", "-p"].map(|name| &recipe.arguments[recipe.value_of(name)]);
        let folder = Path::new(folder);
        let settings = fs::read_to_string(standby.folder.join("postgresql.auto.conf")).expect("its settings");
        let leader = settings.lines().find(|line| line.starts_with("primary_conninfo")).expect("whom it followed");
        let leader = leader.replace(&format!("port={port}"), &format!("port={}", standby.address.port()));
        let mut settings = fs::File::options().append(true).open(folder.join("postgresql.auto.conf")).expect("a file");
        writeln!(settings, "{leader}").expect("it is written");
        fs::write(folder.join("standby.signal"), "").expect("it is written");
        self.start_again(system, Server::Postgres);
    }
}
