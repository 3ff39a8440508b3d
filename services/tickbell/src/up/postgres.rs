//! Our own PostgreSQL, also when we are root, as whom it refuses to run.

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
    child::{Running, Server, stop_leftover},
    data_dir::DataDir,
    find,
};
use crate::exit::Unavailable;

/// How long a first start, or recovery after a kill, may take.
const START: Duration = Duration::from_secs(60);
/// Where the cluster goes when its user may not enter the data directory: root's home is closed to others.
const SHARED: &str = "/var/lib/tickbell";

/// InitialPrices it in the data directory and says how to reach it.
pub(crate) async fn start(data: &DataDir) -> anyhow::Result<(Running, String)> {
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
    let url = format!("postgres://tickbell:{password}@127.0.0.1:{port}/tickbell");
    if let Err(error) = wait_until_up(&url).await {
        server.stop().await;
        let log = data.join("postgres.log");
        let why = platform::runtime::error::error_chain(error.as_ref());
        let message = format!("PostgreSQL did not start, see {}: {why}", log.display());
        return Err(Unavailable(message).into());
    }
    Ok((server, url))
}

async fn wait_until_up(url: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    for wait in backoff() {
        match Store::create_database(url).await {
            Ok(()) => break,
            Err(error) if Instant::now() + wait > deadline => return Err(error.into()),
            Err(_) => sleep(wait).await,
        }
    }
    Ok(())
}

/// Whom the server runs as: us, or, when we are root, somebody who is not.
fn user() -> anyhow::Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).context("look up users")? {
            return Ok(Some(user));
        }
    }
    bail!("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody; use --database-url")
}

/// The cluster's folder, which its user can reach and owns.
fn cluster(data: &DataDir, user: Option<&User>) -> anyhow::Result<PathBuf> {
    let folder = data.join("postgres");
    let Some(user) = user else {
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        return Ok(folder);
    };
    let folder = match fs::read_link(&folder) {
        Ok(elsewhere) => elsewhere,
        Err(_) if folder.is_dir() || may_enter(data.path()) => folder,
        Err(_) => elsewhere(&folder)?,
    };
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    chown(&folder, Some(user.uid), Some(user.gid))
        .with_context(|| format!("give {} to user {}", folder.display(), user.name))?;
    Ok(folder)
}

/// Whether everybody may enter every folder down to this one.
fn may_enter(path: &Path) -> bool {
    path.ancestors().all(|folder| fs::metadata(folder).is_ok_and(|there| there.permissions().mode() & 0o001 != 0))
}

/// A folder outside, with a link to it at the place inside.
fn elsewhere(link: &Path) -> anyhow::Result<PathBuf> {
    // A new name each time: a data directory that was removed and made anew has a new password and a new cluster.
    let folder = Path::new(SHARED).join(format!("{:016x}", rand::random::<u64>()));
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    symlink(&folder, link).with_context(|| format!("link {} to it", link.display()))?;
    info!(folder = %folder.display(), "PostgreSQL's user may not enter the data directory; its data is here");
    Ok(folder)
}

async fn initialise(programs: &Path, cluster: &Path, user: Option<&User>, password: &str) -> anyhow::Result<()> {
    info!(folder = %cluster.display(), "making a database cluster");
    // Read once by initdb; in the cluster's parent nobody else could read it either way.
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
        bail!("initdb could not make {}: {}", cluster.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn as_user(mut command: Command, user: Option<&User>) -> Command {
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}
