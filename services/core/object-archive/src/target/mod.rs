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

impl Settings {
    /// Returns the address by which one archive is distinguished from another, also where a process has it from other settings: the whole path of a
    /// folder, or the URL of a bucket with the server that it is on. It is empty where no archive is named.
    pub fn address(&self) -> String {
        let url = self.url.trim_end_matches('/');
        if self.url.is_empty() {
            String::new()
        } else if !url.contains("://") {
            // The working directory is unknown only where it was removed.
            std::path::absolute(&self.url)
                .map_or_else(|_| self.url.clone(), |path| path.components().collect::<PathBuf>().display().to_string())
        } else if self.endpoint.is_empty() {
            url.to_owned()
        } else {
            format!("{url} at {}", self.endpoint.trim_end_matches('/'))
        }
    }
}

/// A folder or a bucket, and its address.
#[derive(Debug, Clone)]
pub struct Target {
    kind: Kind,
    address: String,
}

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
        let kind = match url.split_once("://") {
            #[cfg(feature = "export")]
            Some(("s3", _)) => Kind::Bucket(bucket::Bucket::open(settings)?),
            #[cfg(not(feature = "export"))]
            Some(("s3", _)) => {
                let without = "this program was built without the feature `export`; it writes to folders only";
                return Err(TargetError::Url(format!("{url}: {without}")));
            }
            Some((scheme, _)) => {
                let known = "is not supported; name a folder, or a bucket like s3://bucket/prefix";
                return Err(TargetError::Url(format!("{url}: {scheme}:// {known}")));
            }
            None => Kind::Folder(folder::Folder::new(PathBuf::from(url))),
        };
        Ok(Self { kind, address: settings.address() })
    }

    /// Returns the address of the target, as [`Settings::address`] does.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Writes a file unless its name is taken.
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Put, TargetError> {
        match &self.kind {
            Kind::Folder(folder) => folder.put_new(path, bytes).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.put_new(path, bytes).await,
        }
    }

    /// Replaces a file that still is the version that was read.
    pub async fn replace(&self, path: &str, version: &Version, bytes: Bytes) -> Result<Put, TargetError> {
        match &self.kind {
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
        match &self.kind {
            Kind::Folder(folder) => folder.put_web_file(path, file.bytes, condition).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.put_web_file(path, file, condition).await,
        }
    }

    /// Reads a file; none where there is none.
    pub async fn get(&self, path: &str) -> Result<Option<(Bytes, Version)>, TargetError> {
        match &self.kind {
            Kind::Folder(folder) => folder.get(path).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.get(path).await,
        }
    }

    /// Reads a file to its end and returns the SHA-256 of its bytes in hexadecimal, without the bytes; none where there is no file.
    pub async fn digest(&self, path: &str) -> Result<Option<(String, Version)>, TargetError> {
        match &self.kind {
            Kind::Folder(folder) => folder.digest(path).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.digest(path).await,
        }
    }

    /// Reads a range of the bytes of a file that has them and still is the version that was read.
    pub async fn get_range(&self, path: &str, version: &Version, range: Range<u64>) -> Result<Bytes, TargetError> {
        match &self.kind {
            Kind::Folder(folder) => folder.get_range(path, version, range).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.get_range(path, version, range).await,
        }
    }

    /// Lists the names of the files of a folder, sorted.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, TargetError> {
        let mut names = match &self.kind {
            Kind::Folder(target) => target.list(folder).await?,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.list(folder).await?,
        };
        names.sort();
        Ok(names)
    }

    /// Removes a file that this process has written; one that is not there is removed already.
    pub async fn remove(&self, path: &str) -> Result<(), TargetError> {
        match &self.kind {
            Kind::Folder(folder) => folder.remove(path).await,
            #[cfg(feature = "export")]
            Kind::Bucket(bucket) => bucket.remove(path).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_one_archive_from_another() {
        let address = |url: &str, endpoint: &str| {
            Settings { url: url.into(), endpoint: endpoint.into(), region: "eu-central-1".into() }.address()
        };
        let here = std::env::current_dir().expect("a folder");
        assert_eq!(address("", "https://s3.example.com"), "");
        assert_eq!(address("/var/archive", "https://s3.example.com"), "/var/archive");
        assert_eq!(address("/var//archive/", ""), "/var/archive");
        for relative in ["archive", "./archive/"] {
            assert_eq!(address(relative, ""), here.join("archive").display().to_string(), "{relative}");
        }
        assert_eq!(address("s3://bucket/history/", ""), "s3://bucket/history");
        let elsewhere = "s3://bucket/history at https://s3.example.com";
        assert_eq!(address("s3://bucket/history", "https://s3.example.com/"), elsewhere);
    }
}
