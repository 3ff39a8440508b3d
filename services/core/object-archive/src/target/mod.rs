//! Where files are written. A name is given to whole content only, and only once: a crash leaves no half file under a name that a
//! reader takes, and of two that write the same name one learns that it is taken.

#[cfg(feature = "export")]
mod bucket;
mod folder;

use std::{ops::Range, path::PathBuf};

use bytes::Bytes;
use thiserror::Error;

/// Where a target is.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A folder, or a bucket and a prefix in it, like `s3://bucket/prefix`. Credentials are those of the environment or of the role
    /// that the machine has.
    pub url: String,
    /// The address of a server that speaks S3, like `https://s3.example.com`; empty means that of AWS.
    pub endpoint: String,
    /// The region of the bucket, like `eu-central-1`.
    pub region: String,
}

/// A folder or a bucket.
#[derive(Debug, Clone)]
pub struct Target(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Folder(folder::Folder),
    #[cfg(feature = "export")]
    Bucket(bucket::Bucket),
}

/// The file that was there, by what the target says of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

/// A file that browsers read, and what they learn with it.
#[derive(Debug, Clone)]
pub struct WebFile {
    /// The content.
    pub bytes: Bytes,
    /// Its media type, like `text/html; charset=utf-8`.
    pub content_type: &'static str,
    /// How long it may be used without asking again, like `max-age=60`.
    pub cache_control: &'static str,
}

/// What must be true of a name, so that a file is written under it.
#[derive(Debug, Clone, Copy)]
pub enum Condition<'a> {
    /// Nothing: what is there is replaced.
    Always,
    /// There is nothing under the name.
    New,
    /// There still is the version that was read.
    Unchanged(&'a Version),
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The content is there under this name.
    Written,
    /// There is other or the same content under the name, which stays.
    Refused,
}

/// A failure of the target.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The URL says nothing that can be written to.
    #[error("{0}")]
    Url(String),
    /// The target takes nothing from us, or has no room: somebody must do something first.
    #[error("{0}")]
    Refused(String),
    /// The target does not answer, or not as it should: the same may succeed later.
    #[error("{0}")]
    Unavailable(String),
}

impl Target {
    /// Opens the target of the settings.
    pub fn open(settings: &Settings) -> Result<Self, TargetError> {
        let url = &settings.url;
        if url.is_empty() {
            return Err(TargetError::Url(
                "the archive has no address: name a folder, or a bucket like s3://bucket/prefix".into(),
            ));
        }
        match url.split_once("://") {
            #[cfg(feature = "export")]
            Some(("s3", _)) => Ok(Self(Kind::Bucket(bucket::Bucket::open(settings)?))),
            #[cfg(not(feature = "export"))]
            Some(("s3", _)) => Err(TargetError::Url(format!(
                "{url}: this program was built without the feature `export`; it writes to folders only"
            ))),
            Some((scheme, _)) => Err(TargetError::Url(format!(
                "{url}: {scheme}:// is not supported; name a folder, or a bucket like s3://bucket/prefix"
            ))),
            None => Ok(Self(Kind::Folder(folder::Folder::new(PathBuf::from(url))))),
        }
    }

    /// Writes a file unless its name is taken.
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Put, TargetError> {
        match &self.0 {
            Kind::Folder(folder) => folder.put_new(path, bytes).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.put_new(path, bytes).await,
        }
    }

    /// Replaces a file that still is the version that was read.
    pub async fn replace(&self, path: &str, version: &Version, bytes: Bytes) -> Result<Put, TargetError> {
        match &self.0 {
            Kind::Folder(folder) => folder.replace(path, version, bytes).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.replace(path, version, bytes).await,
        }
    }

    /// Writes a file that browsers read, and returns its version; none where the condition is not met. A bucket states its media type and
    /// how long it may be used; a folder has the content alone.
    pub async fn put_web_file(
        &self,
        path: &str,
        file: WebFile,
        condition: Condition<'_>,
    ) -> Result<Option<Version>, TargetError> {
        match &self.0 {
            Kind::Folder(folder) => folder.put_web_file(path, file.bytes, condition).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.put_web_file(path, file, condition).await,
        }
    }

    /// Reads a file; none where there is none.
    pub async fn get(&self, path: &str) -> Result<Option<(Bytes, Version)>, TargetError> {
        match &self.0 {
            Kind::Folder(folder) => folder.get(path).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.get(path).await,
        }
    }

    /// Reads a file to its end and returns the SHA-256 of its bytes in hexadecimal, without the bytes; none where there is no file.
    pub async fn digest(&self, path: &str) -> Result<Option<(String, Version)>, TargetError> {
        match &self.0 {
            Kind::Folder(folder) => folder.digest(path).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.digest(path).await,
        }
    }

    /// Reads a range of the bytes of a file that has them and still is the version that was read.
    pub async fn get_range(&self, path: &str, version: &Version, range: Range<u64>) -> Result<Bytes, TargetError> {
        match &self.0 {
            Kind::Folder(folder) => folder.get_range(path, version, range).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.get_range(path, version, range).await,
        }
    }

    /// Lists the names of the files of a folder, sorted.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, TargetError> {
        let mut names = match &self.0 {
            Kind::Folder(target) => target.list(folder).await?,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.list(folder).await?,
        };
        names.sort();
        Ok(names)
    }

    /// Removes a file that this process has written; one that is not there is removed already.
    pub async fn remove(&self, path: &str) -> Result<(), TargetError> {
        match &self.0 {
            Kind::Folder(folder) => folder.remove(path).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.remove(path).await,
        }
    }
}
