//! Mails to a real mail server, and the confirmation of an address before the first alert.

use std::time::Duration;

use e2e::{Alert, Api, Database, MailServer, System, status::Deliveries, tape, wait_until};
use reqwest::Method;
use serde_json::json;

const WAIT: Duration = Duration::from_secs(15);

async fn subscribe(system: &System, email: &str) -> Alert {
    let condition = json!({ "change": { "percent": "5", "since": "previous" } });
    system.api.subscribe(json!({ "symbol": "BTC-USD", "condition": condition, "notify": { "email": email } })).await
}

async fn publish(system: &System, ticks: &[(&str, &str)]) {
    let messages: Vec<_> =
        ticks.iter().map(|(time, price)| tape::message(&tape::tick("test", "BTC-USD", time, price))).collect();
    system.publish(&messages).await;
}

/// Presses the button of the page behind a link.
async fn press(system: &System, link: &str) {
    Api::send(system.api.request(Method::POST, link)).await.expect_status(200);
}

#[tokio::test]
async fn an_address_confirms_is_notified_and_unsubscribes() {
    let mailbox = tempfile::tempdir().expect("a folder");
    let server = MailServer::start(mailbox.path()).await;
    let settings = [
        ("TICKBELL_SMTP__URL", server.url()),
        ("TICKBELL_SMTP__FROM", "Tickbell <alerts@bell.example.com>".into()),
        ("TICKBELL_GATEWAY__CONFIRMATION", "required".into()),
    ];
    let mut system = System::with(&settings.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    let alert = subscribe(&system, "ada@example.com").await;
    assert_eq!(alert.status, "pending");
    system.wait_until_processed().await;
    publish(&system, &[("00:00:00", "100"), ("00:00:01", "110")]).await;
    system.wait_until_processed().await;
    assert_eq!(system.api.firings(&alert).await, [], "an alert whose address is not confirmed is not evaluated");

    let mails = server.taken();
    let [confirmation] = mails.as_slice() else { panic!("{} mails", mails.len()) };
    assert_eq!(confirmation.subject, "Confirm your Tickbell alert for BTC-USD");
    assert_eq!(confirmation.header("List-Unsubscribe"), None);
    let link = confirmation.link("/confirm/");
    system.api.get(&link).await.expect_status(200);
    assert_eq!(
        system.api.status_of(&alert).await,
        "pending",
        "opening the link, as mail scanners do, confirms nothing"
    );
    press(&system, &link).await;
    press(&system, &link).await;
    assert_eq!(system.api.status_of(&alert).await, "active");
    system.wait_until_processed().await;
    publish(&system, &[("00:00:02", "100")]).await;
    system.wait_until_processed().await;

    let mails = server.taken();
    let alerts: Vec<_> = mails.iter().filter(|mail| mail.message_id != confirmation.message_id).collect();
    let [alert_mail] = alerts.as_slice() else { panic!("{} mails", mails.len()) };
    assert!(alert_mail.subject.starts_with("BTC-USD -9.") && alert_mail.to == "ada@example.com", "{alert_mail:?}");
    assert!(alert_mail.message_id.ends_with("@bell.example.com"), "{}", alert_mail.message_id);
    press(&system, &alert_mail.unsubscribe_link()).await;
    system.wait_until_processed().await;
    publish(&system, &[("00:00:03", "200")]).await;
    system.wait_until_processed().await;
    assert_eq!(server.taken().len(), 2, "one confirmation, one alert, and no more");
    system.stop().await;
}

#[tokio::test]
async fn a_temporary_refusal_is_retried_and_a_permanent_one_fails_with_its_reason() {
    let mailbox = tempfile::tempdir().expect("a folder");
    let server = MailServer::start(mailbox.path()).await;
    let url = server.url();
    let mut system =
        System::with(&[("TICKBELL_SMTP__URL", url.as_str()), ("TICKBELL_NOTIFIER__RETRY_AFTER_SECONDS", "1")]).await;
    let (busy, unknown) =
        (subscribe(&system, "later@example.com").await, subscribe(&system, "nobody@example.com").await);
    system.wait_until_processed().await;
    publish(&system, &[("00:00:00", "100"), ("00:00:01", "110")]).await;
    wait_until("the mail that was refused at first arrives", WAIT, async || server.taken().into_iter().next()).await;
    system.wait_until_processed().await;

    let (taken, refused) = (server.taken(), server.refused());
    assert_eq!((taken.len(), refused.len()), (1, 1));
    assert_eq!(taken[0].message_id, refused[0].message_id, "every attempt is the same mail");
    assert_eq!((taken[0].to.as_str(), &taken[0].text), ("later@example.com", &refused[0].text));
    for alert in [busy, unknown] {
        assert_eq!(system.api.firings(&alert).await.len(), 1);
    }
    let status = system.status().await.expect("a status");
    assert_eq!(status.deliveries, Deliveries { waiting: 0, failed: 1 });
    let reason = "SELECT detail FROM delivery_attempts WHERE outcome = 'failed'";
    let reason = Database::of(&system).value(reason);
    assert!(reason.contains("550 5.1.1") && reason.contains("there is no such mailbox here"), "{reason}");
    assert!(!system.has_logged("nobody@example.com"), "no address is logged");
    system.stop().await;
}

#[tokio::test]
async fn mails_go_out_while_outcomes_wait_to_be_recorded_and_so_many_only_as_may_come_twice() {
    let mailbox = tempfile::tempdir().expect("a folder");
    let server = MailServer::start(mailbox.path()).await;
    let url = server.url();
    let mut system =
        System::with(&[("TICKBELL_SMTP__URL", url.as_str()), ("TICKBELL_NOTIFIER__CONCURRENCY", "1")]).await;
    for number in 0..10 {
        subscribe(&system, &format!("reader-{number}@example.com")).await;
    }
    system.wait_until_processed().await;
    let database = Database::of(&system);
    let lock = database.lock("LOCK TABLE delivery_attempts IN SHARE MODE").await;
    publish(&system, &[("00:00:00", "100"), ("00:00:01", "110")]).await;
    let four = async || (server.taken().len() >= 4).then_some(());
    wait_until("mails are taken whose outcomes are not recorded", WAIT, four).await;
    database.wait_for_blocked("INSERT INTO delivery_attempts").await;
    let claimed = database.value("SELECT count(*) FROM deliveries WHERE attempt_count > 0");
    assert_eq!((claimed.as_str(), server.taken().len()), ("4", 4));
    drop(lock);
    system.wait_until_processed().await;
    let sent = "SELECT count(*), max(attempt_count) FROM deliveries JOIN delivery_attempts ON delivery_id = id WHERE outcome = 'sent'";
    assert_eq!((database.value(sent).as_str(), server.taken().len()), ("10|1", 10), "once each");
    system.stop().await;
}
