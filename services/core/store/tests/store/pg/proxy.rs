//! A proxy in front of the server, which can keep connections open and pass nothing more.

use std::path::PathBuf;

use futures::FutureExt;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    sync::watch,
};

/// A running proxy, which ends with the test's runtime.
pub(crate) struct Proxy {
    port: u16,
    /// The number of connections so far.
    opened: watch::Receiver<u64>,
    /// The number of the last connection that passes nothing more.
    frozen: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy for the server behind a socket.
    pub(crate) async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (opens, opened) = watch::channel(0);
        let frozen = watch::Sender::new(0);
        let freezes = frozen.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                opens.send_modify(|count| *count += 1);
                let number = *opens.borrow();
                let (socket, mut frozen) = (socket.clone(), freezes.subscribe());
                tokio::spawn(async move {
                    let mut server = UnixStream::connect(socket).await.expect("the server answers");
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        // The ends stay open: nobody learns that nothing passes any more.
                        () = frozen.wait_for(|last| number <= *last).map(drop) => std::future::pending().await,
                    }
                });
            }
        });
        Self { port, opened, frozen }
    }

    /// The port of the proxy.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Lets the connections so far pass nothing more, in neither direction. New ones pass everything.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(*self.opened.borrow());
    }
}
