//! Three servers of the broker, of which each has all streams.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use serde_json::{Value, json};

use super::{Server, System, servers::Servers};
use crate::{Process, process::free_address, wait_until};

/// How long servers may take to elect leaders, and to copy streams to one that has none.
const AGREE: Duration = Duration::from_secs(30);
const SIZE: usize = 3;

/// Servers that replicate every stream.
pub struct BrokerCluster {
    program: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    folder: PathBuf,
    process: Option<Process>,
}

impl Servers {
    /// Replaces the broker by an empty cluster with the streams on all of its servers.
    pub async fn replace_broker_by_cluster(&mut self, system: &System) -> BrokerCluster {
        self.kill(Server::Nats);
        let clients: Vec<SocketAddr> = (0..SIZE).map(|_| free_address()).collect();
        let routes: Vec<SocketAddr> = (0..SIZE).map(|_| free_address()).collect();
        let monitor = free_address();
        let program = self.started(Server::Nats).0.program;
        let mut cluster = BrokerCluster { program, nodes: Vec::new() };
        for (index, (client, route)) in clients.iter().zip(&routes).enumerate() {
            let page = if index == 0 { monitor } else { free_address() };
            cluster.nodes.push(Node::new(system, index, [*client, page, *route], &routes));
            cluster.start(system, index);
        }
        let urls: Vec<_> = clients.iter().map(|client| format!("nats://{client}")).collect();
        self.use_broker(urls.join(","), monitor);
        let applied = async || self.run(system, &["streams", "apply"]).await.status.success().then_some(());
        wait_until("the streams are created", AGREE, applied).await;
        for stream in self.streams() {
            self.change_stream(&stream, &json!({ "num_replicas": SIZE }));
        }
        self.wait_until_replicated().await;
        cluster
    }

    /// Waits until each server has all messages of every stream.
    pub async fn wait_until_replicated(&self) {
        let replicated = async || {
            let is_current = |replica: &Value| replica["current"] == true && replica["offline"] != true;
            self.streams()
                .iter()
                .all(|stream| {
                    let state = self.stream_cluster(stream);
                    state["replicas"]
                        .as_array()
                        .is_some_and(|replicas| replicas.len() == SIZE - 1 && replicas.iter().all(is_current))
                })
                .then_some(())
        };
        wait_until("all streams have all replicas", AGREE, replicated).await;
    }
}

impl Node {
    fn new(system: &System, index: usize, [client, page, route]: [SocketAddr; 3], routes: &[SocketAddr]) -> Self {
        let name = format!("nats-{index}");
        let folder = system.home().join(&name);
        fs::create_dir(&folder).expect("a new folder");
        let routes: Vec<String> = routes.iter().map(|route| format!("\"nats://{route}\"")).collect();
        let settings = format!(
            "server_name: {name}\nlisten: \"{client}\"\nhttp: \"{page}\"\n\
             jetstream {{\n  store_dir: {data:?}\n  sync_interval: always\n  max_file_store: 12GB\n}}\n\
             cluster {{\n  name: tickbell\n  listen: \"{route}\"\n  routes: [{}]\n}}\n",
            routes.join(", "),
            data = folder.join("data"),
        );
        fs::write(folder.join("nats.conf"), settings).expect("a file");
        Self { name, folder, process: None }
    }
}

impl BrokerCluster {
    /// Starts a server, with an empty volume where it has none.
    pub fn start(&mut self, system: &System, index: usize) {
        let node = &mut self.nodes[index];
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(node.folder.join("nats.conf"));
        node.process = Some(system.spawn(&node.name, &mut command));
    }

    /// Ends a server as a power cut would.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].process.take().expect("it runs").kill();
    }

    /// Removes the volume of a server that does not run.
    ///
    /// # Panics
    /// When it has none.
    pub fn remove_volume(&self, index: usize) {
        fs::remove_dir_all(self.nodes[index].folder.join("data")).expect("our folder");
    }
}
