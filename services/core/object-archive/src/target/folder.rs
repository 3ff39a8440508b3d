//! A folder of this machine. A file is written and synchronised under another name and then linked: a link is made whole or not at
//! all, and not where the name is taken.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Condition, Put, TargetError, Version};
use crate::digest::{hexadecimal, sha256};

/// The bytes of a file that are in memory together while its digest is made.
const PIECE: usize = 1 << 16;

/// The root of the target.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Put, TargetError> {
        self.blocking(path, move |path| {
            // A run that is repeated would otherwise write all of it to learn that it is there.
            if path.exists() {
                return Ok(Put::Refused);
            }
            let (folder, staged) = stage(path, &bytes)?;
            match staged.persist_noclobber(path) {
                Ok(_) => sync(&folder).map(|()| Put::Written),
                Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(Put::Refused),
                Err(error) => Err(error.error),
            }
        })
        .await
    }

    pub(super) async fn put_web_file(
        &self,
        path: &str,
        bytes: Bytes,
        condition: Condition<'_>,
    ) -> Result<Option<Version>, TargetError> {
        let version = version_of(&bytes);
        let put = match condition {
            Condition::Always => self.put(path, bytes).await,
            Condition::New => self.put_new(path, bytes).await,
            Condition::Unchanged(before) => self.replace(path, before, bytes).await,
        };
        Ok((put? == Put::Written).then_some(version))
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<Put, TargetError> {
        self.blocking(path, move |path| {
            let (folder, staged) = stage(path, &bytes)?;
            staged.persist(path).map_err(|error| error.error)?;
            sync(&folder).map(|()| Put::Written)
        })
        .await
    }

    pub(super) async fn replace(&self, path: &str, version: &Version, bytes: Bytes) -> Result<Put, TargetError> {
        let version = version.clone();
        self.blocking(path, move |path| {
            // Of several that have read this version one replaces it while it holds the lock. The lock of the others is then that of
            // a file without a name, and the name has another version.
            let lock = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Put::Refused),
                Err(error) => return Err(error),
            };
            lock.lock()?;
            if !fs::read(path).is_ok_and(|found| version_of(&found) == version) {
                return Ok(Put::Refused);
            }
            let (folder, staged) = stage(path, &bytes)?;
            staged.persist(path).map_err(|error| error.error)?;
            sync(&folder).map(|()| Put::Written)
        })
        .await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<(Bytes, Version)>, TargetError> {
        self.blocking(path, |path| match fs::read(path) {
            Ok(bytes) => {
                let version = version_of(&bytes);
                Ok(Some((bytes.into(), version)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    pub(super) async fn digest(&self, path: &str) -> Result<Option<(String, Version)>, TargetError> {
        self.blocking(path, |path| {
            let mut file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut digest = Sha256::new();
            let mut piece = vec![0; PIECE];
            loop {
                match file.read(&mut piece)? {
                    0 => break,
                    count => digest.update(&piece[..count]),
                }
            }
            let digest = hexadecimal(&digest.finalize());
            Ok(Some((digest.clone(), Version(digest))))
        })
        .await
    }

    /// Reads a range of a file. Its version is not looked at: a part is never replaced.
    pub(super) async fn get_range(&self, path: &str, _: &Version, range: Range<u64>) -> Result<Bytes, TargetError> {
        self.blocking(path, move |path| {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(range.start))?;
            let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            file.read_exact(&mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, TargetError> {
        self.blocking(folder, |folder| {
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
            entries.map(name).collect()
        })
        .await
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), TargetError> {
        self.blocking(path, |path| match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
        .await
    }

    /// Runs what waits for the disk where it holds up nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, TargetError> {
        let path = self.root.join(path);
        let shown = path.display().to_string();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        done.map_err(io::Error::other).flatten().map_err(|error| describe(&shown, &error))
    }
}

/// Writes content beside its place, under a name that no reader takes.
fn stage(path: &Path, bytes: &[u8]) -> io::Result<(PathBuf, tempfile::NamedTempFile)> {
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    fs::create_dir_all(&folder)?;
    // Whoever reads the archive is seldom who writes it; the process's mask has the last word.
    let everybody_reads = fs::Permissions::from_mode(0o666);
    let mut staged = tempfile::Builder::new().prefix(".writing-").permissions(everybody_reads).tempfile_in(&folder)?;
    staged.write_all(bytes)?;
    staged.as_file().sync_all()?;
    Ok((folder, staged))
}

/// Makes names of a folder last through a power cut.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn version_of(bytes: &[u8]) -> Version {
    Version(sha256(bytes))
}

fn describe(path: &str, error: &io::Error) -> TargetError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            TargetError::Refused(format!("{path}: the disk is full; make room and run it again, nothing is lost"))
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            TargetError::Refused(format!("{path}: {error}; let the user of this process write there"))
        }
        _ => TargetError::Unavailable(format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_given_once_and_to_whole_content() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(root.path().join("deep"));
        assert_eq!(folder.list("a").await.expect("a list"), [""; 0]);
        assert_eq!(folder.get("a/b").await.expect("an answer"), None);
        assert_eq!(folder.put_new("a/b", "1".into()).await.expect("a write"), Put::Written);
        assert_eq!(folder.put_new("a/b", "2".into()).await.expect("a write"), Put::Refused);
        let (bytes, version) = folder.get("a/b").await.expect("an answer").expect("a file");
        assert_eq!(bytes, "1");
        assert_eq!(folder.replace("a/b", &version, "3".into()).await.expect("a write"), Put::Written);
        assert_eq!(folder.replace("a/b", &version, "4".into()).await.expect("a write"), Put::Refused);
        assert_eq!(folder.list("a").await.expect("a list"), ["b"]);
        assert_eq!(folder.get("a/b").await.expect("an answer").expect("a file").0, "3");
        folder.remove("a/b").await.expect("removed");
        folder.remove("a/b").await.expect("removed already");
    }

    #[tokio::test]
    async fn a_file_is_read_piece_by_piece() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(root.path().to_owned());
        assert_eq!(folder.digest("a").await.expect("an answer"), None);
        folder.put("a", "history".into()).await.expect("a write");
        let (digest, version) = folder.digest("a").await.expect("an answer").expect("a file");
        assert_eq!((Version(digest), version.clone()), (version_of(b"history"), version_of(b"history")));
        assert_eq!(folder.get_range("a", &version, 2..5).await.expect("bytes"), "sto");
        assert!(folder.get_range("a", &version, 5..9).await.is_err(), "there are seven");
    }

    #[tokio::test]
    async fn of_two_that_write_a_name_one_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(root.path().to_owned());
        let (one, other) = tokio::join!(folder.put_new("a", "1".into()), folder.put_new("a", "2".into()));
        let written = [one, other].into_iter().filter(|put| matches!(put, Ok(Put::Written))).count();
        assert_eq!(written, 1);
        assert_eq!(folder.list("").await.expect("a list"), ["a"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_that_replace_a_version_one_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(root.path().to_owned());
        folder.put("a", "0".into()).await.expect("a write");
        for round in 1..50 {
            let (_, version) = folder.get("a").await.expect("an answer").expect("a file");
            let replace = |who: char| folder.replace("a", &version, format!("{round}{who}").into());
            let (one, other) = tokio::join!(replace('a'), replace('b'));
            let written = [one, other].into_iter().filter(|put| matches!(put, Ok(Put::Written))).count();
            assert_eq!(written, 1, "round {round}");
        }
        assert_eq!(folder.replace("b", &version_of(b""), "1".into()).await.expect("an answer"), Put::Refused);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_named() {
        let folder = Folder::new("/proc/no".into());
        let error = folder.put_new("a", "1".into()).await.expect_err("no folder").to_string();
        assert!(error.starts_with("/proc/no/a: "), "{error}");
    }
}
