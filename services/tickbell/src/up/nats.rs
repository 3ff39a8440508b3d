//! The nats-server of `tickbell up`.

use std::fs;

use anyhow::Context;
use nix::sys::signal::Signal;
use platform::broker;
use tokio::process::Command;

use super::{
    child::{RunningServer, Server, stop_leftover},
    data_dir::DataDir,
    find,
};

/// Starts a nats-server in the data directory, and returns it with the settings to reach it.
pub(crate) async fn start(data: &DataDir) -> anyhow::Result<(RunningServer, broker::Settings)> {
    let program = find::nats_server()?;
    let folder = data.join("nats");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let (config, pid_file) = (folder.join("nats.conf"), folder.join("nats.pid"));
    stop_leftover("nats-server", &pid_file, &config.display().to_string(), Signal::SIGTERM).await;

    let (port, monitor) = (data.port("nats")?, data.port("nats-monitor")?);
    // sync_interval: an acknowledged message must survive a power cut. Ticks are published in atomic batches, and a
    // batch costs one flush to disk.
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\n\
         http: \"127.0.0.1:{monitor}\"\n\
         pid_file: {pid_file:?}\n\
         log_file: {log:?}\n\
         jetstream {{\n  store_dir: {folder:?}\n  sync_interval: always\n  max_memory_store: 256MB\n  \
         max_file_store: 12GB\n}}\n",
        log = folder.join("nats.log"),
    );
    fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
    let command = move || {
        let mut command = Command::new(&program);
        command.arg("--config").arg(&config);
        Ok(command)
    };
    let server = Server { name: "nats-server", command: Box::new(command), stop: Signal::SIGTERM }.start()?;
    let settings = broker::Settings {
        url: format!("nats://127.0.0.1:{port}"),
        monitor_url: format!("http://127.0.0.1:{monitor}"),
        ..broker::Settings::default()
    };
    Ok((server, settings))
}
