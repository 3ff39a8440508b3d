//! Limits how often a secret may be guessed. Each attempt counts as failed until it is reported as successful.

use std::{net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};
use events::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::Row;
use uuid::Uuid;

use crate::{Error, Store, Tx};

/// The time after the last failure at which the failures of a series are forgotten, in seconds.
const FORGOTTEN_AFTER_SECONDS: i64 = 3_600;

/// The network of a client. It is as wide as the addresses that one household or company can choose from: a /24 of IPv4
/// or a /64 of IPv6.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Network(String);

impl Network {
    /// Returns the network of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        })
    }
}

/// An attempt that is throttled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginAttempt {
    /// A sign-in to an account. Attempts from one network are delayed early. Attempts from all networks together are
    /// delayed late and briefly, because this delays the owner too.
    SignIn {
        /// The address of the account, in upper or lower case.
        address: String,
        /// The network of the client.
        network: Network,
    },
    /// A change of the password by the user with this id, who is signed in.
    Password(Uuid),
    /// A confirmation of the sign-up with this id by the password that it was made with.
    Join(Uuid),
    /// A request for a password reset from this network.
    Reset(Network),
}

/// The number of failures in a row without a wait, and the longest wait after one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    kind: &'static str,
    free: i32,
    longest_wait_seconds: i64,
}

const GUESSES: Limit = Limit { kind: "login", free: 3, longest_wait_seconds: 60 };
const GUESSES_ANYWHERE: Limit = Limit { kind: "login_any_network", free: 100, longest_wait_seconds: 4 };

impl LoginAttempt {
    /// Returns the hash under which the attempt is stored, so that the table holds no addresses.
    fn subject(&self) -> [u8; 32] {
        match self {
            Self::SignIn { address, .. } => subject_of(address),
            Self::Password(id) | Self::Join(id) => subject_of(&id.to_string()),
            Self::Reset(Network(network)) => subject_of(network),
        }
    }

    /// Returns the limits of the attempt, each with its network; the network is empty for a limit over all networks.
    fn limits(&self) -> Vec<(Limit, &str)> {
        match self {
            Self::SignIn { network: Network(network), .. } => vec![(GUESSES, network), (GUESSES_ANYWHERE, "")],
            Self::Password(_) => vec![(Limit { kind: "password_change", ..GUESSES }, "")],
            Self::Join(_) => vec![(Limit { kind: "sign_up", ..GUESSES }, "")],
            Self::Reset(_) => vec![(Limit { kind: "password_reset", free: 100, ..GUESSES }, "")],
        }
    }
}

fn subject_of(text: &str) -> [u8; 32] {
    Sha256::digest(text.to_lowercase()).into()
}

/// Counts an attempt as failed, including concurrent ones. An attempt that comes too soon is not counted; the function
/// then returns the time to wait.
pub async fn begin_attempt(store: &Store, attempt: LoginAttempt, now: Timestamp) -> Result<Option<Duration>, Error> {
    store.transaction(move |tx| Box::pin(async move { begin(tx, &attempt, now).await })).await
}

async fn begin(tx: &mut Tx, attempt: &LoginAttempt, now: Timestamp) -> Result<Option<Duration>, Error> {
    let (subject, limits) = (attempt.subject(), attempt.limits());
    lock(tx, &subject).await?;
    let (kinds, networks): (Vec<_>, Vec<_>) = limits.iter().map(|(limit, network)| (limit.kind, *network)).unzip();
    let rows = sqlx::query(
        "SELECT coalesce(failure_count, 0) AS failure_count, coalesce(last_failed_at, $4) AS last_failed_at
         FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS asked (kind, network, number)
         LEFT JOIN login_attempts a ON a.subject_hash = $1 AND a.kind = asked.kind AND a.network = asked.network
         ORDER BY asked.number",
    )
    .bind(subject.as_slice())
    .bind(&kinds)
    .bind(&networks)
    .bind(now.datetime())
    .fetch_all(&mut **tx)
    .await?;
    let (mut failures, mut wait) = (Vec::new(), None);
    for (row, (limit, _)) in rows.iter().zip(&limits) {
        let last_at = Timestamp::from(row.try_get::<DateTime<Utc>, _>("last_failed_at")?);
        match next_attempt(*limit, row.try_get("failure_count")?, last_at, now) {
            Next::Now(count) => failures.push(count),
            Next::After(time) => wait = wait.max(Some(time)),
        }
    }
    if wait.is_some() {
        return Ok(wait);
    }
    sqlx::query(
        "INSERT INTO login_attempts (subject_hash, kind, network, failure_count, last_failed_at)
         SELECT $1, kind, network, failure_count, $5
         FROM unnest($2::text[], $3::text[], $4::int[]) AS counted (kind, network, failure_count)
         ON CONFLICT (subject_hash, kind, network) DO UPDATE
             SET failure_count = excluded.failure_count, last_failed_at = excluded.last_failed_at",
    )
    .bind(subject.as_slice())
    .bind(&kinds)
    .bind(&networks)
    .bind(failures)
    .bind(now.datetime())
    .execute(&mut **tx)
    .await?;
    Ok(None)
}

/// Serialises the attempts of a subject, because each count must see the concurrent attempts.
async fn lock(tx: &mut Tx, subject: &[u8; 32]) -> Result<(), Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('tickbell/login-attempts/' || encode($1, 'hex'), 0))")
        .bind(subject.as_slice())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Deletes the failures before a successful attempt. Failures from other networks stay, because they may be another
/// person's.
pub(crate) async fn forgive(tx: &mut Tx, attempt: &LoginAttempt) -> Result<(), Error> {
    let subject = attempt.subject();
    lock(tx, &subject).await?;
    let (kinds, networks): (Vec<_>, Vec<_>) =
        attempt.limits().into_iter().map(|(limit, network)| (limit.kind, network)).unzip();
    sqlx::query(
        "DELETE FROM login_attempts WHERE subject_hash = $1
         AND (kind, network) IN (SELECT * FROM unnest($2::text[], $3::text[]) AS counted (kind, network))",
    )
    .bind(subject.as_slice())
    .bind(kinds)
    .bind(networks)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Deletes all failures for an address or an id, from every network.
pub(crate) async fn forget(tx: &mut Tx, address_or_id: &str) -> Result<(), Error> {
    let subject = subject_of(address_or_id);
    lock(tx, &subject).await?;
    sqlx::query("DELETE FROM login_attempts WHERE subject_hash = $1")
        .bind(subject.as_slice())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The decision about the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The attempt is allowed and makes this number of failures.
    Now(i32),
    /// The attempt is rejected until this time has passed.
    After(Duration),
}

fn next_attempt(limit: Limit, failures: i32, last_at: Timestamp, now: Timestamp) -> Next {
    let elapsed = (now.micros() - last_at.micros()).max(0);
    if elapsed >= FORGOTTEN_AFTER_SECONDS * 1_000_000 {
        return Next::Now(1);
    }
    let doublings = (failures - limit.free).clamp(0, 6);
    let wait_seconds = if failures < limit.free { 0 } else { limit.longest_wait_seconds.min(1 << doublings) };
    match wait_seconds * 1_000_000 - elapsed {
        left @ 1.. => Next::After(Duration::from_micros(left.unsigned_abs())),
        _ => Next::Now(failures.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(limit: Limit, failures: i32, seconds: i64) -> Next {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000).expect("a time");
        next_attempt(limit, failures, at(1_000), at(1_000 + seconds))
    }

    #[test]
    fn the_wait_doubles_from_the_third_failure_in_a_row() {
        for failures in [0, 1, 2] {
            assert_eq!(after(GUESSES, failures, 0), Next::Now(failures + 1));
        }
        for (failures, wait) in [(3, 1), (4, 2), (5, 4), (8, 32), (9, 60), (10, 60), (i32::MAX, 60)] {
            assert_eq!(after(GUESSES, failures, 0), Next::After(Duration::from_secs(wait)), "{failures}");
            assert_eq!(after(GUESSES, failures, wait as i64), Next::Now(failures.saturating_add(1)), "{failures}");
        }
    }

    #[test]
    fn all_networks_together_are_slowed_late_and_by_little() {
        assert_eq!(after(GUESSES_ANYWHERE, 99, 0), Next::Now(100));
        for (failures, wait) in [(100, 1), (101, 2), (102, 4), (1_000, 4)] {
            assert_eq!(after(GUESSES_ANYWHERE, failures, 0), Next::After(Duration::from_secs(wait)), "{failures}");
        }
    }

    #[test]
    fn failures_are_forgotten_after_an_hour() {
        assert_eq!(after(GUESSES, 9, 3_599), Next::Now(10));
        assert_eq!(after(GUESSES, 9, 3_600), Next::Now(1));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_wait_longer() {
        assert_eq!(after(GUESSES, 4, -100), Next::After(Duration::from_secs(2)));
    }

    #[test]
    fn neighbours_are_one_network_however_their_addresses_are_written() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.0/24"),
            ("::ffff:192.0.2.200", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "0:0:0:0::/64"),
        ] {
            assert_eq!(Network::of(address.parse().expect("an address")), Network(network.into()));
        }
    }

    #[test]
    fn addresses_ignore_case_and_kinds_of_attempts_are_distinguished() {
        let network = || Network::of("192.0.2.7".parse().expect("an address"));
        let sign_in = |address: &str| LoginAttempt::SignIn { address: address.into(), network: network() };
        assert_eq!(sign_in("Ada@Example.com").subject(), sign_in("ada@example.com").subject());
        assert_ne!(sign_in("ada@example.com").subject(), sign_in("eve@example.com").subject());
        let id = Uuid::from_u128(7);
        assert_ne!(LoginAttempt::Password(id).limits(), LoginAttempt::Join(id).limits());
    }
}
