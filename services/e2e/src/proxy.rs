//! A TCP proxy between a service and a server, whose connections a test lets die in each of the ways that a network knows:
//! closed with a reset, silent for a while, or silent for ever.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};

const BUFFER_BYTES: usize = 64 * 1024;
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

    /// Copies until the sender closes its end.
    async fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = self.reader.read(&mut buffer).await?;
            let delay = self.until_it_passes().await;
            if !delay.is_zero() {
                sleep(delay).await;
                // A silence may have begun meanwhile.
                self.until_it_passes().await;
            }
            if read == 0 {
                return self.writer.shutdown().await;
            }
            self.writer.write_all(&buffer[..read]).await?;
        }
    }

    /// Waits until this direction passes something, and returns the delay of what passes.
    async fn until_it_passes(&mut self) -> Duration {
        let (number, direction) = (self.number, self.direction);
        let passes = self.link.wait_for(|link| link.passes(number, direction)).await;
        passes.map_or(Duration::ZERO, |link| link.delay)
    }
}
