//! A client of the broker that publishes bytes as they are, also those that no client library would send.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An open connection.
pub struct RawNats {
    stream: TcpStream,
}

impl RawNats {
    /// Connects to the broker at a URL without user and TLS.
    ///
    /// # Panics
    /// When there is none.
    pub async fn connect(url: &str) -> Self {
        let address = url.strip_prefix("nats://").expect("a URL like nats://127.0.0.1:4222");
        let mut raw = Self { stream: TcpStream::connect(address).await.expect("the broker") };
        raw.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n").await;
        raw.flush().await;
        raw
    }

    /// Publishes a message with the lines of its headers, each with its end, or without headers.
    pub async fn publish(&mut self, subject: &[u8], headers: Option<&[u8]>, body: &[u8]) {
        let verb: &[u8] = if headers.is_some() { b"HPUB " } else { b"PUB " };
        let (sizes, headers) = match headers {
            None => (format!(" {}\r\n", body.len()), Vec::new()),
            Some(lines) => {
                let headers = [b"NATS/1.0\r\n", lines, b"\r\n"].concat();
                (format!(" {} {}\r\n", headers.len(), headers.len() + body.len()), headers)
            }
        };
        self.send(&[verb, subject, sizes.as_bytes(), &headers, body, b"\r\n"].concat()).await;
    }

    /// Waits until the broker has received everything.
    ///
    /// # Panics
    /// When the broker closes the connection.
    pub async fn flush(&mut self) {
        self.send(b"PING\r\n").await;
        let mut received = Vec::new();
        while !received.windows(6).any(|window| window == b"PONG\r\n") {
            let read = self.stream.read_buf(&mut received).await.expect("the broker answers");
            let said = String::from_utf8_lossy(&received);
            assert!(read > 0 && !said.contains("-ERR"), "the broker ended the connection: {said}");
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the broker reads");
    }
}
