//! `tickbell up`: starts, stops, restarts, and the errors of bad settings.

use std::{process::Output, time::Duration};

use e2e::{System, process::tickbell, system::Server, tape, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;

const STOP: Duration = Duration::from_secs(10);

async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = tokio::process::Command::from(tickbell(folder.path()));
    command.args(arguments).envs(settings.iter().copied()).kill_on_drop(true);
    let Output { status, stderr, .. } = command.output().await.expect("the program runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[tokio::test]
async fn a_bad_setting_is_refused_with_its_key_its_value_and_the_allowed_range() {
    for (key, name, value, allowed) in [
        ("notifier.concurrency", "TICKBELL_NOTIFIER__CONCURRENCY", "0", "1 to 100"),
        ("notifier.retry_after_seconds", "TICKBELL_NOTIFIER__RETRY_AFTER_SECONDS", "9999", "1 to 3600"),
        ("gateway.max_in_flight", "TICKBELL_GATEWAY__MAX_IN_FLIGHT", "0", "1 to 100000"),
        ("alert_engine.batch", "TICKBELL_ALERT_ENGINE__BATCH", "many", ""),
        ("gateway.confirmation", "TICKBELL_GATEWAY__CONFIRMATION", "maybe", "off"),
        ("gateway.listen", "TICKBELL_GATEWAY__LISTEN", "nowhere", ""),
    ] {
        let (code, said) = run(&["up", "--source", "none"], &[(name, value)]).await;
        assert_eq!(code, Some(64), "{key}: {said}");
        assert!(said.contains(key) && said.contains(value) && said.contains(allowed), "{key}: {said}");
    }
    for arguments in [&["up", "--sauce", "none"][..], &["fly"], &[], &["price-ingestor", "--source", "kafka:x"]] {
        let (code, said) = run(arguments, &[]).await;
        assert_eq!(code, Some(64), "{arguments:?}: {said}");
    }
    let (code, said) = run(&["up", "--source", "none", "--config", "/nowhere.toml"], &[]).await;
    assert!(code == Some(64) && said.contains("/nowhere.toml"), "{code:?}: {said}");
    for command in [&["status"][..], &["dlq", "list"], &["streams", "diff"], &["doctor"]] {
        let arguments = [command, &["--nats-url", "nats://127.0.0.1:1", "--database-url", "postgres://127.0.0.1:1/x"]];
        let (code, said) = run(&arguments.concat(), &[]).await;
        assert_eq!(code, Some(69), "{command:?}: {said}");
    }
    assert_eq!(run(&["--help"], &[]).await.0, Some(0));
}

async fn publish(system: &System, time: &str, price: &str) {
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", time, price))]).await;
    system.wait_until_processed().await;
}

#[tokio::test]
async fn a_restart_continues_with_the_same_data_and_a_stop_leaves_no_process_behind() {
    let mut system = System::from_nothing().await;
    let rule = json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5" } } });
    let alert = system.api.subscribe(rule).await;
    system.wait_until_processed().await;
    publish(&system, "00:00:00", "100").await;
    publish(&system, "00:00:01", "105").await;

    a_second_one_is_refused(&system).await;
    for (signal, time, price) in
        [(Signal::SIGTERM, "00:00:02", "111"), (Signal::SIGINT, "00:00:03", "117"), (Signal::SIGHUP, "00:00:04", "123")]
    {
        let position = system.status().await.expect("a status").position("alert-engine");
        system.take().stop(signal).await;
        assert_eq!(system.processes(), [0_u32; 0], "{signal} leaves no process behind");
        assert_eq!(system.named("HTTP_URL"), None, "the env file names no stopped server");
        system.up().await;
        assert_eq!(system.status().await.expect("a status").position("alert-engine"), position);
        assert_eq!(system.api.status_of(&alert).await, "active");
        publish(&system, time, price).await;
    }
    a_child_that_dies_is_started_again(&mut system).await;
    publish(&system, "00:00:05", "130").await;

    let firings = system.api.firings(&alert).await;
    let numbers: Vec<_> = firings.iter().map(|firing| (firing.number, firing.stream_sequence)).collect();
    assert_eq!(
        numbers,
        [(1, 2), (2, 3), (3, 4), (4, 5), (5, 6)],
        "the numbers of firings, the anchor and the stream continue"
    );
    assert_eq!(system.mails().len(), 5);
    system.stop().await;
}

async fn a_second_one_is_refused(system: &System) {
    let output = system.run(&["up", "--source", "none", "--http", "127.0.0.1:0"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&system.data().display().to_string()) && said.contains("another"), "{said}");
    assert!(system.named("HTTP_URL").is_some(), "the first one's env file is left alone");
}

async fn a_child_that_dies_is_started_again(system: &mut System) {
    for server in [Server::Nats, Server::Postgres] {
        let before = system.server(server).expect("it runs");
        system.kill_server(server);
        wait_until("it is started again", STOP, async || system.server(server).filter(|now| *now != before)).await;
    }
    // Right after a restart of a server, not every service has noticed the lost connection.
    wait_until("the services have recovered", STOP, async || system.status().await.filter(|status| status.is_done()))
        .await;
    system.ready().await;
}

#[tokio::test]
async fn neither_another_database_nor_a_proxy_of_the_shell_comes_between_up_and_its_servers() {
    let shell = [
        ("PGHOST", "/nowhere"),
        ("PGPORT", "1"),
        ("PGUSER", "eve"),
        ("PGPASSWORD", "wrong"),
        ("PGDATABASE", "elsewhere"),
        ("PGSSLMODE", "verify-full"),
        ("PGOPTIONS", "-c no.such_setting=1 -c search_path=nowhere"),
        ("PGPASSFILE", "/nowhere"),
        ("PGSERVICE", "nobody"),
        ("PGDATA", "/nowhere"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let mut up = tokio::process::Command::from(tickbell(folder.path()));
    up.args(["up", "--http", "127.0.0.1:0"]).envs(shell).kill_on_drop(true);
    up.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut up = up.spawn().expect("the program runs");
    let env = folder.path().join(".tickbell/env");
    wait_until("it is up", Duration::from_secs(90), async || env.is_file().then_some(())).await;
    let text = std::fs::read_to_string(&env).expect("addresses");
    let url = text.lines().find_map(|line| line.strip_prefix("HTTP_URL=")).expect("an address");
    let readyz = format!("{url}/readyz");
    for arguments in [&["smoke", url][..], &["healthcheck", &readyz], &["status"], &["doctor"]] {
        let mut command = tokio::process::Command::from(tickbell(folder.path()));
        let output = command.args(arguments).envs(shell).output().await.expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stdout}{said}");
    }
    e2e::process::send(up.id().expect("it runs"), Signal::SIGTERM);
    assert!(up.wait().await.expect("it ends").success());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut system = System::start().await;
    let data = tempfile::tempdir().expect("a folder");
    let (nats, database) = (system.named("NATS_URL").expect("a URL"), system.named("DATABASE_URL").expect("a URL"));
    let mut command = tokio::process::Command::from(tickbell(data.path()));
    command.args(["gateway", "--http", &address, "--nats-url", &nats, "--database-url", &database]);
    command.env("TICKBELL_LINKS__SECRET", "0123456789abcdef").kill_on_drop(true);
    let gateway = tokio::time::timeout(STOP, command.output()).await.expect("it ends").expect("the program runs");
    let message = String::from_utf8_lossy(&gateway.stderr);
    assert_eq!(gateway.status.code(), Some(1), "{message}");
    assert!(message.contains(&address) && message.contains("gateway.listen"), "{message}");
    system.stop().await;
}
