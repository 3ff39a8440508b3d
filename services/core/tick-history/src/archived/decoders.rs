//! The threads on which parts are decoded.
//!
//! They are few and always the same: the allocator keeps for each thread what it has used, several times of what a part takes, so
//! threads that come and go with the number of readers would take more memory than the parts.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use object_archive::target::TargetError;
use tokio::sync::oneshot;

use crate::HistoryError;

/// The number of threads. Each also waits for the bytes that it decodes.
const THREADS: usize = 2;

type Work = Box<dyn FnOnce() + Send>;

/// The threads, which end with the last clone.
#[derive(Clone)]
pub(crate) struct Decoders(mpsc::Sender<Work>);

impl Decoders {
    /// Starts the threads.
    pub(crate) fn start() -> Result<Self, TargetError> {
        let (sender, receiver) = mpsc::channel();
        let queue = Arc::new(Mutex::new(receiver));
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            let thread = thread::Builder::new().name("archive-decoder".into()).spawn(move || work_off(&queue));
            thread
                .map_err(|error| TargetError::Unavailable(format!("cannot start a thread for the archive: {error}")))?;
        }
        Ok(Self(sender))
    }

    /// Runs work on one of the threads. Work that nobody waits for any more is left out.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HistoryError> {
        let (sender, receiver) = oneshot::channel();
        let work = move || {
            if !sender.is_closed() {
                // Whoever has asked may have gone meanwhile.
                let _ = sender.send(work());
            }
        };
        self.0.send(Box::new(work)).map_err(|_| HistoryError::Panicked)?;
        receiver.await.map_err(|_| HistoryError::Panicked)
    }
}

fn work_off(queue: &Mutex<mpsc::Receiver<Work>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        // Whoever waits for the work learns of the panic, because its answer never comes; the hook has reported it.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_fails_its_reader_and_no_other() {
        let decoders = Decoders::start().expect("threads");
        for _ in 0..=THREADS {
            let failed = decoders.run(|| [0; 0].first().copied().expect("a panic")).await;
            assert!(matches!(failed, Err(HistoryError::Panicked)));
        }
        assert_eq!(decoders.run(|| 7).await.expect("a number"), 7);
    }
}
