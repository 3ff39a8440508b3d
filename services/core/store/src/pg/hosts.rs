//! The servers that `database.url` names, and the search for the one that takes writes.
//!
//! The library connects to one host and does not ask whether it takes writes. After a switch of leaders the old one may
//! stay up as a standby, which refuses every write, or the name of the host may lead to another server by then. A pooler in
//! between must leave each client its own connection to the server.

use std::{io, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use platform::runtime::error::error_chain;
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};
use thiserror::Error;
use tokio::time::timeout;

use crate::pg::{eager::eagerly, session};

/// The deadline for a server to accept a connection and to say whether it takes writes.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Whether the server of a connection takes writes: neither a standby nor a server that was made read-only does.
pub(crate) const TAKES_WRITES: &str = "SELECT current_setting('transaction_read_only') = 'off'";
/// The number of times that a server is asked for its process. Where other clients of a pooler take and return connections at the
/// same time, each of two may get its own again by chance, once or twice.
const ROUNDS: usize = 12;
/// The process of the server that a statement runs in. Two servers may have a process of the same number.
const SERVER_PROCESS: &str = "SELECT pg_backend_pid()::text || ' ' || pg_postmaster_start_time()";
const BEGIN_AND_SERVER_PROCESS: &str = "BEGIN; SELECT pg_backend_pid()::text || ' ' || pg_postmaster_start_time()";

/// The servers of the setting, in its order.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Arc<[PgConnectOptions]>);

/// No server takes writes.
#[derive(Debug, Error)]
#[error("no server of database.url {} ({})", self.lacks(), self.answers.join("; "))]
pub(crate) struct NoLeader {
    /// What each server has answered.
    answers: Vec<String>,
    /// A server that can be read.
    pub(crate) readable: Option<PgConnectOptions>,
    /// Whether one of them shares its connections, which only an operator can change.
    pub(crate) is_shared: bool,
}

impl NoLeader {
    fn lacks(&self) -> &'static str {
        match self {
            Self { is_shared: true, .. } => "can be used",
            Self { readable: Some(_), .. } => "takes writes",
            _ => "answers",
        }
    }
}

/// The answer of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It takes writes.
    TakesWrites,
    /// It can only be read.
    IsReadOnly,
    /// A pooler is in between, which gives one connection of the server to several clients by turns.
    IsShared,
}

impl Hosts {
    /// Parses a URL whose hosts are separated by commas, like `postgres://user:password@one:5432,two:5432/database`.
    pub(crate) fn parse(url: &str) -> Result<Self, sqlx::Error> {
        let urls = urls_of_hosts(url);
        urls.iter().map(|url| url.parse()).collect::<Result<Vec<_>, _>>().map(|hosts| Self(hosts.into()))
    }

    /// Changes the options of the connections to every server.
    pub(crate) fn map(self, change: impl Fn(PgConnectOptions) -> PgConnectOptions) -> Self {
        Self(self.0.iter().cloned().map(change).collect())
    }

    /// Asks all servers at a time, over new connections, and returns the first one that says that it takes writes.
    pub(crate) async fn find_leader(&self) -> Result<PgConnectOptions, NoLeader> {
        let ask = async |options: &PgConnectOptions| (options.clone(), eagerly(Box::pin(ask(options))).await);
        let mut asked: FuturesUnordered<_> = self.0.iter().map(ask).collect();
        let mut none = NoLeader { answers: Vec::new(), readable: None, is_shared: false };
        while let Some((options, answer)) = asked.next().await {
            let address = format!("{}:{}", options.get_host(), options.get_port());
            match answer {
                Ok(Answer::TakesWrites) => return Ok(options),
                Ok(Answer::IsReadOnly) => {
                    none.answers.push(format!("{address} is read-only"));
                    none.readable = Some(options);
                }
                Ok(Answer::IsShared) => {
                    none.answers.push(format!(
                        "{address} is a pooler that gives one connection of the server to several clients by turns, and \
                         notifications and session settings need a connection each: set pool_mode = session there, or name \
                         the server itself"
                    ));
                    none.is_shared = true;
                }
                Err(error) => none.answers.push(format!("{address}: {}", error_chain(&error))),
            }
        }
        Err(none)
    }
}

/// Asks a server over two connections, neither of which changes anything for the next client of a pooler.
async fn ask(options: &PgConnectOptions) -> Result<Answer, sqlx::Error> {
    let connect = PgConnection::connect_with(options);
    let mut one = timeout(ASK_TIMEOUT, connect).await.map_err(|_| session::timed_out(ASK_TIMEOUT))??;
    let answer = timeout(ASK_TIMEOUT, ask_over(&mut one, options)).await.map_err(|_| pool_is_too_small())??;
    one.close().await?;
    Ok(answer)
}

async fn ask_over(one: &mut PgConnection, options: &PgConnectOptions) -> Result<Answer, sqlx::Error> {
    // A prepared statement may be unknown to the next connection that a pooler gives.
    let takes_writes: bool = sqlx::raw_sql(TAKES_WRITES).fetch_one(&mut *one).await?.try_get(0)?;
    let process = server_process(one).await?;
    let mut other = PgConnection::connect_with(options).await?;
    let mut other_process = None;
    for _ in 0..ROUNDS {
        // While the other connection is in a transaction, a pooler that shares them either has taken the first one's for it, or
        // gives the first one another.
        let begun: String = match sqlx::raw_sql(BEGIN_AND_SERVER_PROCESS).fetch_one(&mut other).await {
            Err(sqlx::Error::Database(error)) if error.message().contains("statement pooling") => {
                return Ok(Answer::IsShared);
            }
            begun => begun?.try_get(0)?,
        };
        let is_same = *other_process.get_or_insert_with(|| begun.clone()) == begun;
        if !is_same || begun == process || server_process(one).await? != process {
            return Ok(Answer::IsShared);
        }
        other.execute(sqlx::raw_sql("COMMIT")).await?;
        if server_process(one).await? != process {
            return Ok(Answer::IsShared);
        }
    }
    other.close().await?;
    Ok(if takes_writes { Answer::TakesWrites } else { Answer::IsReadOnly })
}

/// The error of a server that accepts a connection and gives no answer on it, or on another one.
fn pool_is_too_small() -> sqlx::Error {
    let message = format!(
        "no answer for {} s on a new connection: where a pooler is in between, its pool_size must be at least \
         database.max_connections and 8 more for each process",
        ASK_TIMEOUT.as_secs()
    );
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
}

async fn server_process(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql(SERVER_PROCESS).fetch_one(connection).await?.try_get(0)
}

/// Returns one URL for each host of a URL.
fn urls_of_hosts(url: &str) -> Vec<String> {
    let Some(begin) = url.find("://").map(|scheme| scheme + 3) else { return vec![url.to_owned()] };
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |length| begin + length);
    let hosts = url[begin..end].rfind('@').map_or(begin, |at| begin + at + 1);
    url[hosts..end].split(',').map(|host| format!("{}{host}{}", &url[..hosts], &url[end..])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_of_a_url_has_the_rest_of_it() {
        for (url, expected) in [
            ("postgres://one/db", &["postgres://one/db"][..]),
            (
                "postgres://ada:p%2C@one:5432,two:5433/db?sslmode=require",
                &["postgres://ada:p%2C@one:5432/db?sslmode=require", "postgres://ada:p%2C@two:5433/db?sslmode=require"],
            ),
            ("postgres://ada@[::1]:5432,[::2]", &["postgres://ada@[::1]:5432", "postgres://ada@[::2]"]),
            ("postgres:///db?host=/run/a,b", &["postgres:///db?host=/run/a,b"]),
            ("one,two", &["one,two"]),
        ] {
            assert_eq!(urls_of_hosts(url), expected, "{url}");
        }
        let hosts = Hosts::parse("postgres://ada@one:1,two:2/db").expect("a URL");
        let ports: Vec<_> = hosts.0.iter().map(|options| (options.get_host().to_owned(), options.get_port())).collect();
        assert_eq!(ports, [("one".to_owned(), 1), ("two".to_owned(), 2)]);
        assert!(Hosts::parse("postgres://ada@one:1,two:x/db").is_err());
    }
}
