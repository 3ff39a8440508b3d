//! A real mail server: aiosmtpd, from `make tools-test`, with a mailbox that is a folder.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::Mail;
use crate::{
    Process,
    process::{free_address, program},
    wait_until,
};

/// Accepts every mail, except that it always refuses `nobody@` and refuses the first attempt for `later@`. With STARTTLS it
/// offers AUTH LOGIN alone, and with implicit TLS AUTH PLAIN alone; both require the account.
const SERVER: &str = r#"
import os, signal, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

port, folder, protection = sys.argv[1:]

class Mailbox:
    count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith('nobody@'):
            return f'550 5.1.1 <{address}>: there is no such mailbox here'
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, server, session, envelope):
        if os.path.exists(f'{folder}/busy'):
            return '451 4.3.2 the system is busy'
        later = envelope.rcpt_tos[0].startswith('later@') and not os.listdir(f'{folder}/refused')
        self.count += 1
        name = f'{folder}/{"refused" if later else "taken"}/{self.count}'
        with open(f'{name}.part', 'wb') as file:
            file.write(envelope.original_content)
        os.rename(f'{name}.part', f'{name}.eml')
        return '451 4.3.0 not now' if later else '250 OK'

def authenticate(server, session, envelope, mechanism, login):
    return AuthResult(success=login == LoginPassword(b'bell', b'p+q/'), handled=False)

options = {}
if protection != 'none':
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f'{folder}/certificate.pem', f'{folder}/key.pem')
    options = {'authenticator': authenticate, 'auth_required': True}
if protection == 'starttls':
    options |= {'tls_context': context, 'require_starttls': True, 'auth_exclude_mechanism': ['PLAIN']}
if protection == 'implicit':
    options |= {'ssl_context': context, 'auth_require_tls': False, 'auth_exclude_mechanism': ['LOGIN']}
Controller(Mailbox(), hostname='127.0.0.1', port=int(port), **options).start()
signal.pause()
"#;

/// How a mail server protects its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Everybody may send, in plain text.
    None,
    /// TLS begins with STARTTLS, and an account is required.
    StartTls,
    /// TLS begins with the first byte, and an account is required.
    Implicit,
}

/// A running mail server and its mailbox.
pub struct MailServer {
    port: u16,
    protection: Protection,
    folder: PathBuf,
    _process: Process,
}

impl MailServer {
    /// Starts one that keeps its mails in a new folder below `home`.
    pub async fn start(home: &Path) -> Self {
        Self::start_with(home, Protection::None).await
    }

    /// Starts one with a certificate of its own, which is in the file [`Self::certificate`].
    pub async fn start_with(home: &Path, protection: Protection) -> Self {
        let folder = home.join("mailbox");
        for name in ["taken", "refused"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        let name = match protection {
            Protection::None => "none",
            Protection::StartTls => "starttls",
            Protection::Implicit => "implicit",
        };
        if protection != Protection::None {
            let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            fs::write(folder.join("certificate.pem"), own.cert.pem()).expect("a file");
            fs::write(folder.join("key.pem"), own.signing_key.serialize_pem()).expect("a file");
        }
        let port = free_address().port();
        let python = program::workspace().join(".tools/python/bin/python");
        assert!(python.is_file(), "{} is missing: run `make tools-test`", python.display());
        let mut command = Command::new(python);
        command.args(["-c", SERVER, &port.to_string()]).arg(&folder).arg(name);
        let process = Process::start(&mut command, &folder.join("log"));
        let answers = async || TcpStream::connect(("127.0.0.1", port)).ok();
        wait_until("the mail server answers", Duration::from_secs(15), answers).await;
        Self { port, protection, folder, _process: process }
    }

    /// The value for the setting `smtp.url`.
    pub fn url(&self) -> String {
        self.url_with_password("p%2Bq%2F")
    }

    /// The value for the setting `smtp.url` with another password, percent-encoded, where the server requires one.
    pub fn url_with_password(&self, password: &str) -> String {
        match self.protection {
            Protection::None => format!("smtp://127.0.0.1:{}", self.port),
            Protection::StartTls => format!("smtp://bell:{password}@localhost:{}?tls=required", self.port),
            Protection::Implicit => format!("smtps://bell:{password}@localhost:{}", self.port),
        }
    }

    /// Its address, for a proxy in front of it.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Refuses every mail for the moment, until [`Self::accept_again`].
    pub fn refuse(&self) {
        fs::write(self.busy(), "").expect("a file");
    }

    /// Ends what [`Self::refuse`] has begun.
    pub fn accept_again(&self) {
        // It may be accepting already.
        let _ = fs::remove_file(self.busy());
    }

    fn busy(&self) -> PathBuf {
        self.folder.join("busy")
    }

    /// The folder of the mails that it has accepted, each in a file with the ending `eml`.
    pub fn taken_folder(&self) -> PathBuf {
        self.folder.join("taken")
    }

    /// The file for the setting `smtp.ca`.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    /// The mails that it has accepted.
    pub fn taken(&self) -> Vec<Mail> {
        super::in_folder(&self.taken_folder())
    }

    /// The mails that it refused for the moment.
    pub fn refused(&self) -> Vec<Mail> {
        super::in_folder(&self.folder.join("refused"))
    }
}
