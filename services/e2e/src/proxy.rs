//! A TCP proxy between a service and a server, whose connections a test lets die in each of the ways that a network knows:
//! closed with a reset, silent for a while, or silent for ever.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

const BUFFER_BYTES: usize = 64 * 1024;
/// The number of pieces that were sent and have not arrived yet; more wait in the kernel.
const CHUNKS_ON_THE_LINE: usize = 16;
/// The time after which the ends of a lost connection are reset: by then a kernel with keepalives has given it up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// The directions in which a connection passes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Silence {
    /// What the client sends does not arrive.
    pub to_server: bool,
    /// What the server sends does not arrive.
    pub to_client: bool,
}

impl Silence {
    /// Nothing arrives at either end.
    pub const BOTH: Self = Self { to_server: true, to_client: true };
    /// Nothing arrives at the server.
    pub const TO_SERVER: Self = Self { to_server: true, to_client: false };
    /// Nothing arrives at the client.
    pub const TO_CLIENT: Self = Self { to_server: false, to_client: true };
}

/// A running proxy, which ends with its runtime.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
}

/// What the proxy does with its connections, which are numbered from 1.
#[derive(Debug, Default)]
struct Link {
    accepted: u64,
    /// The last connection that is reset.
    reset: u64,
    /// The last connections that pass nothing more to the server and to the client, for ever.
    lost: Directions<u64>,
    /// The silence of all connections, also of new ones, until it ends.
    held: Silence,
    delay: Duration,
}

#[derive(Debug, Default)]
struct Directions<T> {
    to_server: T,
    to_client: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    /// Starts a proxy for the server at an address, which need not be there yet.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let link = watch::Sender::new(Link::default());
        tokio::spawn(accept(listener, server, link.clone()));
        Self { address, link }
    }

    /// The address at which clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.link.send_modify(|link| link.reset = link.accepted);
    }

    /// Lets the connections so far pass nothing more, as a firewall does that has forgotten them. New ones pass everything.
    pub fn lose(&self, silence: Silence) {
        self.link.send_modify(|link| {
            if silence.to_server {
                link.lost.to_server = link.accepted;
            }
            if silence.to_client {
                link.lost.to_client = link.accepted;
            }
        });
    }

    /// Lets no connection pass anything, also no new one, until [`Self::heal`]: what was sent meanwhile arrives then.
    pub fn hold(&self, silence: Silence) {
        self.link.send_modify(|link| link.held = silence);
    }

    /// Delays whatever passes.
    pub fn delay(&self, delay: Duration) {
        self.link.send_modify(|link| link.delay = delay);
    }

    /// Ends what [`Self::hold`] and [`Self::delay`] have begun. Lost connections stay lost.
    pub fn heal(&self) {
        self.link.send_modify(|link| (link.held, link.delay) = Default::default());
    }
}

impl Link {
    fn passes(&self, number: u64, direction: Direction) -> bool {
        let (held, lost) = match direction {
            Direction::ToServer => (self.held.to_server, self.lost.to_server),
            Direction::ToClient => (self.held.to_client, self.lost.to_client),
        };
        !held && number > lost
    }

    fn is_lost(&self, number: u64) -> bool {
        number <= self.lost.to_server.max(self.lost.to_client)
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, link: watch::Sender<Link>) {
    while let Ok((client, _)) = listener.accept().await {
        link.send_modify(|link| link.accepted += 1);
        let number = link.borrow().accepted;
        tokio::spawn(connect(client, server, number, link.subscribe()));
    }
}

async fn connect(client: TcpStream, address: SocketAddr, number: u64, mut link: watch::Receiver<Link>) {
    let Ok(server) = TcpStream::connect(address).await else {
        // The kernel of a server that is gone resets the connection too.
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("our socket");
    }
    let (client_reader, client_writer) = client.into_split();
    let (server_reader, server_writer) = server.into_split();
    let mut to_server = Pump::new(client_reader, server_writer, number, Direction::ToServer, link.clone());
    let mut to_client = Pump::new(server_reader, client_writer, number, Direction::ToClient, link.clone());
    let mut lost = link.clone();
    let closed = tokio::select! {
        closed = async { tokio::try_join!(to_server.run(), to_client.run()) } => closed.is_ok(),
        _ = link.wait_for(|link| number <= link.reset) => false,
        () = async {
            // The sender lives as long as connections are accepted.
            let _ = lost.wait_for(|link| link.is_lost(number)).await.map(drop);
            sleep(GIVE_UP_AFTER).await;
        } => false,
    };
    if !closed {
        for pump in [&to_server, &to_client] {
            // A socket that is closed already needs no reset.
            let _ = pump.writer.as_ref().set_zero_linger();
        }
    }
}

/// Copies one direction of a connection.
struct Pump {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    number: u64,
    direction: Direction,
    link: watch::Receiver<Link>,
}

impl Pump {
    fn new(
        reader: OwnedReadHalf,
        writer: OwnedWriteHalf,
        number: u64,
        direction: Direction,
        link: watch::Receiver<Link>,
    ) -> Self {
        Self { reader, writer, number, direction, link }
    }

    /// Copies until the sender closes its end. What is delayed travels meanwhile, as on a long line: what is sent after it is
    /// not later because of it.
    async fn run(&mut self) -> io::Result<()> {
        let Self { reader, writer, number, direction, link } = self;
        let (sender, mut line) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_ON_THE_LINE);
        let delays = link.clone();
        let read = async move {
            loop {
                let mut chunk = Vec::with_capacity(BUFFER_BYTES);
                let read = reader.read_buf(&mut chunk).await?;
                let arrives_at = Instant::now() + delays.borrow().delay;
                if sender.send((arrives_at, chunk)).await.is_err() || read == 0 {
                    return Ok(());
                }
            }
        };
        let write = async move {
            while let Some((arrives_at, chunk)) = line.recv().await {
                sleep_until(arrives_at).await;
                // An end of the wait because the proxy is gone ends the connection too.
                link.wait_for(|link| link.passes(*number, *direction)).await.map_err(io::Error::other)?;
                if chunk.is_empty() {
                    break;
                }
                writer.write_all(&chunk).await?;
            }
            writer.shutdown().await
        };
        tokio::try_join!(read, write).map(drop)
    }
}
