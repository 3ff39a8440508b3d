//! What the parts of the way from a tick to its mail take alone, on this machine with these servers, while nothing else is done.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use events::OutboundMessage;
use platform::Broker;
use tokio::{process::Command, task::spawn_blocking, time};

use crate::{SYMBOLS, mail_server::MailServer, quantiles, system::System};

/// How many of each are measured, in a steady rhythm.
const TIMES: usize = 400;
const EVERY: Duration = Duration::from_millis(10);
/// The bytes of a sync, of a page with a few ticks, and of a mail with an alert, roughly.
const SYNCED: usize = 8 * 1024;
const PUBLISHED: usize = 300;
const MAIL_LINES: usize = 100;

/// Measures and prints each of them.
pub(crate) async fn measure(
    system: &System,
    broker: &Broker,
    client: &async_nats::Client,
    mails: &MailServer,
) -> anyhow::Result<()> {
    println!("a write of 8 KiB and its sync   {}", quantiles(syncs(system).await?));
    println!("a commit of one row             {}", quantiles(commits(system).await?));
    println!("a publish, acknowledged         {}", quantiles(publishes(broker, client, 1).await?));
    println!("a batch of {SYMBOLS}, acknowledged     {}", quantiles(publishes(broker, client, SYMBOLS).await?));
    println!("a mail of a bare client         {}", quantiles(bare_mails(mails).await?));
    Ok(())
}

async fn syncs(system: &System) -> anyhow::Result<Vec<i64>> {
    let path = system.folder().join("synced");
    let file = fs::File::create(&path)?;
    let mut timer = time::interval(EVERY);
    let mut taken = Vec::new();
    for _ in 0..TIMES {
        timer.tick().await;
        let mut file = file.try_clone()?;
        let sync = spawn_blocking(move || {
            let began = Instant::now();
            file.write_all(&[7; SYNCED])?;
            file.sync_data()?;
            anyhow::Ok(began.elapsed().as_micros() as i64)
        });
        taken.push(sync.await??);
    }
    fs::remove_file(path)?;
    Ok(taken)
}

/// The transactions of `pgbench`, each of which inserts a row, from when they are due.
async fn commits(system: &System) -> anyhow::Result<Vec<i64>> {
    let (url, folder) = (&system.env["DATABASE_URL"], system.folder());
    let psql = async |command: &str| {
        let done = Command::new("psql").args(["--no-psqlrc", "--quiet", "--command", command, url]).status().await;
        ensure!(done.context("psql is needed: install postgresql-client")?.success(), "psql failed: {command}");
        Ok(())
    };
    psql("CREATE TABLE bare_commits (id bigserial PRIMARY KEY, body text)").await?;
    let script = folder.join("commit.sql");
    fs::write(&script, "INSERT INTO bare_commits (body) VALUES (repeat('x', 500));")?;
    let mut command = Command::new("pgbench");
    command.args(["--no-vacuum", "--protocol", "prepared", "--log", "--log-prefix", "commits"]).current_dir(folder);
    command.args(["--rate", &(1_000 / EVERY.as_millis()).to_string(), "--transactions", &TIMES.to_string()]);
    let output = command.arg("--file").arg(&script).arg(url).output().await;
    let output = output.context("pgbench is needed: install postgresql-contrib")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    psql("DROP TABLE bare_commits").await?;
    let mut taken = Vec::new();
    for entry in
        fs::read_dir(folder)?.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("commits."))
    {
        for line in fs::read_to_string(entry.path())?.lines() {
            taken.push(line.split(' ').nth(2).context("a line of pgbench")?.parse()?);
        }
    }
    Ok(taken)
}

/// Publishes so many messages at a time, each with a subject of its own, to a stream that is removed at the end.
async fn publishes(broker: &Broker, client: &async_nats::Client, messages: usize) -> anyhow::Result<Vec<i64>> {
    let jetstream = async_nats::jetstream::new(client.clone());
    let stream = async_nats::jetstream::stream::Config {
        name: "FLOOR".into(),
        subjects: vec!["floor.>".into()],
        max_bytes: 64 << 20,
        allow_atomic_publish: true,
        ..Default::default()
    };
    jetstream.create_stream(stream).await?;
    let mut timer = time::interval(EVERY);
    let mut taken = Vec::new();
    for time in 0..TIMES {
        let message = |number| OutboundMessage {
            subject: format!("floor.{number}"),
            id: format!("{time}-{number}"),
            headers: Vec::new(),
            body: vec![b'x'; PUBLISHED],
        };
        let messages: Vec<_> = (0..messages).map(message).collect();
        timer.tick().await;
        let began = Instant::now();
        broker.publish_ordered_by_subject(&messages).await?;
        taken.push(began.elapsed().as_micros() as i64);
    }
    jetstream.delete_stream("FLOOR").await?;
    Ok(taken)
}

async fn bare_mails(mails: &MailServer) -> anyhow::Result<Vec<i64>> {
    let mut client = mails.connect().await?;
    let mail =
        format!("Subject: floor\r\n\r\n{}", "A line of text that is as long as that of a mail.\r\n".repeat(MAIL_LINES));
    let mut timer = time::interval(EVERY);
    let mut taken = Vec::new();
    for _ in 0..TIMES {
        timer.tick().await;
        let began = Instant::now();
        client.send(&mail).await?;
        taken.push(began.elapsed().as_micros() as i64);
    }
    Ok(taken)
}
