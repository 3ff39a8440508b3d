//! A real mail server: aiosmtpd, from `make tools-test`, with a mailbox that is a folder.

use std::{
    fs,
    net::TcpStream,
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

/// Accepts every mail, except that it always refuses `nobody@` and refuses the first attempt for `later@`.
const HANDLER: &str = r#"
import os

class Mailbox:
    @classmethod
    def from_cli(cls, parser, *folder):
        return cls(folder[0])

    def __init__(self, folder):
        self.folder, self.count = folder, 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith('nobody@'):
            return f'550 5.1.1 <{address}>: there is no such mailbox here'
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, server, session, envelope):
        later = envelope.rcpt_tos[0].startswith('later@') and not os.listdir(f'{self.folder}/refused')
        self.count += 1
        name = f'{self.folder}/{"refused" if later else "taken"}/{self.count}'
        with open(f'{name}.part', 'wb') as file:
            file.write(envelope.original_content)
        os.rename(f'{name}.part', f'{name}.eml')
        return '451 4.3.0 not now' if later else '250 OK'
"#;

/// A running mail server and its mailbox.
pub struct MailServer {
    port: u16,
    folder: PathBuf,
    _process: Process,
}

impl MailServer {
    /// Starts one that keeps its mails in a new folder below `home`.
    pub async fn start(home: &Path) -> Self {
        let folder = home.join("mailbox");
        for name in ["taken", "refused"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        fs::write(folder.join("mailbox.py"), HANDLER).expect("a file");
        let port = free_address().port();
        let program = program::workspace().join(".tools/bin/aiosmtpd");
        assert!(program.is_file(), "{} is missing: run `make tools-test`", program.display());
        let mut command = Command::new(program);
        command.env("PYTHONPATH", &folder).current_dir(&folder);
        command
            .args(["--nosetuid", "--listen", &format!("127.0.0.1:{port}"), "--class", "mailbox.Mailbox"])
            .arg(&folder);
        let process = Process::start(&mut command, &folder.join("log"));
        let answers = async || TcpStream::connect(("127.0.0.1", port)).ok();
        wait_until("the mail server answers", Duration::from_secs(15), answers).await;
        Self { port, folder, _process: process }
    }

    /// The value for the setting `smtp.url`.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// The mails that it has accepted.
    pub fn taken(&self) -> Vec<Mail> {
        super::in_folder(&self.folder.join("taken"))
    }

    /// The mails that it refused for the moment.
    pub fn refused(&self) -> Vec<Mail> {
        super::in_folder(&self.folder.join("refused"))
    }
}
