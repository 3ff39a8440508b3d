//! A mail server that is down: every sign says so, and everything else goes on.

use std::time::Duration;

use e2e::{Api, Database, OddMailServer, Servers, Service, System, process::free_address, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(30);

/// The status of `/readyz` and its check of mail.
async fn mail_check(service: &Service) -> Option<(u16, Value)> {
    let answer = Api::try_send(service.admin.request(Method::GET, "/readyz")).await?;
    let body: Value = serde_json::from_str(&answer.text).ok()?;
    Some((answer.status, body["checks"]["mail"].clone()))
}

/// Waits until `/readyz` of a service is 200 and its check of mail has this state, and returns the check.
async fn wait_for(service: &Service, state: &str) -> Value {
    let found =
        async || mail_check(service).await.filter(|(status, check)| (*status, &check["state"]) == (200, &json!(state)));
    wait_until(&format!("mail is {state}"), WAIT, found).await.1
}

/// Runs a command without `up`, and returns whether it succeeded and what it printed.
async fn run(system: &System, servers: &Servers, name: &str) -> (bool, String) {
    let mut process = servers.spawn(system, &format!("{name}-{}", free_address().port()), &[name]);
    let status = process.wait(WAIT).await;
    (status.success(), process.log())
}

#[tokio::test]
async fn a_mail_server_that_is_down_is_said_by_everybody_who_could_know() {
    let mut system = System::start().await;
    let database = Database::of(&system);
    let address = free_address();
    let settings = [
        ("TICKBELL_SMTP__URL", &*format!("smtp://{address}")),
        ("TICKBELL_NOTIFIER__RETRY_AFTER_SECONDS", "1"),
        ("TICKBELL_GATEWAY__CONFIRMATION", "required"),
    ];
    let servers = Servers::take_over(&mut system, &settings).await;
    let [gateway, notifier] = ["gateway", "notifier"].map(|name| servers.start(&system, name, &[name]));
    for service in [&gateway, &notifier] {
        service.wait_until_ready().await;
        wait_for(service, "ready").await;
    }
    let condition = json!({ "price": { "above": "100" } });
    let rule = json!({ "symbol": "BTC-USD", "condition": condition, "notify": { "email": "ada@example.com" } });
    gateway.api.subscribe(rule).await;
    let failing = async || (database.value("SELECT count(failing_since) FROM channel_states") == "1").then_some(());
    wait_until("an attempt has failed", WAIT, failing).await;
    assert_eq!(mail_check(&gateway).await.expect("it answers").1["state"], "ready", "one attempt is no outage");

    database.value("UPDATE channel_states SET failing_since = failing_since - interval '2 minutes'");
    for service in [&gateway, &notifier] {
        let check = wait_for(service, "degraded").await;
        let detail = check["detail"].as_str().expect("a text");
        assert!(detail.starts_with("no mail has gone out for 1") && detail.contains("refused"), "{detail}");
        let metrics = service.admin.get("/metrics").await.expect_status(200).text;
        let seconds =
            metrics.lines().find_map(|line| line.strip_prefix("tickbell_mail_outage_seconds ")).expect("a gauge");
        assert!(seconds.parse::<u64>().expect("a number") >= 120, "{seconds}");
    }
    let (_, status) = run(&system, &servers, "status").await;
    assert!(status.contains("Mail: no mail has gone out for"), "{status}");
    let (is_well, doctor) = run(&system, &servers, "doctor").await;
    assert!(!is_well && doctor.contains("PROBLEM mail"), "{doctor}");

    let server = OddMailServer::start(address);
    for service in [&gateway, &notifier] {
        wait_for(service, "ready").await;
    }
    assert_eq!(server.accepted("ada@example.com"), 1);
    let (_, doctor) = run(&system, &servers, "doctor").await;
    assert!(doctor.contains("ok      mail"), "{doctor}");

    // Without a notifier nothing goes out either.
    notifier.stop().await;
    database.value("UPDATE deliveries SET status = 'waiting', next_attempt_at = now() - interval '2 minutes'; UPDATE channel_states SET last_accepted_at = now() - interval '2 minutes'");
    let check = wait_for(&gateway, "degraded").await;
    assert!(check["detail"].as_str().is_some_and(|detail| detail.contains("no notifier")), "{check}");
}
