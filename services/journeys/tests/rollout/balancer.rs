//! It stands for what is not ours: a Kubernetes Service, that is kube-proxy, the endpoint controller and the kubelet's
//! readiness probe. New connections go round robin to those of the selected gateways that were ready a moment ago; a
//! connection stays with its gateway until one of its ends closes it. It knows nothing of HTTP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future::join_all;
use journeys::Api;
use reqwest::Method;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

/// From what a probe finds until new connections heed it; the next probe begins then. Every node learns of it by itself.
const DELAY: Duration = Duration::from_millis(400);

/// A gateway as the balancer knows it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Where connections go.
    pub(crate) address: SocketAddr,
    /// Where it says whether it is ready.
    pub(crate) health: Api,
}

/// A running balancer.
pub(crate) struct Balancer {
    address: SocketAddr,
    selected: watch::Sender<Vec<Endpoint>>,
    ready: watch::Receiver<Arc<[SocketAddr]>>,
}

impl Balancer {
    /// Starts one that has nowhere to send connections to.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (selected, selection) = watch::channel(vec![]);
        let (found, ready) = watch::channel(Arc::default());
        tokio::spawn(probe(selection, found));
        tokio::spawn(accept(listener, ready.clone()));
        Self { address, selected, ready }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says which gateways are behind it: those of the active colour.
    pub(crate) fn select(&self, endpoints: Vec<Endpoint>) {
        self.selected.send_replace(endpoints);
    }

    /// Waits until some gateway takes connections.
    pub(crate) async fn open(&self) {
        self.ready.clone().wait_for(|ready| !ready.is_empty()).await.expect("it probes as long as the test runs");
    }
}

/// Keeps the ready ones of the selected known.
async fn probe(selection: watch::Receiver<Vec<Endpoint>>, found: watch::Sender<Arc<[SocketAddr]>>) {
    loop {
        let began = std::time::Instant::now();
        let endpoints = selection.borrow().clone();
        let before = found.borrow().clone();
        let states = join_all(endpoints.iter().map(|endpoint| is_ready(endpoint, &before))).await;
        let ready =
            endpoints.iter().zip(states).filter(|(_, is_ready)| *is_ready).map(|(endpoint, _)| endpoint.address);
        let ready: Arc<[SocketAddr]> = ready.collect();
        eprintln!("{:?} {:?} -> {:?} (probing took {:?})", std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("t").as_millis()%1_000_000, endpoints.iter().map(|e| e.address.port()).collect::<Vec<_>>(), ready, began.elapsed());
        sleep(DELAY).await;
        found.send_replace(ready);
    }
}

/// Who does not answer stays what it was, as a probe must fail three times to count; who says no is out at once.
async fn is_ready(endpoint: &Endpoint, before: &[SocketAddr]) -> bool {
    let asked = Api::try_send(endpoint.health.request(Method::GET, "/readyz").timeout(DELAY));
    asked.await.map_or_else(|| before.contains(&endpoint.address), |answer| answer.status == 200)
}

async fn accept(listener: TcpListener, ready: watch::Receiver<Arc<[SocketAddr]>>) {
    let mut turn = 0;
    while let Ok((client, _)) = listener.accept().await {
        let ready = ready.borrow().clone();
        turn += 1;
        // Without an endpoint, and with one that refuses, the client's connection breaks: that is a lost request.
        if let Some(endpoint) = ready.get(turn % ready.len().max(1)).copied() {
            tokio::spawn(forward(client, endpoint));
        }
    }
}

async fn forward(mut client: TcpStream, endpoint: SocketAddr) {
    let Ok(mut gateway) = TcpStream::connect(endpoint).await else { eprintln!("REFUSED {endpoint}"); return };
    for stream in [&client, &gateway] {
        stream.set_nodelay(true).expect("our socket");
    }
    // How a connection ends is seen by its client, who counts.
    let _ = copy_bidirectional(&mut client, &mut gateway).await;
}
