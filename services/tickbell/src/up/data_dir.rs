//! The data directory of `tickbell up`: the data of its servers, their secrets and ports, and the file `env` with their
//! addresses.
//!
//! The file `format` holds the number of the directory's format. A directory of another format is refused before anything
//! in it is touched: streams and tables of another build may not mean the same, and nothing converts them. A lock keeps a
//! second `up` out.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::Write,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::settings::Settings;

/// The format of the data directory. It is increased whenever a build cannot use the directory of an earlier one.
const FORMAT: u32 = 2;
/// The file with the format's number. Builds before format 1 did not write it.
const FORMAT_FILE: &str = "format";
/// Entries that every data directory has after its first start, in all formats.
const DATA: [&str; 4] = ["nats", "postgres", "links.secret", "postgres.secret"];

/// A data directory that this process has locked.
pub(crate) struct DataDir {
    path: PathBuf,
    /// The operating system releases the lock when the process ends, however it ends.
    _lock: File,
}

impl DataDir {
    /// Creates the directory, or checks the format of an existing one, and locks it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        check_format(path)?;
        let creating = || format!("create the data directory {}; choose another with --data-dir", path.display());
        fs::create_dir_all(path).with_context(creating)?;
        let path = path.canonicalize().with_context(creating)?;
        let lock = File::create(path.join("lock")).with_context(creating)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another `tickbell up` is running in {}: stop it, or choose another directory with --data-dir",
                path.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(creating),
        }
        let format = path.join(FORMAT_FILE);
        if !format.is_file() {
            fs::write(&format, format!("{FORMAT}\n")).with_context(creating)?;
        }
        let data = Self { path, _lock: lock };
        data.remove_env();
        Ok(data)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of an entry.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns 256 random bits in hexadecimal, from a file that the first start creates and only the owner may read.
    pub(crate) fn secret(&self, name: &str) -> anyhow::Result<String> {
        let file = self.join(&format!("{name}.secret"));
        if let Ok(secret) = fs::read_to_string(&file) {
            return Ok(secret.trim().to_owned());
        }
        let secret: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .with_context(|| format!("write {}", file.display()))?;
        out.write_all(secret.as_bytes())?;
        Ok(secret)
    }

    /// Returns a free port: that of the last start if possible, so that clients find the server again.
    pub(crate) fn port(&self, name: &str) -> anyhow::Result<u16> {
        let file = self.join(&format!("{name}.port"));
        let last = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let listener = TcpListener::bind(("127.0.0.1", last)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
        let port = listener.and_then(|listener| listener.local_addr()).context("find a free port")?.port();
        fs::write(&file, port.to_string()).with_context(|| format!("write {}", file.display()))?;
        Ok(port)
    }

    /// Writes the addresses of the servers for other commands and scripts. Only the owner may read the file, because it
    /// contains a password.
    pub(crate) fn write_env(&self, settings: &Settings, http: SocketAddr) -> anyhow::Result<()> {
        let text = format!(
            "NATS_URL={}\nNATS_MONITOR_URL={}\nDATABASE_URL={}\nHTTP_URL=http://{http}\n",
            settings.nats.url, settings.nats.monitor_url, settings.database.url
        );
        let (file, temporary) = (self.join("env"), self.join("env.new"));
        fs::write(&temporary, text)
            .and_then(|()| fs::set_permissions(&temporary, Permissions::from_mode(0o600)))
            .and_then(|()| fs::rename(&temporary, &file))
            .with_context(|| format!("write {}", file.display()))
    }

    /// Removes the addresses of servers that do not run any more.
    pub(crate) fn remove_env(&self) {
        // An error means that there is no such file.
        let _ = fs::remove_file(self.join("env"));
    }
}

/// Fails if the directory has data in another format than [`FORMAT`].
fn check_format(path: &Path) -> anyhow::Result<()> {
    let found = match fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(text) => text.trim().to_owned(),
        Err(_) if DATA.iter().any(|name| path.join(name).symlink_metadata().is_ok()) => {
            "of an earlier build".to_owned()
        }
        Err(_) => return Ok(()),
    };
    if found == FORMAT.to_string() {
        return Ok(());
    }
    bail!(
        "the data directory {} has format {found}, and this version of tickbell needs format {FORMAT}: choose another \
         directory with --data-dir, run the version that created this one, or remove it and start without its data",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an empty folder of this test.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tickbell-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn entries(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_directory_gets_the_format_and_opens_again() {
        let folder = folder("new");
        // Mails may be there before the first start.
        fs::create_dir_all(folder.join("outbox")).expect("a folder");
        drop(DataDir::open(&folder).expect("a new directory"));
        assert_eq!(fs::read_to_string(folder.join(FORMAT_FILE)).expect("a format"), "2\n");
        drop(DataDir::open(&folder).expect("the same directory"));
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn another_format_is_refused_and_nothing_is_touched() {
        for (name, file, text, found) in [
            ("newer", FORMAT_FILE, "3\n", "format 3,"),
            ("older", FORMAT_FILE, "1\n", "format 1,"),
            ("earlier", "links.secret", "s", "format of an earlier build,"),
        ] {
            let folder = folder(name);
            fs::write(folder.join(file), text).expect("written");
            fs::write(folder.join("env"), "NATS_URL=x").expect("written");
            let before = entries(&folder);
            let Err(error) = DataDir::open(&folder) else { panic!("{name} is opened") };
            let message = error.to_string();
            assert!(message.contains(found) && message.contains("needs format 2"), "{message}");
            assert_eq!(entries(&folder), before, "{name}");
            fs::remove_dir_all(&folder).expect("removed");
        }
    }

    #[test]
    fn a_second_process_is_refused() {
        let folder = folder("locked");
        let first = DataDir::open(&folder).expect("a new directory");
        let Err(error) = DataDir::open(&folder) else { panic!("opened twice") };
        assert!(error.to_string().contains("another `tickbell up`"), "{error}");
        drop(first);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
