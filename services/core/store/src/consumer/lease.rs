//! Leadership by lease: of several instances of a service, the one that holds the service's lease is the leader.
//!
//! The lease spares two instances the same work. The fenced position, and not the lease, prevents an effect from being
//! saved twice. A lease is a row with a time at which it ends, and not a lock of a connection: the server would keep the
//! lock of a machine that vanished for as long as it takes the connection to be alive.

use std::{future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use platform::{Broker, Check, ServiceError, runtime::error::error_chain};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, info, warn};

use crate::{Error, Store, Tx};

/// A lease ends this long after it was renewed last, by the clock of the database, in seconds.
const DURATION_SECONDS: f64 = 5.0; // float: make_interval takes seconds as one
/// The holder stops to lead this long after it asked for the last renewal that succeeded. It is shorter than the lease, so
/// that the holder stops before another instance begins.
const HOLD_FOR: Duration = Duration::from_secs(4);
/// The interval between two renewals.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// The interval at which a standby tries to take the lease.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// A leader without a connection to the broker stops to lead after this time: another instance may have one.
const LEAD_WITHOUT_BROKER: Duration = Duration::from_secs(2);
/// So does one that goes on through outages: what it would do meanwhile waits for a broker that starts again.
const LEAD_THROUGH_OUTAGE: Duration = Duration::from_secs(10);

/// Takes a lease that is free, has ended, or is this instance's already. A commit need not reach the disk: a lease that a
/// crash of the server loses is taken again.
const TAKE: &str = "
    INSERT INTO leases (service, holder, program, acquired_at, expires_at)
    SELECT $1, $2, current_setting('application_name'), clock_timestamp(), clock_timestamp() + make_interval(secs => $3)
    FROM (SELECT set_config('synchronous_commit', 'off', true) OFFSET 0) AS setting
    ON CONFLICT (service) DO UPDATE
        SET (holder, program, acquired_at, expires_at) = (EXCLUDED.holder, EXCLUDED.program, EXCLUDED.acquired_at, EXCLUDED.expires_at)
        WHERE leases.holder = EXCLUDED.holder OR leases.expires_at <= clock_timestamp()
    RETURNING acquired_at, expires_at";
/// Whether a lease can be taken. A standby asks this first, because a `TAKE` without effect writes all the same.
const IS_FREE: &str = "
    SELECT NOT EXISTS (SELECT FROM leases WHERE service = $1 AND holder <> $2 AND expires_at > clock_timestamp())";
/// Takes a lease from its holder.
const SEIZE: &str = "
    INSERT INTO leases (service, holder, program, acquired_at, expires_at)
    VALUES ($1, $2, current_setting('application_name'), clock_timestamp(), clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (service) DO UPDATE
        SET (holder, program, acquired_at, expires_at) = (EXCLUDED.holder, EXCLUDED.program, EXCLUDED.acquired_at, EXCLUDED.expires_at)
    RETURNING acquired_at, expires_at";
/// Extends a lease that is as it was taken or renewed last. Another one is that of another instance, or of a database that was
/// put back to an older copy: what this instance knows of it is then ahead of it.
const RENEW: &str = "
    UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => $3)
    FROM (SELECT set_config('synchronous_commit', 'off', true) OFFSET 0) AS setting
    WHERE service = $1 AND holder = $2 AND acquired_at = $4 AND expires_at = $5 RETURNING acquired_at, expires_at";
/// Ends a lease, so that another instance need not wait for its end.
const RELEASE: &str = "UPDATE leases SET expires_at = clock_timestamp()
    WHERE service = $1 AND holder = $2 AND acquired_at = $3";

/// The leadership of a service. It is renewed in the background until this is dropped.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    service: Arc<str>,
    acquired_at: DateTime<Utc>,
    renewal: JoinHandle<ServiceError>,
}

/// A lease as it was taken or renewed, by the clock of the database.
#[derive(Debug, Clone, Copy)]
struct Term {
    acquired_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// The two columns that the statements above return.
type Columns = (DateTime<Utc>, DateTime<Utc>);

impl Term {
    fn of((acquired_at, expires_at): Columns) -> Self {
        Self { acquired_at, expires_at }
    }
}

/// What a leader does while the database does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DuringOutage {
    /// It stops in time: another instance may reach the database.
    Stop,
    /// It goes on: what it does twice with another instance has no further effect.
    GoOn,
}

/// Waits until this process is the leader of `service`.
pub async fn acquire(store: &Store, service: &str, check: &Check) -> Result<Lease, ServiceError> {
    acquire_for(store, service, DuringOutage::Stop, || check.standby()).await
}

async fn acquire_for(
    store: &Store,
    service: &str,
    outage: DuringOutage,
    standby: impl Fn(),
) -> Result<Lease, ServiceError> {
    let mut waited = false;
    loop {
        if let Some(lease) = take_free(store, service, outage).await? {
            // A lone instance leads at once, which is worth no line; that a standby takes over is.
            if waited {
                info!(service, "acquired leadership");
            } else {
                debug!(service, "acquired leadership");
            }
            return Ok(lease);
        }
        if !waited {
            info!(service, "waiting for leadership; another instance is the leader");
            standby();
            waited = true;
        }
        sleep(TRY_EVERY).await;
    }
}

/// Waits for the leadership of `service` and runs `work` until it ends or the leadership is lost. An instance that has lost its
/// connection to the broker neither takes the lease nor keeps it.
pub async fn lead<T>(
    store: &Store,
    broker: &Broker,
    service: &str,
    check: &Check,
    work: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    lead_for(store, broker, service, DuringOutage::Stop, || check.standby(), work).await
}

/// Does the same for work that is harmless when two instances do it at a time: a leader goes on while the database is away, until
/// it learns that another instance has taken the lease. `standby` is called when it begins to wait.
pub async fn lead_through_outages<T>(
    store: &Store,
    broker: &Broker,
    service: &str,
    standby: impl Fn(),
    work: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    lead_for(store, broker, service, DuringOutage::GoOn, standby, work).await
}

async fn lead_for<T>(
    store: &Store,
    broker: &Broker,
    service: &str,
    outage: DuringOutage,
    standby: impl Fn(),
    work: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    let without_broker = match outage {
        DuringOutage::Stop => LEAD_WITHOUT_BROKER,
        DuringOutage::GoOn => LEAD_THROUGH_OUTAGE,
    };
    let disconnected = async || {
        broker.disconnected_for(without_broker).await;
        let error = format!("there has been no connection to the broker for {} s", without_broker.as_secs());
        ServiceError::transient(format!("cannot lead {service}"), error)
    };
    broker.connected().await;
    let mut lease = tokio::select! {
        lease = acquire_for(store, service, outage, standby) => lease?,
        error = disconnected() => return Err(error),
    };
    tokio::select! {
        error = lease.lost() => Err(error),
        error = disconnected() => Err(error),
        ended = work => ended,
    }
}

/// Takes the leadership of `service` where no instance has it, for a command that must not run beside the service; none where one has.
pub async fn try_acquire(store: &Store, service: &str) -> Result<Option<Lease>, Error> {
    take_free(store, service, DuringOutage::Stop).await
}

async fn take_free(store: &Store, service: &str, outage: DuringOutage) -> Result<Option<Lease>, Error> {
    let asked = Instant::now();
    let term = if is_free(store, service).await? { take(store, service, TAKE).await? } else { None };
    Ok(term.map(|term| Lease::new(store, service, outage, term, asked)))
}

/// Takes the leadership of `service` from its leader and holds it until the result is dropped, for measurements and
/// maintenance. The former leader becomes a standby as soon as it notices.
pub async fn seize(store: &Store, service: &str) -> Result<Lease, Error> {
    let asked = Instant::now();
    let term = take(store, service, SEIZE).await?.ok_or_else(|| Error::Database(sqlx::Error::RowNotFound))?;
    Ok(Lease::new(store, service, DuringOutage::Stop, term, asked))
}

/// Fails as fenced unless this process has taken the lease of `service` last. Until the end of the transaction no other one takes it.
pub(crate) async fn fence(tx: &mut Tx, store: &Store, service: &str) -> Result<(), Error> {
    let held = sqlx::query_scalar::<_, bool>("SELECT true FROM leases WHERE service = $1 AND holder = $2 FOR SHARE");
    let held = held.bind(service).bind(store.instance).fetch_optional(&mut **tx).await?;
    held.map(|_| ()).ok_or_else(|| Error::Fenced(service.to_owned()))
}

/// Ends all leases of a process, so that other instances can lead at once.
pub(crate) async fn release_all(store: &Store) -> Result<(), Error> {
    let statement =
        "UPDATE leases SET expires_at = clock_timestamp() WHERE holder = $1 AND expires_at > clock_timestamp()";
    sqlx::query(statement).bind(store.instance).execute(store.pool()).await?;
    Ok(())
}

async fn is_free(store: &Store, service: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(IS_FREE).bind(service).bind(store.instance).fetch_one(store.pool()).await?)
}

/// Takes the lease by one of the statements above.
async fn take(store: &Store, service: &str, statement: &'static str) -> Result<Option<Term>, Error> {
    let taken = sqlx::query_as::<_, Columns>(statement).bind(service).bind(store.instance).bind(DURATION_SECONDS);
    Ok(taken.fetch_optional(store.pool()).await?.map(Term::of))
}

/// Renews the lease, and returns `None` when it is another one.
async fn extend(store: &Store, service: &str, term: Term) -> Result<Option<Term>, Error> {
    let renewed = sqlx::query_as::<_, Columns>(RENEW).bind(service).bind(store.instance).bind(DURATION_SECONDS);
    Ok(renewed.bind(term.acquired_at).bind(term.expires_at).fetch_optional(store.pool()).await?.map(Term::of))
}

/// Renews the lease until another instance has taken it, or until the database has not answered for so long that another
/// instance may. It then returns the error.
async fn renew(
    store: Store,
    service: Arc<str>,
    outage: DuringOutage,
    mut term: Term,
    mut held_until: Instant,
) -> ServiceError {
    let service = &*service;
    let lost = format!("the leadership of {service} was lost");
    loop {
        sleep(RENEW_EVERY).await;
        let asked = Instant::now();
        if outage == DuringOutage::GoOn {
            held_until = asked + HOLD_FOR;
        }
        match timeout_at(held_until, extend(&store, service, term)).await {
            Ok(Ok(Some(renewed))) => (term, held_until) = (renewed, asked + HOLD_FOR),
            Ok(Ok(None)) => {
                let error = "another instance has taken it, or the database was put back to an older copy";
                return ServiceError::transient(lost, error);
            }
            Ok(Err(error)) if outage == DuringOutage::GoOn => {
                debug!(service, error = error_chain(&error), "could not renew the leadership; going on");
            }
            Err(_) if outage == DuringOutage::GoOn => {}
            Ok(Err(error)) if Instant::now() < held_until => {
                warn!(service, error = error_chain(&error), "could not renew the leadership; trying again");
            }
            Ok(Err(error)) => return ServiceError::transient(lost, error),
            Err(_) => {
                let error = format!("the database has not renewed it for {} s", HOLD_FOR.as_secs());
                return ServiceError::transient(lost, error);
            }
        }
    }
}

impl Lease {
    fn new(store: &Store, service: &str, outage: DuringOutage, term: Term, asked: Instant) -> Self {
        let service: Arc<str> = service.into();
        let renewal = tokio::spawn(renew(store.clone(), Arc::clone(&service), outage, term, asked + HOLD_FOR));
        Self { store: store.clone(), service, acquired_at: term.acquired_at, renewal }
    }

    /// Waits until the leadership is lost, and returns the error.
    pub async fn lost(&mut self) -> ServiceError {
        match (&mut self.renewal).await {
            Ok(error) => error,
            Err(error) => ServiceError::transient("renew the leadership", error),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
        let (store, service, acquired_at) = (self.store.clone(), Arc::clone(&self.service), self.acquired_at);
        tokio::spawn(async move {
            let release = sqlx::query(RELEASE).bind(&*service).bind(store.instance).bind(acquired_at);
            // Without a release the lease ends by itself.
            if let Err(error) = release.execute(store.pool()).await {
                debug!(
                    service = &*service,
                    error = error_chain(&Error::from(error)),
                    "could not release the leadership"
                );
            }
        });
    }
}
