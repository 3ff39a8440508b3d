//! The servers that `database.url` names, and the search for the one that takes writes.
//!
//! The library connects to one host and does not ask whether it takes writes. After a switch of leaders the old one may
//! stay up as a standby, which refuses every write, or the name of the host may lead to another server by then.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use platform::runtime::error::error_chain;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use thiserror::Error;
use tokio::time::timeout;

use crate::pg::{eager::eagerly, pool::timed_out};

/// The deadline for a server to accept a connection and to say whether it takes writes.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Whether the server of a connection takes writes: neither a standby nor a server that was made read-only does.
pub(crate) const TAKES_WRITES: &str = "SELECT current_setting('transaction_read_only') = 'off'";

/// The servers of the setting, in its order.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Arc<[PgConnectOptions]>);

/// No server takes writes.
#[derive(Debug, Error)]
#[error("no server of database.url {} ({})", if self.readable.is_some() { "takes writes" } else { "answers" }, self.answers.join("; "))]
pub(crate) struct NoLeader {
    /// What each server has answered.
    answers: Vec<String>,
    /// A server that can be read.
    pub(crate) readable: Option<PgConnectOptions>,
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
        let ask = async |options: &PgConnectOptions| {
            let answer = timeout(ASK_TIMEOUT, eagerly(Box::pin(takes_writes(options)))).await;
            (options.clone(), answer.unwrap_or_else(|_| Err(timed_out(ASK_TIMEOUT))))
        };
        let mut asked: FuturesUnordered<_> = self.0.iter().map(ask).collect();
        let mut none = NoLeader { answers: Vec::new(), readable: None };
        while let Some((options, answer)) = asked.next().await {
            let address = format!("{}:{}", options.get_host(), options.get_port());
            match answer {
                Ok(true) => return Ok(options),
                Ok(false) => {
                    none.answers.push(format!("{address} is read-only"));
                    none.readable = Some(options);
                }
                Err(error) => none.answers.push(format!("{address}: {}", error_chain(&error))),
            }
        }
        Err(none)
    }
}

async fn takes_writes(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let answer = sqlx::query_scalar(TAKES_WRITES).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(answer)
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
