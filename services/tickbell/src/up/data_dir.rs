//! The folder where `up` keeps everything: locked against a second one, with secrets, ports and where things are.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::Write,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::settings::Settings;

pub(crate) struct DataDir {
    path: PathBuf,
    /// Held as long as the process lives; the system lets go of it however the process ends.
    _lock: File,
}

impl DataDir {
    /// Makes the folder and locks it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let making = || format!("make the data directory {}; choose another with --data-dir", path.display());
        fs::create_dir_all(path).with_context(making)?;
        let path = path.canonicalize().with_context(making)?;
        let lock = File::create(path.join("lock")).with_context(making)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another `tickbell up` runs in {}: stop it, or choose another folder with --data-dir",
                path.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(making),
        }
        let data = Self { path, _lock: lock };
        data.forget_env();
        Ok(data)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder or file in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// 256 random bits in hexadecimal, made at the first start and kept for the owner alone.
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

    /// A free port of this machine: the one that was taken last time, so that clients find it again, or another.
    pub(crate) fn port(&self, name: &str) -> anyhow::Result<u16> {
        let file = self.join(&format!("{name}.port"));
        let last = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let listener = TcpListener::bind(("127.0.0.1", last)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
        let port = listener.and_then(|listener| listener.local_addr()).context("find a free port")?.port();
        fs::write(&file, port.to_string()).with_context(|| format!("write {}", file.display()))?;
        Ok(port)
    }

    /// Says where things are to other commands and to scripts; for the owner alone, there is a password in it.
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

    /// Nothing is there any more.
    pub(crate) fn forget_env(&self) {
        // A file that is not there is what is wanted.
        let _ = fs::remove_file(self.join("env"));
    }
}
