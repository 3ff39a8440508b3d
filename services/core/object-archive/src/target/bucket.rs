//! A bucket of a store that speaks S3. Conditions are the store's: `If-None-Match: *` for a new name, `If-Match` for a replacement.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, RetryConfig, UpdateVersion,
    aws::{AmazonS3Builder, S3ConditionalPut},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{Condition, Put, Settings, TargetError, Version, WebFile};
use crate::digest::hexadecimal;

/// The time that a request may take, with a part of 128 MiB on a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request is repeated so often, and so long, when the store fails; then the caller decides. A store that starts answers with errors for
/// some seconds.
const RETRIES: usize = 8;
const RETRY_FOR: Duration = Duration::from_secs(15);

/// A prefix in a bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The address, for errors.
    url: String,
}

impl Bucket {
    pub(super) fn open(settings: &Settings) -> Result<Self, TargetError> {
        let Settings { url, endpoint, region } = settings;
        let malformed = |error: &dyn std::fmt::Display| {
            TargetError::Url(format!("{url}: {error}; name a bucket like s3://bucket/prefix"))
        };
        let (bucket, prefix) =
            url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))).unwrap_or_default();
        if bucket.is_empty() {
            return Err(malformed(&"there is no name of a bucket"));
        }
        let options = ClientOptions::new()
            .with_timeout(REQUEST_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_allow_http(endpoint.starts_with("http://"));
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_FOR };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(options)
            .with_retry(retry)
            .with_conditional_put(S3ConditionalPut::ETagMatch);
        if !endpoint.is_empty() {
            builder = builder.with_endpoint(endpoint);
        }
        if !region.is_empty() {
            builder = builder.with_region(region);
        }
        let store = builder.build().map_err(|error| malformed(&error))?;
        let prefix = Path::parse(prefix).map_err(|error| malformed(&error))?;
        let url = if endpoint.is_empty() { url.clone() } else { format!("{url} at {endpoint}") };
        Ok(Self { store: Arc::new(store), prefix, url })
    }

    pub(super) async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Put, TargetError> {
        self.put(path, bytes, PutMode::Create.into()).await.map(put_of)
    }

    pub(super) async fn replace(&self, path: &str, version: &Version, bytes: Bytes) -> Result<Put, TargetError> {
        self.put(path, bytes, update(version).into()).await.map(put_of)
    }

    pub(super) async fn put_web_file(
        &self,
        path: &str,
        file: WebFile,
        condition: Condition<'_>,
    ) -> Result<Option<Version>, TargetError> {
        let WebFile { bytes, content_type, cache_control } = file;
        let mode = match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::New => PutMode::Create,
            Condition::Unchanged(version) => update(version),
        };
        let attributes =
            Attributes::from_iter([(Attribute::ContentType, content_type), (Attribute::CacheControl, cache_control)]);
        self.put(path, bytes, PutOptions { mode, attributes, ..PutOptions::default() }).await
    }

    /// Returns the version that was written; none where the condition is not met.
    async fn put(&self, path: &str, bytes: Bytes, options: PutOptions) -> Result<Option<Version>, TargetError> {
        match self.store.put_opts(&self.full(path), bytes.into(), options).await {
            Ok(written) => Ok(Some(Version(written.e_tag.unwrap_or_default()))),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(None),
            Err(error) => Err(self.describe(path, &error)),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<(Bytes, Version)>, TargetError> {
        let found = match self.store.get(&self.full(path)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.describe(path, &error)),
        };
        let version = Version(found.meta.e_tag.clone().unwrap_or_default());
        let bytes = found.bytes().await.map_err(|error| self.describe(path, &error))?;
        Ok(Some((bytes, version)))
    }

    pub(super) async fn digest(&self, path: &str) -> Result<Option<(String, Version)>, TargetError> {
        let found = match self.store.get(&self.full(path)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.describe(path, &error)),
        };
        let version = Version(found.meta.e_tag.clone().unwrap_or_default());
        let mut digest = Sha256::new();
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(|error| self.describe(path, &error))? {
            digest.update(&piece);
        }
        Ok(Some((hexadecimal(&digest.finalize()), version)))
    }

    pub(super) async fn get_range(
        &self,
        path: &str,
        version: &Version,
        range: Range<u64>,
    ) -> Result<Bytes, TargetError> {
        let options =
            GetOptions { range: Some(range.into()), if_match: Some(version.0.clone()), ..GetOptions::default() };
        let read = async { self.store.get_opts(&self.full(path), options).await?.bytes().await };
        read.await.map_err(|error| self.describe(path, &error))
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, TargetError> {
        let objects = self.store.list(Some(&self.full(folder)));
        let names = objects.map_ok(|object| object.location.filename().unwrap_or_default().to_owned());
        names.try_collect().await.map_err(|error| self.describe(folder, &error))
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), TargetError> {
        match self.store.delete(&self.full(path)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.describe(path, &error)),
        }
    }

    fn full(&self, path: &str) -> Path {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.fold(self.prefix.clone(), |at, part| at.join(part))
    }

    /// Says what was seen, and what to do.
    fn describe(&self, path: &str, error: &Error) -> TargetError {
        let url = &self.url;
        let cause = chain(error);
        // An error of a listing has the store's own code in its text, and no kind.
        let code = cause.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
        match (error, code) {
            (Error::Unauthenticated { .. } | Error::PermissionDenied { .. }, _)
            | (
                _,
                Some("AccessDenied" | "ExpiredToken" | "InvalidAccessKeyId" | "InvalidToken" | "SignatureDoesNotMatch"),
            ) => TargetError::Refused(format!(
                "{url} refuses the credentials of this process for {path}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                     give its role the right to read, write and list there ({cause})"
            )),
            (Error::NotFound { .. }, _) | (_, Some("NoSuchBucket")) => {
                TargetError::Refused(format!("{url}: there is no such bucket; create it ({cause})"))
            }
            // Stores say in many ways that they are full, and some as if they had failed.
            _ => TargetError::Unavailable(format!(
                "{url} does not answer as it should for {path}: it is away, or full; run it again when it is not, nothing is lost \
                 ({cause})"
            )),
        }
    }
}

fn put_of(written: Option<Version>) -> Put {
    written.map_or(Put::Refused, |_| Put::Written)
}

fn update(version: &Version) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag: Some(version.0.clone()), version: None })
}

/// Returns an error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    // Stores answer with several lines of XML.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
