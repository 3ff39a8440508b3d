//! A TCP balancer that behaves as a Kubernetes Service does: the kubelet's readiness probe, the endpoint controller and
//! kube-proxy in one. New connections go round robin to those of the selected gateways that were ready a moment ago; a
//! connection stays with its gateway until one of its ends closes it. Apart from the probe it does not parse HTTP.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use e2e::Api;
use reqwest::Method;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

/// The interval of probes, and the delay until new connections follow a probe or a selection.
const DELAY: Duration = Duration::from_millis(400);
/// A probe that takes longer is ignored: a kubelet acts only on several failures in a row.
const PROBE: Duration = Duration::from_secs(1);

/// A gateway that is probed.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    address: SocketAddr,
    ready: watch::Receiver<bool>,
}

/// A running balancer.
pub(crate) struct Balancer {
    address: SocketAddr,
    selected: watch::Sender<Vec<Endpoint>>,
    broken: Arc<Broken>,
}

/// The numbers of connections that were accepted and could not be forwarded, by reason.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    no_endpoint: AtomicU64,
    refused: AtomicU64,
}

impl Endpoint {
    /// Probes the gateway at `address`, and returns once it is ready, which a deployment waits for too.
    pub(crate) async fn new(address: SocketAddr, health: Api) -> Self {
        let (found, mut ready) = watch::channel(false);
        tokio::spawn(probe(health, found));
        ready.wait_for(|ready| *ready).await.expect("the probe runs while this waits");
        Self { address, ready }
    }
}

/// Probes one gateway until nobody needs the result.
async fn probe(health: Api, found: watch::Sender<bool>) {
    while !found.is_closed() {
        let asked = Api::try_send(health.request(Method::GET, "/readyz"));
        if let Ok(answer) = timeout(PROBE, asked).await {
            found.send_replace(answer.is_some_and(|answer| answer.status == 200));
        }
        sleep(DELAY).await;
    }
}

impl Balancer {
    /// Starts one with these gateways behind it.
    pub(crate) async fn start(endpoints: Vec<Endpoint>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (heeded, targets) = watch::channel(ready(&endpoints));
        let (selected, selection) = watch::channel(endpoints);
        let broken = Arc::default();
        tokio::spawn(follow(selection, heeded));
        tokio::spawn(accept(listener, targets, Arc::clone(&broken)));
        Self { address, selected, broken }
    }

    /// The address at which clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Selects the gateways of the active colour.
    pub(crate) fn select(&self, endpoints: Vec<Endpoint>) {
        self.selected.send_replace(endpoints);
    }

    /// Returns what could not be forwarded, for the message of a failing test.
    pub(crate) fn broken(&self) -> &Broken {
        &self.broken
    }
}

/// Applies a selection and the results of probes, with a delay.
async fn follow(selection: watch::Receiver<Vec<Endpoint>>, heeded: watch::Sender<Vec<SocketAddr>>) {
    loop {
        let targets = ready(&selection.borrow());
        sleep(DELAY).await;
        heeded.send_replace(targets);
    }
}

fn ready(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    let ready = endpoints.iter().filter(|endpoint| *endpoint.ready.borrow());
    ready.map(|endpoint| endpoint.address).collect()
}

async fn accept(listener: TcpListener, targets: watch::Receiver<Vec<SocketAddr>>, broken: Arc<Broken>) {
    let mut turn = 0;
    while let Ok((client, _)) = listener.accept().await {
        turn += 1;
        let target = {
            let targets = targets.borrow();
            targets.get(turn % targets.len().max(1)).copied()
        };
        tokio::spawn(forward(client, target, Arc::clone(&broken)));
    }
}

/// Forwards a connection. One that cannot be forwarded is closed, and its client loses a request.
async fn forward(mut client: TcpStream, target: Option<SocketAddr>, broken: Arc<Broken>) {
    let Some(target) = target else {
        broken.no_endpoint.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let Ok(mut gateway) = TcpStream::connect(target).await else {
        broken.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    for stream in [&client, &gateway] {
        stream.set_nodelay(true).expect("our socket");
    }
    // The client counts how its connection ends.
    let _ = copy_bidirectional(&mut client, &mut gateway).await;
}
