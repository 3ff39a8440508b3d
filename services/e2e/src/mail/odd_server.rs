//! A mail server whose replies are legal or common, and odd. It counts the mails that it accepts.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// The number of mails that each address got.
type Accepted = Arc<Mutex<HashMap<String, usize>>>;

/// A running server. It knows no EHLO, greets with a code alone, takes one mail per connection, and refuses a client whose name
/// has no dot. The name before the @ of a recipient says how it answers the recipient or the end of the mail.
pub struct OddMailServer {
    address: SocketAddr,
    accepted: Accepted,
}

/// The reply to the end of a mail, and whether the connection ends inside it.
fn last_reply(case: &str) -> (Vec<u8>, AfterReply) {
    let reply = match case {
        "code-only" => b"250\r\n".to_vec(),
        "latin1" => b"250 2.0.0 message accept\xe9\r\n".to_vec(),
        "gbk" => b"250 \xd3\xca\xbc\xfe\r\n".to_vec(),
        "bare-lf" => b"250 2.0.0 queued\n".to_vec(),
        "bare-cr" => b"250 2.0.0 queued\r".to_vec(),
        "long-line" => [b"250 2.0.0 ", "x".repeat(1_500).as_bytes(), b"\r\n"].concat(),
        "endless" => [b"250 2.0.0 ", "x".repeat(200_000).as_bytes(), b"\r\n"].concat(),
        "nul" => b"250 2.0.0 ok \0 queued\r\n".to_vec(),
        "escape" => b"250 2.0.0 \x1b[31mqueued\r\n".to_vec(),
        "many-lines" => b"250-2.0.0 one\r\n250-\r\nbroken\r\n250\r\n".to_vec(),
        "cut" => return (b"250 2.0.0 que".to_vec(), AfterReply::Close),
        "goodbye" => return (b"250 2.0.0 queued\r\n421 4.4.2 too long\r\n".to_vec(), AfterReply::Close),
        _ => b"250 2.0.0 queued\r\n".to_vec(),
    };
    (reply, AfterReply::GoOn)
}

/// Whether the connection goes on after a reply.
#[derive(PartialEq)]
enum AfterReply {
    GoOn,
    Close,
}

impl OddMailServer {
    /// The cases whose mails are accepted.
    pub const CASES: [&str; 13] = [
        "plain",
        "code-only",
        "latin1",
        "gbk",
        "bare-lf",
        "bare-cr",
        "long-line",
        "endless",
        "nul",
        "escape",
        "many-lines",
        "cut",
        "goodbye",
    ];

    /// Starts one at an address, which may have port 0 for a free port.
    ///
    /// # Panics
    /// When the address is in use.
    pub fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let server = Self { address: listener.local_addr().expect("an address"), accepted: Accepted::default() };
        let accepted = Arc::clone(&server.accepted);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let accepted = Arc::clone(&accepted);
                // A client that goes away ends its conversation with an error, which is no error of the server.
                thread::spawn(move || converse(&stream, &accepted).ok());
            }
        });
        server
    }

    /// The value for the setting `smtp.url`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Returns how many mails an address got.
    pub fn accepted(&self, address: &str) -> usize {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).get(address).copied().unwrap_or_default()
    }
}

fn converse(stream: &TcpStream, accepted: &Accepted) -> std::io::Result<()> {
    let (mut lines, mut replies) = (BufReader::new(stream), stream);
    let (mut line, mut name, mut recipient, mut mails) = (String::new(), String::new(), String::new(), 0);
    replies.write_all(b"220\r\n")?;
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let case = recipient.split('@').next().unwrap_or_default().to_owned();
        match line.get(..4).unwrap_or_default() {
            "EHLO" => replies.write_all(b"502 5.5.1 not implemented\r\n")?,
            "HELO" => {
                name = line.trim_end().get(5..).unwrap_or_default().to_owned();
                replies.write_all(b"250 mail.example.com\r\n")?;
            }
            "MAIL" if mails > 0 => return replies.write_all(b"421 4.7.0 reconnect for more\r\n"),
            "RCPT" if !name.contains('.') => replies.write_all(b"504 5.5.2 need fully-qualified hostname\r\n")?,
            "RCPT" => {
                recipient = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                replies.write_all(match recipient.split('@').next() {
                    Some("nobody") => b"550 5.1.1 bo\xeete inconnue \0\r\n",
                    _ => b"250\r\n",
                })?;
            }
            "DATA" => {
                replies.write_all(b"354\n")?;
                while line != ".\r\n" {
                    line.clear();
                    if lines.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                }
                mails += 1;
                let mut accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner);
                *accepted.entry(recipient.clone()).or_default() += 1;
                drop(accepted);
                let (reply, then) = last_reply(&case);
                replies.write_all(&reply)?;
                if then == AfterReply::Close {
                    return Ok(());
                }
            }
            _ => replies.write_all(b"250 2.0.0 ok\r\n")?,
        }
    }
}
