//! Outages of mail: whether messages go out, as the notifiers have recorded it for everybody who must say so.

use std::{convert::Infallible, fmt, time::Duration};

use platform::{Check, runtime::error::error_chain, telemetry::gauge::set_gauge};
use sqlx::{Row, postgres::PgRow};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::{Error, Store};

/// The name of the check that says whether mail goes out.
pub const CHECK: &str = "mail";
/// The time in seconds without an accepted message after which there is an outage. It is longer than the first wait between
/// two attempts, so that one connection that breaks is none.
const OUTAGE_AFTER_SECONDS: i32 = 60;
/// The number of new messages that must be refused in a row until that is an outage: one address may be wrong.
const MIN_REFUSED: i32 = 5;
/// The interval of [`watch`].
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The interval at which an outage that goes on is logged again.
const LOG_EVERY: Duration = Duration::from_secs(600);

/// An outage: no message was accepted for a while, although there are some to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// How long no message has gone out, in whole seconds.
    pub seconds: i64,
    /// The number of messages that wait.
    pub waiting: i64,
    /// What the last failed attempt reports; none when no notifier attempts anything.
    pub error: Option<String>,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, waiting, error } = self;
        let error = error.as_deref().unwrap_or("no notifier attempts a delivery that is due");
        write!(f, "no mail has gone out for {seconds} s, {waiting} wait: {error}")
    }
}

/// Returns the outage, if there is one.
///
/// Either attempts fail: the server was away or refused this client, or it refused several new messages in a row, and has
/// accepted none for a minute. Or nobody attempts what has been due for a minute.
pub async fn find(store: &Store) -> Result<Option<Outage>, Error> {
    let row = sqlx::query(
        "SELECT extract(epoch FROM now() - least(failing.since, overdue.since))::bigint AS seconds,
             (SELECT count(*) FROM deliveries WHERE status = 'waiting') AS waiting,
             CASE WHEN failing.since IS NOT NULL THEN last_error END AS last_error
         FROM channel_states,
             LATERAL (SELECT CASE WHEN is_server_away OR refused_count >= $2 THEN failing_since END AS since) AS failing,
             LATERAL (SELECT CASE WHEN min(next_attempt_at) IS NOT NULL
                          THEN greatest(min(next_attempt_at), last_accepted_at) END AS since
                      FROM deliveries WHERE status = 'waiting') AS overdue
         WHERE channel = 'email' AND least(failing.since, overdue.since) < now() - make_interval(secs => $1)",
    );
    let row = row.bind(f64::from(OUTAGE_AFTER_SECONDS)).bind(MIN_REFUSED).fetch_optional(store.pool()).await?; // float: make_interval takes seconds as one
    let outage = |row: PgRow| {
        let (seconds, waiting, error) = (row.try_get("seconds")?, row.try_get("waiting")?, row.try_get("last_error")?);
        Ok(Outage { seconds, waiting, error })
    };
    row.map(outage).transpose()
}

/// Keeps a check, a gauge and the log up to date with [`find`].
pub async fn watch(store: &Store, check: &Check) -> Infallible {
    let seconds = metrics::gauge!("tickbell_mail_outage_seconds");
    set_gauge(&seconds, 0);
    let mut logged_at: Option<Instant> = None;
    loop {
        match find(store).await {
            Ok(Some(outage)) => {
                set_gauge(&seconds, outage.seconds.unsigned_abs());
                let text = outage.to_string();
                if logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                    warn!("{text}");
                    logged_at = Some(Instant::now());
                }
                check.failing(text);
            }
            Ok(None) => {
                set_gauge(&seconds, 0);
                check.ready();
                if logged_at.take().is_some() {
                    info!("mail goes out again");
                }
            }
            // The check of the database says so.
            Err(error) => debug!(error = error_chain(&error), "cannot see whether mail goes out"),
        }
        sleep(LOOK_EVERY).await;
    }
}
