//! How far the history of a market has come, asked for many requests at once.
//!
//! A page of candles in memory may be used only when nothing has changed it before the request. Only the database knows, so
//! each request asks it; but requests that arrive while a question is on its way share the next one. The answer is read after
//! the request arrived, so whatever was committed before is in it, through which gateway ever it is read.

use std::{
    convert::Infallible,
    mem,
    sync::{Mutex, PoisonError},
};

use events::{Symbol, Venue};
use futures::{StreamExt, stream::FuturesUnordered};
use store::{
    Store,
    market::markets::{self, MarketProgress},
};
use tokio::sync::{Notify, oneshot};

use crate::http::problem::Problem;

/// The most questions that are on their way at a time: where one waits for a connection that is dead, the others go on.
const QUESTIONS: usize = 4;

/// A market as requests name it: without a venue, the symbol's primary one is meant.
pub(crate) type MarketName = (Symbol, Option<Venue>);

type Answer = Result<Option<MarketProgress>, Problem>;

/// The requests that wait for an answer. There are not more than requests in flight.
#[derive(Debug, Default)]
pub(crate) struct ProgressReads {
    waiting: Mutex<Vec<(MarketName, oneshot::Sender<Answer>)>>,
    arrived: Notify,
}

impl ProgressReads {
    /// Returns the progress of a market as of now or later; none of one that is not quoted.
    pub(crate) async fn read(&self, market: MarketName) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((market, sender));
        self.arrived.notify_one();
        answer.await.unwrap_or_else(|_| Err(Problem::internal("nobody answers how far markets are".into())))
    }

    /// Answers for ever.
    pub(crate) async fn run(&self, store: &Store) -> Infallible {
        let mut questions = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = self.arrived.notified(), if questions.len() < QUESTIONS => {
                    let asked = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
                    if !asked.is_empty() {
                        questions.push(answer(store, asked));
                    }
                }
                Some(()) = questions.next() => {}
            }
        }
    }
}

async fn answer(store: &Store, asked: Vec<(MarketName, oneshot::Sender<Answer>)>) {
    let (names, senders): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let mut distinct = names.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let found = markets::progress(store, &distinct).await.map_err(Problem::from);
    for (name, sender) in names.iter().zip(senders) {
        let answer = match &found {
            Ok(found) => Ok(distinct.binary_search(name).ok().and_then(|index| found.get(index).cloned().flatten())),
            Err(problem) => Err(problem.clone()),
        };
        // A request that was given up does not wait any more.
        let _ = sender.send(answer);
    }
}
