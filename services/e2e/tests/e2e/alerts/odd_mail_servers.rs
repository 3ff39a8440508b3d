//! Mails to servers that speak SMTP as it is spoken, and to one that was away.

use std::time::Duration;

use e2e::{Database, OddMailServer, System, process::free_address, wait_until};
use serde_json::json;

const WAIT: Duration = Duration::from_secs(30);

async fn subscribe(system: &System, email: &str) {
    let condition = json!({ "change": { "percent": "5", "since": "previous" } });
    let body = json!({ "symbol": "BTC-USD", "condition": condition, "notify": { "email": email } });
    system.api.subscribe(body).await;
}

fn settings(url: &str) -> [(&str, &str); 3] {
    [
        ("TICKBELL_SMTP__URL", url),
        ("TICKBELL_GATEWAY__CONFIRMATION", "required"),
        ("TICKBELL_NOTIFIER__RETRY_AFTER_SECONDS", "1"),
    ]
}

#[tokio::test]
async fn a_mail_is_accepted_once_however_the_server_says_so() {
    let server = OddMailServer::start(([127, 0, 0, 1], 0).into());
    let url = server.url();
    let mut system = System::with(&settings(&url)).await;
    let addresses = OddMailServer::CASES.map(|case| format!("{case}@example.com"));
    for address in addresses.iter().map(String::as_str).chain(["nobody@example.com"]) {
        subscribe(&system, address).await;
    }
    for _ in 0..7 {
        subscribe(&system, "stranger@example.com").await;
    }
    system.wait_until_processed().await;
    let counts: Vec<_> = addresses.iter().map(|address| (address, server.accepted(address))).collect();
    let expected: Vec<_> = addresses.iter().map(|address| (address, 1)).collect();
    assert_eq!(counts, expected, "one mail each");
    assert_eq!(server.accepted("nobody@example.com"), 0);
    assert_eq!(server.accepted("stranger@example.com"), 5, "a stranger is asked five times an hour");

    let database = Database::of(&system);
    assert_eq!(database.value("SELECT max(attempt_count) FROM deliveries"), "1", "no attempt is repeated");
    let detail = |case: &str| {
        database.value(&format!(
            "SELECT detail FROM delivery_attempts JOIN deliveries ON id = delivery_id WHERE address = '{case}@example.com'"
        ))
    };
    assert_eq!(detail("latin1"), "250 2.0.0 message accept\u{e9}");
    assert_eq!(detail("nul"), "250 2.0.0 ok \\u{0} queued");
    assert_eq!(detail("nobody"), "550 5.1.1 bo\u{ee}te inconnue \\u{0}");
    system.stop().await;
}

#[tokio::test]
async fn a_server_that_comes_back_gets_the_mails_that_wait_for_it() {
    let address = free_address();
    let url = format!("smtp://{address}");
    let mut settings = settings(&url);
    settings[2].1 = "3600";
    let mut system = System::with(&settings).await;
    for name in ["one", "two", "three"] {
        subscribe(&system, &format!("{name}@example.com")).await;
    }
    let waiting = "SELECT count(*) FROM deliveries WHERE waits_for_server IS NOT NULL";
    let database = Database::of(&system);
    wait_until("three mails wait", WAIT, async || (database.value(waiting) == "3").then_some(())).await;
    let server = OddMailServer::start(address);
    subscribe(&system, "four@example.com").await;
    system.wait_until_processed().await;
    for name in ["one", "two", "three", "four"] {
        assert_eq!(server.accepted(&format!("{name}@example.com")), 1, "{name}");
    }
    system.stop().await;
}
