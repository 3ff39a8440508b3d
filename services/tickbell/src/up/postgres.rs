//! The PostgreSQL server of `tickbell up`. PostgreSQL refuses to run as root, so for root it runs as another user.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::Signal,
    unistd::{Uid, User, chown},
};
use platform::runtime::backoff::backoff;
use store::Store;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};
use tracing::info;

use super::{
    child::{RunningServer, Server, stop_leftover},
    data_dir::DataDir,
    find,
};
use crate::{environment::libpq_variables, exit::Unavailable};

/// The longest wait for a first start, or for the recovery after a kill.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The folder for clusters whose user may not enter the data directory, which is so inside the home directory of root.
const SHARED: &str = "/var/lib/tickbell";

/// Starts a PostgreSQL server in the data directory, and returns it with the URL of its database.
pub(crate) async fn start(data: &DataDir) -> anyhow::Result<(RunningServer, String)> {
    let programs = find::postgresql()?;
    let user = user()?;
    let cluster = cluster(data, user.as_ref())?;
    let password = data.secret("postgres")?;
    let mark = cluster.display().to_string();
    stop_leftover("postgres", &cluster.join("postmaster.pid"), &mark, Signal::SIGINT).await;
    if !cluster.join("PG_VERSION").is_file() {
        initialise(&programs, &cluster, user.as_ref(), &password).await?;
    }
    let port = data.port("postgres")?;
    let log = data.join("postgres.log");
    let command = move || {
        let mut command = as_user(Command::new(programs.join("postgres")), user.as_ref());
        let log = File::options().create(true).append(true).open(&log).context("open the log of PostgreSQL")?;
        command.arg("-D").arg(&cluster).arg("-p").arg(port.to_string()).current_dir("/");
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_wal_size=4GB", "jit=off"] {
            command.arg("-c").arg(setting);
        }
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    };
    let server = Server { name: "postgres", command: Box::new(command), stop: Signal::SIGINT }.start()?;
    // The mode is written out because a URL that leaves it out takes it from PGSSLMODE, and this server has no certificate.
    let url = format!("postgres://tickbell:{password}@127.0.0.1:{port}/tickbell?sslmode=disable");
    if let Err(error) = wait_until_up(&url).await {
        server.stop().await;
        let log = data.join("postgres.log");
        let why = platform::runtime::error::error_chain(error.as_ref());
        let message = format!("PostgreSQL did not start: {why}; its log is {}", log.display());
        return Err(Unavailable(message).into());
    }
    Ok((server, url))
}

async fn wait_until_up(url: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    for wait in backoff() {
        match Store::create_database(url).await {
            Ok(()) => break,
            Err(error) if Instant::now() + wait > deadline => return Err(error.into()),
            Err(_) => sleep(wait).await,
        }
    }
    Ok(())
}

/// Returns the user that the server runs as; none means the user of this process.
fn user() -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).context("look up users")? {
            return Ok(Some(user));
        }
    }
    bail!(
        "PostgreSQL refuses to run as root, and neither user postgres nor user nobody exists: run as another user, or use \
         --database-url"
    )
}

/// Creates the folder of the cluster, which its user can reach and owns.
fn cluster(data: &DataDir, user: Option<&User>) -> anyhow::Result<PathBuf> {
    let folder = data.join("postgres");
    let Some(user) = user else {
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        return Ok(folder);
    };
    let folder = match fs::read_link(&folder) {
        Ok(target) => target,
        Err(_) if folder.is_dir() || may_enter(data.path()) => folder,
        Err(_) => create_linked(&folder)?,
    };
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    chown(&folder, Some(user.uid), Some(user.gid))
        .with_context(|| format!("give {} to user {}", folder.display(), user.name))?;
    Ok(folder)
}

/// Returns whether every user may enter the folder and all folders above it.
fn may_enter(path: &Path) -> bool {
    path.ancestors().all(|folder| fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0))
}

/// Creates a folder under [`SHARED`] and a symbolic link to it in the data directory.
fn create_linked(link: &Path) -> anyhow::Result<PathBuf> {
    // A new name each time: a data directory that was removed and created again has a new password and a new cluster.
    let folder = Path::new(SHARED).join(format!("{:016x}", rand::random::<u64>()));
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    symlink(&folder, link).with_context(|| format!("link {} to it", link.display()))?;
    info!(folder = %folder.display(), "the user of PostgreSQL may not enter the data directory, so its data is in another folder");
    Ok(folder)
}

async fn initialise(programs: &Path, cluster: &Path, user: Option<&User>, password: &str) -> anyhow::Result<()> {
    info!(folder = %cluster.display(), "creating the database cluster");
    // initdb reads the password from this file, which only its user may read and which is removed afterwards.
    let file = cluster.with_extension("password");
    fs::write(&file, password)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    if let Some(user) = user {
        chown(&file, Some(user.uid), Some(user.gid))?;
    }
    let mut command = as_user(Command::new(programs.join("initdb")), user);
    command.arg("-D").arg(cluster).args(["-U", "tickbell", "--auth=scram-sha-256", "-E", "UTF8", "--locale=C"]);
    let output = command.arg("--pwfile").arg(&file).current_dir("/").output().await.context("run initdb")?;
    fs::remove_file(&file)?;
    if !output.status.success() {
        bail!("initdb could not create {}: {}", cluster.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Runs a program of PostgreSQL as the user, and without the variables that the shell has for another server.
fn as_user(mut command: Command, user: Option<&User>) -> Command {
    for name in libpq_variables() {
        command.env_remove(name);
    }
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}
