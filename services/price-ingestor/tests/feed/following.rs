//! A feed that follows the server.

use std::time::Duration;

use events::{Symbol, Venue};
use market_data::MaxAhead;
use platform::{ServiceError, Shutdown, clock};
use price_ingestor::sources::exchange::{
    feed::{self, Checkpoints, FeedChange, FeedConfig, FeedEvent, Timing},
    venues::venue,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    output::Output,
    server::Server,
    venues::{Protocol, SYMBOLS},
};

/// Returns waits that are so short that a schedule takes seconds.
pub(crate) fn timing() -> Timing {
    let millis = Duration::from_millis;
    Timing {
        connect_timeout: millis(500),
        answer_timeout: millis(300),
        silence: millis(250),
        max_age: None,
        first_wait: millis(5),
        longest_wait: millis(50),
        connects_per_minute: 100_000,
        send_interval: millis(1),
        settle: millis(5),
        useless_answers: Duration::from_secs(60),
        incomplete_answers: millis(150),
    }
}

/// A feed that runs.
pub(crate) struct Following {
    stop: Shutdown,
    pub(crate) changes: mpsc::Sender<FeedChange>,
    events: mpsc::Receiver<Vec<FeedEvent>>,
    task: JoinHandle<Result<(), ServiceError>>,
}

impl Following {
    pub(crate) fn start(protocol: Protocol, server: &Server, timing: Timing, checkpoints: Checkpoints) -> Self {
        let url = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}").parse().expect("a URL");
        let config = FeedConfig {
            adapter: venue(protocol.venue()).expect("a venue"),
            venue: Venue::parse(protocol.venue()).expect("a venue"),
            symbols: SYMBOLS.map(|symbol| Symbol::parse(symbol).expect("a symbol")).to_vec(),
            ws_url: url("ws", server.ws_port),
            rest_url: url("http", server.rest_port),
            rest_per_second: 1_000,
            rest_timeout: Duration::from_secs(1),
            stale_after: Duration::from_millis(100),
            timing,
            max_ahead: MaxAhead::DEFAULT,
            clock: clock::now,
        };
        let (sender, events) = mpsc::channel(4);
        let (change_sender, changes) = mpsc::channel(4);
        let stop = Shutdown::new();
        let task = tokio::spawn(feed::run(config, checkpoints, changes, sender, stop.clone()));
        Self { stop, changes: change_sender, events, task }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Takes what comes out until a moment.
    pub(crate) async fn receive_until(&mut self, until: Instant, output: &mut Output) {
        while let Ok(Some(events)) = timeout_at(until, self.events.recv()).await {
            output.take(events);
        }
    }

    /// Stops it, and takes what comes out meanwhile.
    pub(crate) async fn stop(mut self, output: &mut Output) {
        self.stop.cancel();
        while let Some(events) = self.events.recv().await {
            output.take(events);
        }
        self.task.await.expect("no panic").expect("no error");
    }
}
