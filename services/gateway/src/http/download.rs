//! Answers that are long: they are written page by page, as fast as they are read.
//!
//! A slow reader holds no place among the requests that are served, and no more memory than two pages. There are few downloads at a
//! time, and one whose reader takes nothing for half a minute ends.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use platform::runtime::error::error_chain;
use tick_history::HistoryError;
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{Receiver, Sender, channel},
    },
    time::timeout,
};
use tracing::warn;

use crate::http::problem::{Problem, ProblemKind};

/// The routes of downloads.
const ROUTES: [&str; 2] = ["/v1/prices/{symbol}/history.csv", "/v1/prices/{symbol}/candles.csv"];
/// The number of downloads at a time. Each waits for its reader most of the time.
const AT_ONCE: usize = 8;
/// A reader that takes nothing for so long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Returns whether a route answers with a download.
pub(crate) fn is_download(route: &str) -> bool {
    ROUTES.contains(&route)
}

/// The downloads that run.
pub(crate) struct Downloads(Arc<Semaphore>);

impl Default for Downloads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Downloads {
    /// Begins a download; the problem says that too many run.
    pub(crate) fn begin(&self) -> Result<Download, Problem> {
        Arc::clone(&self.0).try_acquire_owned().map(Download).map_err(|_| {
            let detail = format!("{AT_ONCE} downloads run already, and no more do at a time; try again later.");
            Problem::new(ProblemKind::Overloaded, detail)
        })
    }
}

/// The place of one download.
pub(crate) struct Download(OwnedSemaphorePermit);

impl Download {
    /// Returns the answer, a CSV file of this name, whose pages are written in the background.
    pub(crate) fn answer<W, F>(self, name: &str, write: W) -> Response
    where
        W: FnOnce(Reader) -> F,
        F: Future<Output = Result<(), Ended>> + Send + 'static,
    {
        let (sender, receiver) = channel(1);
        let (Self(permit), reader) = (self, Reader(sender));
        let writing = write(reader.clone());
        tokio::spawn(async move {
            let written = match writing.await {
                Ok(()) => reader.hand_over(Piece::End).await,
                Err(ended) => Err(ended),
            };
            if let Err(Ended::ByHistory(error)) = written {
                count_failure(&error);
                warn!(error = error_chain(&error), "a download ended early");
            }
            drop(permit);
        });
        response(name, receiver)
    }
}

/// Why a download ended early.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The reader has gone, or takes nothing.
    ByReader,
    /// The database or the archive failed.
    ByHistory(HistoryError),
}

impl From<HistoryError> for Ended {
    fn from(error: HistoryError) -> Self {
        Self::ByHistory(error)
    }
}

impl From<store::Error> for Ended {
    fn from(error: store::Error) -> Self {
        Self::ByHistory(error.into())
    }
}

/// Counts a download that was not finished, or not begun, because of what it is read from.
pub(crate) fn count_failure(error: &HistoryError) {
    metrics::counter!("tickbell_downloads_failed_total", "reason" => reason(error)).increment(1);
}

/// Registers the metrics of downloads.
pub(crate) fn register_metrics() {
    for reason in ["archive", "database"] {
        metrics::counter!("tickbell_downloads_failed_total", "reason" => reason).increment(0);
    }
}

/// Returns who has failed, for the metric.
fn reason(error: &HistoryError) -> &'static str {
    if matches!(error, HistoryError::Database(_)) { "database" } else { "archive" }
}

/// What is handed over to a reader.
enum Piece {
    Page(Bytes),
    /// The answer is whole.
    End,
}

/// The side of an answer that is written to.
#[derive(Clone)]
pub(crate) struct Reader(Sender<Piece>);

impl Reader {
    /// Hands over a page, once the one before it was taken.
    pub(crate) async fn take(&self, page: Vec<u8>) -> Result<(), Ended> {
        self.hand_over(Piece::Page(page.into())).await
    }

    async fn hand_over(&self, piece: Piece) -> Result<(), Ended> {
        match timeout(STALLED_AFTER, self.0.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::ByReader),
        }
    }
}

fn response(name: &str, receiver: Receiver<Piece>) -> Response {
    // What ends without its end ends with an error, which closes the connection: the reader can tell that it is not whole.
    let next = async |receiver: Option<Receiver<Piece>>| {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Page(page)) => Some((Ok(page), Some(receiver))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the answer is not whole")), None)),
        }
    };
    let mut response = Body::from_stream(futures::stream::unfold(Some(receiver), next)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    // A symbol has no character that would need quotes or escapes.
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[test]
    fn no_more_downloads_run_than_allowed() {
        let downloads = Downloads::default();
        let running: Vec<_> =
            (0..AT_ONCE).map(|_| downloads.begin().map_err(drop).expect("one of the first")).collect();
        assert!(downloads.begin().is_err_and(|problem| problem.kind == ProblemKind::Overloaded));
        drop(running);
        assert!(downloads.begin().is_ok());
    }

    #[test]
    fn every_download_of_the_api_is_known_as_one() {
        let api = crate::routes::router().into_openapi();
        let paths = api.paths.paths.keys().filter(|path| path.ends_with(".csv"));
        assert_eq!(paths.map(String::as_str).collect::<std::collections::BTreeSet<_>>(), ROUTES.into());
    }

    #[tokio::test]
    async fn an_answer_has_all_pages() {
        let download = Downloads::default().begin().map_err(drop).expect("the first");
        let answer = download.answer("BTC-USD-ticks", async |reader: Reader| {
            reader.take(b"one\n".to_vec()).await?;
            reader.take(b"two\n".to_vec()).await
        });
        assert_eq!(answer.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"BTC-USD-ticks.csv\"");
        assert_eq!(to_bytes(answer.into_body(), 100).await.expect("all of it"), "one\ntwo\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_given_up_and_can_tell() {
        let downloads = Downloads::default();
        let download = downloads.begin().map_err(drop).expect("the first");
        let answer = download.answer("SPY-1m", async |reader: Reader| {
            loop {
                reader.take(b"more\n".to_vec()).await?;
            }
        });
        tokio::time::sleep(2 * STALLED_AFTER).await;
        assert_eq!(downloads.0.available_permits(), AT_ONCE, "its place is free");
        assert!(to_bytes(answer.into_body(), 100).await.is_err(), "it is not whole");
    }
}
