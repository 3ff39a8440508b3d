//! It stands for what is not ours: a Kubernetes Service, that is the kubelet's readiness probe, the endpoint controller
//! and kube-proxy. New connections go round robin to those of the selected gateways that were ready a moment ago; a
//! connection stays with its gateway until one of its ends closes it. It knows nothing of HTTP but the probe.

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

/// From one probe to the next, and from what a probe finds or a deployment selects until new connections heed it.
const DELAY: Duration = Duration::from_millis(400);
/// A probe that takes longer says nothing; a kubelet acts on silence only when it lasts.
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

/// Connections that were taken and could not be passed on.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    no_endpoint: AtomicU64,
    refused: AtomicU64,
}

impl Endpoint {
    /// A gateway that takes connections at `address`, once its first probe has found it ready: a deployment goes on then.
    pub(crate) async fn new(address: SocketAddr, health: Api) -> Self {
        let (found, mut ready) = watch::channel(false);
        tokio::spawn(probe(health, found));
        ready.wait_for(|ready| *ready).await.expect("it is probed while somebody looks");
        Self { address, ready }
    }
}

/// Keeps asking one gateway.
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

    /// Says which gateways are behind it: those of the active colour.
    pub(crate) fn select(&self, endpoints: Vec<Endpoint>) {
        self.selected.send_replace(endpoints);
    }

    /// What it could not pass on, for whoever looks for the reason of a failure.
    pub(crate) fn broken(&self) -> &Broken {
        &self.broken
    }
}

/// Heeds, always a moment late, what is selected and ready.
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

/// A connection that cannot be passed on breaks, and its client loses a request.
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
    // How a connection ends is seen by its client, who counts.
    let _ = copy_bidirectional(&mut client, &mut gateway).await;
}
