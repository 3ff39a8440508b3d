//! Connections to the broker that pass nothing any more and are never closed, and leaders that stand still.

use std::time::Duration;

use store::consumer::lease;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    time::timeout,
};

use super::*;

/// The longest time until messages are decided again.
const RECOVERY: Duration = Duration::from_secs(10);

/// What a connection passes on no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frozen {
    Nothing,
    Both,
    ToBroker,
    FromBroker,
}

/// A TCP proxy in front of the broker. It freezes the connections that are open, and passes on what later ones send.
struct Proxy {
    url: String,
    frozen: watch::Sender<Frozen>,
}

impl Proxy {
    async fn start(broker: &str) -> Self {
        let broker = broker.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("nats://{}", listener.local_addr().expect("an address"));
        let (frozen, state) = watch::channel(Frozen::Nothing);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&broker).await.expect("the broker listens");
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let state = {
                    let mut state = state.clone();
                    state.mark_unchanged();
                    state
                };
                tokio::spawn(pass(from_client, to_server, state.clone(), Frozen::ToBroker));
                tokio::spawn(pass(from_server, to_client, state, Frozen::FromBroker));
            }
        });
        Self { url, frozen }
    }
}

/// Passes on what is read until this direction is frozen; from then on both ends are left open.
async fn pass(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut state: watch::Receiver<Frozen>,
    direction: Frozen,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            biased;
            Ok(()) = state.changed() => {
                let frozen = *state.borrow_and_update();
                if [Frozen::Both, direction].contains(&frozen) {
                    std::future::pending::<()>().await;
                }
            }
            read = from.read(&mut buffer) => match read {
                Ok(read @ 1..) if to.write_all(&buffer[..read]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}

impl Servers {
    /// Waits until everything up to a sequence is committed and its events are published.
    async fn finished(&self, sequence: u64) {
        let store = &self.database.store;
        while self.position().await < sequence || outbox::len(store, SERVICE).await.expect("a number") > 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn recovers_from(frozen: Frozen) {
    let servers = Servers::with_messages().await;
    let proxy = Proxy::start(&servers.nats.url).await;
    let settings = Settings { url: proxy.url.clone(), ..Settings::default() };
    let broker = Broker::connect(&settings, SERVICE, check(), Shutdown::new()).await.expect("the broker answers");
    let counter = Counter::new(&servers.database.store, u64::MAX);
    let mut decided = counter.decided.subscribe();
    let run =
        async { ConsumerRun::open(&counter, &servers.database.store, &broker, plan()).await?.run(&check()).await };
    let messages = async {
        decided.wait_for(|decided| decided.last() == Some(&MESSAGES)).await.expect("the counter lives");
        proxy.frozen.send_replace(frozen);
        // The broker sends them on the connection that passes nothing, and nothing follows by which their loss would show.
        servers.publish((MESSAGES + 1..=MESSAGES + 5).map(|number| number.to_string())).await;
        let finished = servers.finished(MESSAGES + 5);
        timeout(RECOVERY, finished).await.unwrap_or_else(|_| panic!("{frozen:?}: not in time"));
    };
    tokio::select! {
        ended = run => panic!("{ended:?}"),
        () = messages => {}
    }
    servers.assert_counted_once(MESSAGES + 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_passes_nothing_is_replaced_within_seconds() {
    for frozen in [Frozen::Both, Frozen::ToBroker, Frozen::FromBroker] {
        recovers_from(frozen).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pull_request_of_a_leader_that_stands_still_delays_the_next_one_by_seconds() {
    let servers = Servers::with_messages().await;
    let paused = Counter::new(&servers.database.store, u64::MAX);
    let run = ConsumerRun::open(&paused, &servers.database.store, &servers.broker, plan()).await.expect("it opens");
    let check = check();
    let mut run = Box::pin(run.run(&check));
    tokio::select! {
        ended = &mut run => panic!("{ended:?}"),
        finished = timeout(DEADLINE, servers.finished(MESSAGES)) => finished.expect("in time"),
    }
    // From now on nobody polls it, and its pull request stays open.
    let next = Counter::new(&servers.database.store, u64::MAX);
    let mut decided = next.decided.subscribe();
    let messages = async {
        for number in MESSAGES + 1..=MESSAGES + 3 {
            servers.publish(std::iter::once(number.to_string())).await;
            let this = decided.wait_for(|decided| decided.last() == Some(&number));
            timeout(RECOVERY, this).await.expect("in time").expect("the counter lives");
        }
    };
    tokio::select! {
        error = servers.run(&next) => panic!("{error:?}"),
        () = messages => {}
    }
    drop(run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_broker_gives_its_lease_up_and_takes_none() {
    const HELD: &str = "SELECT count(*) FROM leases WHERE expires_at > clock_timestamp()";
    let Servers { database, broker, nats } = Servers::start().await;
    let (leads, check) = (Notify::new(), check());
    let lead = |work| runner::lead(&database.store, &broker, SERVICE, &check, work);
    let work = async {
        leads.notify_one();
        std::future::pending::<Result<Infallible, ServiceError>>().await
    };
    let lose = async {
        leads.notified().await;
        tokio::task::block_in_place(|| drop(nats));
    };
    let (ended, ()) = timeout(RECOVERY, async { tokio::join!(lead(work), lose) }).await.expect("in time");
    let Err(error) = ended;
    assert!(error.to_string().contains("cannot lead"), "{error}");
    let is_free = async { while database.count(HELD).await > 0 {} };
    timeout(RECOVERY, is_free).await.expect("another instance can lead");
    let pending = std::future::pending::<Result<Infallible, ServiceError>>();
    let again = timeout(Duration::from_secs(1), lease::lead(&database.store, &broker, SERVICE, &check, pending)).await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(database.count(HELD).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_work_two_may_do_goes_on_while_the_database_is_away() {
    const ENDURING: &str = "enduring";
    let Servers { database, broker, nats: _nats } = Servers::start().await;
    let (store, leads, check) = (&database.store, Notify::new(), check());
    let work = async {
        leads.notify_one();
        std::future::pending::<Result<Infallible, ServiceError>>().await
    };
    let mut enduring = std::pin::pin!(lease::lead_through_outages(store, &broker, ENDURING, || {}, work));
    let outage = async {
        leads.notified().await;
        let work = async {
            database.run("ALTER TABLE leases RENAME TO leases_away").await;
            std::future::pending::<Result<Infallible, ServiceError>>().await
        };
        // Another leader has stopped by then.
        let Err(error) = lease::lead(store, &broker, SERVICE, &check, work).await;
        assert!(error.to_string().contains("was lost"), "{error}");
        database.run("ALTER TABLE leases_away RENAME TO leases").await;
    };
    tokio::select! {
        Err(error) = &mut enduring => panic!("{error}"),
        () = outage => {}
    }
    let _seized = lease::seize(store, ENDURING).await.expect("it is seized");
    let Err(error) = timeout(RECOVERY, enduring).await.expect("in time");
    assert!(error.to_string().contains("was lost"), "{error}");
}
